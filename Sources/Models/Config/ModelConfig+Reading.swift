internal import Formats
internal import Foundation
internal import Tensors

extension ModelConfig {
    /// The chat prompt that VLA-Adapter's Qwen models are trained with.
    package static let chatPrompt = chat("What action should the robot take to {instruction}?")

    /// A question in the same chat format.
    package static let chatQuestion = chat("{question}")

    /// The prompt of OpenVLA, for Llama and Mistral decoders.
    package static let plainPrompt = "In: What action should the robot take to {instruction}?\nOut:"

    /// A question in OpenVLA's format.
    package static let plainQuestion = "In: {question}\nOut:"

    private static func chat(_ user: String) -> String {
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
            + "<|im_start|>user\n\(user)<|im_end|>\n<|im_start|>assistant\n"
    }

    /// Reads `config.json` of a model folder.
    package init(folder: String) throws(ModelError) { try self.init(file: folder + "/config.json") }

    /// Reads a `config.json`.
    package init(file path: String) throws(ModelError) {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw ModelError(
                .missing, "\(path): no such file; a model folder has a config.json beside its model.safetensors")
        }
        try self.init(data, path: path)
    }

    /// - `path`: where `data` was read, for errors.
    init(_ data: Data, path: String) throws(ModelError) {
        let file = try ConfigFile(data, path: path)
        decoder = try Decoder(
            file.textConfig, keys: file.textKeys, isCausal: file.craftCausal ?? true, path: path)
        let isChat = decoder.family.isChat
        promptTemplate = file.craftSmall?.promptTemplate ?? (isChat ? Self.chatPrompt : Self.plainPrompt)
        questionTemplate = file.craftSmall?.questionTemplate ?? (isChat ? Self.chatQuestion : Self.plainQuestion)
        source = data
        usesProprio = file.craftProprio ?? true
        if let small = file.craftSmall {
            imageSize = small.imageSize
            patchSize = small.patchSize
            cameras = small.cameras
            towers = small.towers
            projectorDims = small.projectorDims
            queries = small.numQueries
            actionDim = small.actionDim
            chunk = small.chunk
            proprioDim = small.proprioDim
            policy = small.policy
            (fixesCameras, fixesPolicy) = (true, true)
        } else {
            let vision = try ReleasedVision(file, path: path)
            (imageSize, patchSize, towers) = (vision.imageSize, vision.patchSize, vision.towers)
            let width = towers.reduce(0) { $0 + $1.dim }
            // The projector of two fused towers has a layer of four times their width in front.
            projectorDims =
                (towers.count > 1 ? [width, 4 * width] : [width]) + [decoder.hiddenSize, decoder.hiddenSize]
            (queries, chunk) = (64, 8)
            (actionDim, proprioDim) = (file.craftActionDim ?? 7, file.craftProprioDim ?? 8)
            // Upstream builds 24 blocks whatever the decoder has; a shallower one has no more states to read.
            policy = Policy(
                pro: file.craftProPolicy ?? true, dim: decoder.hiddenSize, heads: 8, blocks: min(24, decoder.layers),
                layerNormEps: 1e-5)
            cameras = file.craftCameras ?? (isChat ? 2 : 1)
            (fixesCameras, fixesPolicy) = (file.craftCameras != nil, file.craftProPolicy != nil)
        }
        try check(path)
    }
}

/// Towers by timm id.
private struct ReleasedVision {
    var imageSize: Int
    var patchSize: Int
    var towers: [ModelConfig.Tower]

    init(_ file: ConfigFile, path: String) throws(ModelError) {
        guard let ids = file.timmModelIds, !ids.isEmpty else {
            throw ModelError(
                .missing,
                "\(path): timm_model_ids is missing; a VLA's configuration names its vision towers there, or describes a "
                    + "scaled-down model in craft_small")
        }
        guard ids.count <= 2, file.useFusedVisionBackbone.map({ $0 == (ids.count == 2) }) ?? true else {
            throw ModelError(
                .invalid,
                "\(path): timm_model_ids names \(ids.count) towers and use_fused_vision_backbone is "
                    + "\(file.useFusedVisionBackbone ?? false); expected one tower, or two fused ones")
        }
        var sizes: Set<Int> = []
        var patches: Set<Int> = []
        towers = []
        for (index, id) in ids.enumerated() {
            guard let entry = TimmTowers.entry(id) else {
                throw ModelError(
                    .unsupported, "\(path): timm_model_ids: '\(id)' is not known; expected one of \(TimmTowers.known)")
            }
            var tower = entry.tower
            tower.prefix = ModelPart.towers[index].component
            if let name = file.timmOverrideActLayers.flatMap({ index < $0.count ? $0[index] : nil }) {
                guard let activation = ActivationFunction(rawValue: name) else {
                    throw ModelError(
                        .unsupported,
                        "\(path): timm_override_act_layers names '\(name)'; craft has "
                            + ActivationFunction.allCases.map(\.rawValue).joined(separator: ", "))
                }
                tower.activation = activation
            }
            towers.append(tower)
            patches.insert(entry.patchSize)
            sizes.insert(file.imageSizes?[index] ?? entry.nativeImageSize)
        }
        guard sizes.count == 1, patches.count == 1, let size = sizes.first, let patch = patches.first else {
            throw ModelError(
                .invalid,
                "\(path): the towers \(ids.joined(separator: ", ")) cut images of \(sizes.sorted()) pixels into patches of "
                    + "\(patches.sorted()); both must give the same grid")
        }
        (imageSize, patchSize) = (size, patch)
    }
}

