/// Every tensor that a checkpoint of an architecture holds, in the order of the released files: those that craft computes
/// with and those that only travel along (a tower's last block, final norm and pooling head, an unused FiLM layer).
package struct CheckpointLayout: Sendable {
    /// The parts that counts are given for.
    package enum Part: String, Sendable, CaseIterable, Codable {
        case featurizer = "vision_backbone.featurizer"
        case fusedFeaturizer = "vision_backbone.fused_featurizer"
        case projector = "projector"
        case languageModel = "language_model"
        case actionQueries = "action_queries"
        case actionHead = "action_head"
        case proprioProjector = "proprio_projector"

        /// Whether the part is in the vision-language model's file.
        package var isBackbone: Bool { self != .actionHead && self != .proprioProjector }
    }

    package struct Entry: Sendable {
        package let name: String
        package let shape: [Int]
        package let part: Part
        /// Whether the model computes with it.
        package let isUsed: Bool

        package var count: Int { shape.reduce(1, *) }
    }

    /// A linear layer of the vision-language model, or the convolution over patches: what PEFT's `all-linear` adapts.
    package struct Module: Sendable {
        package let name: String
        /// Shape of the weight, [outputs, inputs...].
        package let weightShape: [Int]
        /// Whether a gradient can reach it.
        package let isUsed: Bool

        package func adapterShapes(rank: Int) -> (a: [Int], b: [Int]) {
            let inputs = Array(weightShape.dropFirst())
            return ([rank] + inputs, [weightShape[0], rank] + (inputs.count > 1 ? [1, 1] : []))
        }

        /// The last component of the name, by which `target_modules` lists modules.
        package var baseName: String {
            String(name[(name.lastIndex(of: ".").map(name.index(after:)) ?? name.startIndex)...])
        }
    }

    package private(set) var entries: [Entry] = []
    package private(set) var modules: [Module] = []
    /// Where each entry is, by name.
    package let index: [String: Int]

    package init(_ config: ModelConfig) {
        var builder = Builder()
        for tower in config.towers { builder.add(tower, of: config) }
        builder.part = .projector
        for layer in 1..<config.projectorDims.count {
            builder.linear("projector.fc\(layer)", [config.projectorDims[layer], config.projectorDims[layer - 1]])
        }
        builder.add(config.decoder)
        let d = config.decoder.hiddenSize
        builder.part = .actionQueries
        builder.tensor("action_queries.weight", [config.queries, d])
        builder.adapts = false
        builder.add(config.policy, actionDim: config.actionDim)
        builder.part = .proprioProjector
        builder.linear("proprio_projector.fc1", [d, config.proprioDim])
        builder.linear("proprio_projector.fc2", [d, d])
        entries = builder.entries
        modules = builder.modules
        index = Dictionary(uniqueKeysWithValues: builder.entries.enumerated().map { ($1.name, $0) })
    }

    package subscript(name: String) -> Entry? { index[name].map { entries[$0] } }

    package func entries(of part: Part) -> [Entry] { entries.filter { $0.part == part } }

    /// Values in the adapters of `modules`, or of all of them.
    package func adapterCount(rank: Int, modules selected: Set<String>? = nil) -> Int {
        modules.reduce(0) { total, module in
            guard selected?.contains(module.name) ?? true else { return total }
            let (a, b) = module.adapterShapes(rank: rank)
            return total + a.reduce(1, *) + b.reduce(1, *)
        }
    }
}

private struct Builder {
    var entries: [CheckpointLayout.Entry] = []
    var modules: [CheckpointLayout.Module] = []
    var part = CheckpointLayout.Part.featurizer
    var adapts = true
    var isUsed = true

    mutating func tensor(_ name: String, _ shape: [Int]) {
        entries.append(.init(name: name, shape: shape, part: part, isUsed: isUsed))
    }

    mutating func linear(_ name: String, _ weightShape: [Int], bias: Bool = true) {
        tensor(name + ".weight", weightShape)
        if bias { tensor(name + ".bias", [weightShape[0]]) }
        if adapts { modules.append(.init(name: name, weightShape: weightShape, isUsed: isUsed)) }
    }

    mutating func norm(_ name: String, _ width: Int) {
        tensor(name + ".weight", [width])
        tensor(name + ".bias", [width])
    }