extension ModelConfig.Decoder {
    /// - Parameter keys: of `text_config`, also those that are null.
    fileprivate init(
        _ text: ConfigFile.Text, keys: Set<String>, isCausal: Bool, path: String
    ) throws(ModelError) {
        func fail(_ sentence: String) -> ModelError { ModelError(.unsupported, "\(path): text_config.\(sentence)") }
        guard let type = text.modelType else { throw fail("model_type is missing; expected \(DecoderFamily.names)") }
        guard let family = DecoderFamily.of(modelType: type) else {
            throw fail("model_type is \(type); expected \(DecoderFamily.names)")
        }
        if let activation = text.hiddenAct, activation != "silu", activation != "swish" {
            throw fail("hidden_act is \(activation); expected silu")
        }
        if family.readsMLPBias, text.mlpBias == true {
            throw fail("mlp_bias is true; craft's decoders have no bias there")
        }
        self.family = family
        hiddenSize = text.hiddenSize ?? family.hiddenSize
        layers = text.numHiddenLayers ?? family.layers
        heads = text.numAttentionHeads ?? family.heads
        let missing = keys.contains("num_key_value_heads") ? nil : family.keyValueHeads
        keyValueHeads = text.numKeyValueHeads ?? missing ?? heads
        headDim = text.headDim ?? family.headDim ?? hiddenSize / max(1, heads)
        intermediateSize = text.intermediateSize ?? family.intermediateSize
        vocabularySize = text.vocabSize ?? family.vocabularySize
        rmsNormEps = text.rmsNormEps ?? 1e-6
        tiesWordEmbeddings = text.tieWordEmbeddings ?? false
        hasAttentionBias = family.attentionBias.isOn(text.attentionBias)
        hasOutputBias = family.outputBias.isOn(text.attentionBias)
        self.isCausal = isCausal
        maxPositions = text.maxPositionEmbeddings ?? family.maxPositions
        initializerRange = text.initializerRange ?? 0.02
        // As transformers resolves them: rope_scaling before rope_parameters, and a theta inside before the one beside.
        let rope = text.ropeScaling ?? text.ropeParameters
        ropeTheta = rope?.ropeTheta ?? text.ropeTheta ?? 10_000
        ropeScaling = .none
        if let rope { ropeScaling = try Self.scaling(rope, maxPositions: maxPositions, fail) }
        try checkWindow(text, keys: keys, fail)
    }

    private static func scaling(
        _ rope: ConfigFile.Text.Rope, maxPositions: Int, _ fail: (String) -> ModelError
    ) throws(ModelError) -> RotaryScaling {
        func number(_ name: String, _ value: Double?) throws(ModelError) -> Double {
            guard let value, value.isFinite, value > 0 else {
                throw fail("rope_scaling.\(name) is \(value.map { "\($0)" } ?? "missing"); expected a number above 0")
            }
            return value
        }
        if let partial = rope.partialRotaryFactor, partial != 1 {
            throw fail(
                "rope_parameters.partial_rotary_factor is \(partial); craft turns all dimensions of a head, so it takes 1"
            )
        }
        switch rope.kind {
        case "default": return .none
        // It stretches only what is longer than the model's positions, which no prompt of a policy is.
        case "dynamic" where maxPositions >= 8192: return .none
        case "linear": return .linear(factor: try number("factor", rope.factor))
        case "llama3":
            let (low, high) = (
                try number("low_freq_factor", rope.lowFreqFactor), try number("high_freq_factor", rope.highFreqFactor)
            )
            guard low < high else {
                throw fail("rope_scaling.low_freq_factor is \(low); expected less than high_freq_factor")
            }
            return .llama3(
                factor: try number("factor", rope.factor), low: low, high: high,
                original: rope.originalMaxPositionEmbeddings ?? Double(maxPositions))
        case let kind:
            throw fail(
                "rope_scaling is of type \(kind); craft has default, linear, llama3, and dynamic from 8192 positions on"
            )
        }
    }

    /// Refuses windows that cut what a policy attends to.
    private func checkWindow(
        _ text: ConfigFile.Text, keys: Set<String>, _ fail: (String) -> ModelError
    ) throws(ModelError) {
        if let kinds = text.layerTypes {
            for kind in Set(kinds).sorted() where kind != "full_attention" && kind != "sliding_attention" {
                throw fail("layer_types has \(kind); craft has full_attention")
            }
        }
        let window: Int?
        switch family.window {
        case .never: window = nil
        case .everyLayer(let positions):
            window = text.slidingWindow ?? (keys.contains("sliding_window") ? nil : positions)
        case .laterLayers:
            let slides =
                text.layerTypes.map { $0.prefix(layers).contains("sliding_attention") }
                ?? (layers > text.maxWindowLayers ?? 28)
            if !slides || text.useSlidingWindow != true {
                if text.layerTypes != nil, slides {
                    throw fail("layer_types has sliding_attention, but use_sliding_window is not true")
                }
                window = nil
            } else {
                window = text.slidingWindow ?? 4096
            }
        }
        if let window, window < 4096 {
            throw fail("sliding_window is \(window); craft attends to the whole sequence and takes 4096 or more")
        }
    }
}