    /// timm's VisionTransformer.
    mutating func add(_ tower: ModelConfig.Tower, of config: ModelConfig) {
        part = tower.prefix == "featurizer" ? .featurizer : .fusedFeaturizer
        isUsed = true
        let scope = "vision_backbone.\(tower.prefix)."
        let dim = tower.dim
        if tower.classToken { tensor(scope + "cls_token", [1, 1, dim]) }
        if tower.registerTokens > 0 { tensor(scope + "reg_token", [1, tower.registerTokens, dim]) }
        tensor(scope + "pos_embed", [1, tower.prefixPositions + config.patchesPerImage, dim])
        linear(scope + "patch_embed.proj", [dim, 3, config.patchSize, config.patchSize])
        for index in 0..<tower.depth {
            isUsed = index <= tower.outputBlock
            let block = scope + "blocks.\(index)."
            norm(block + "norm1", dim)
            linear(block + "attn.qkv", [3 * dim, dim])
            linear(block + "attn.proj", [dim, dim])
            if tower.layerScale { tensor(block + "ls1.scale_factor", [dim]) }
            norm(block + "norm2", dim)
            linear(block + "mlp.fc1", [tower.mlp, dim])
            linear(block + "mlp.fc2", [dim, tower.mlp])
            if tower.layerScale { tensor(block + "ls2.scale_factor", [dim]) }
        }
        isUsed = false
        norm(scope + "norm", dim)
        if tower.attnPool {
            let pool = scope + "attn_pool."
            tensor(pool + "latent", [1, 1, dim])
            linear(pool + "q", [dim, dim])
            linear(pool + "kv", [2 * dim, dim])
            linear(pool + "proj", [dim, dim])
            norm(pool + "norm", dim)
            linear(pool + "mlp.fc1", [tower.mlp, dim])
            linear(pool + "mlp.fc2", [dim, tower.mlp])
        }
        isUsed = true
    }

    /// transformers' Qwen2 / Llama / Mistral for causal language modelling.
    mutating func add(_ decoder: ModelConfig.Decoder) {
        part = .languageModel
        let d = decoder.hiddenSize
        let (width, kvWidth) = (decoder.heads * decoder.headDim, decoder.keyValueHeads * decoder.headDim)
        let scope = "language_model.model."
        tensor(scope + "embed_tokens.weight", [decoder.vocabularySize, d])
        for index in 0..<decoder.layers {
            let layer = scope + "layers.\(index)."
            linear(layer + "self_attn.q_proj", [width, d], bias: decoder.hasAttentionBias)
            linear(layer + "self_attn.k_proj", [kvWidth, d], bias: decoder.hasAttentionBias)
            linear(layer + "self_attn.v_proj", [kvWidth, d], bias: decoder.hasAttentionBias)
            linear(layer + "self_attn.o_proj", [d, width], bias: decoder.hasOutputBias)
            linear(layer + "mlp.gate_proj", [decoder.intermediateSize, d], bias: false)
            linear(layer + "mlp.up_proj", [decoder.intermediateSize, d], bias: false)
            linear(layer + "mlp.down_proj", [d, decoder.intermediateSize], bias: false)
            tensor(layer + "input_layernorm.weight", [d])
            tensor(layer + "post_attention_layernorm.weight", [d])
        }
        tensor(scope + "norm.weight", [d])
        // PEFT adapts the head too, though no gradient of a regression on hidden states reaches it.
        let head = [decoder.vocabularySize, d]
        if !decoder.tiesWordEmbeddings { tensor("language_model.lm_head.weight", head) }
        modules.append(.init(name: "language_model.lm_head", weightShape: head, isUsed: false))
    }

    /// The bridge-attention head.
    mutating func add(_ policy: ModelConfig.Policy, actionDim: Int) {
        part = .actionHead
        let d = policy.dim
        let scope = "action_head.model."
        norm(scope + "layer_norm1", actionDim * d)
        linear(scope + "fc1", [d, actionDim * d])
        let pairs =
            policy.pro
            ? ["q_proj", "k_self", "v_self", "k_adapter", "v_adapter", "k_task", "v_task", "o_proj"]
            : ["q_proj", "k_proj", "v_proj", "o_proj"]
        for index in 0..<policy.blocks {
            let block = scope + "mlp_resnet_blocks.\(index)."
            tensor(block + "gating_factor", [1])
            norm(block + "ffn.0", d)
            linear(block + "ffn.1", [d, d])
            for name in pairs { linear(block + name, [d, d]) }
            if policy.pro {
                isUsed = false
                linear(block + "film_gen.0", [2 * d, d])
                isUsed = true
            }
        }
        norm(scope + "layer_norm2", d)
        linear(scope + "fc2", [actionDim, d])
    }
}
