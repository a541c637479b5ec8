internal import Foundation

extension ModelConfig {
    /// The chat prompt that VLA-Adapter's Qwen models are trained with.
    public static let chatPrompt = chat("What action should the robot take to {instruction}?")

    /// A question in the same chat format.
    public static let chatQuestion = chat("{question}")

    /// The prompt of OpenVLA, for Llama and Mistral decoders.
    public static let plainPrompt = "In: What action should the robot take to {instruction}?\nOut:"

    /// A question in OpenVLA's format.
    public static let plainQuestion = "In: {question}\nOut:"

    private static func chat(_ user: String) -> String {
        "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
            + "<|im_start|>user\n\(user)<|im_end|>\n<|im_start|>assistant\n"
    }

    /// Reads `config.json` of a model folder.
    public init(folder: String) throws(ModelError) { try self.init(file: folder + "/config.json") }

    /// Reads a `config.json`.
    public init(file path: String) throws(ModelError) {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw ModelError("\(path): no such file; a model folder has a config.json beside its model.safetensors")
        }
        try self.init(data, path: path)
    }

    /// - `path`: where `data` was read, for errors.
    init(_ data: Data, path: String) throws(ModelError) {
        let file = try ConfigFile(data, path: path)
        decoder = try Decoder(file.textConfig, isCausal: file.craftCausal ?? true, path: path)
        let isChat = decoder.modelType == "qwen2"
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
            (queries, actionDim, chunk, proprioDim) = (64, 7, 8, 8)
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
                "\(path): timm_model_ids is missing; a VLA's configuration names its vision towers there, or describes a "
                    + "scaled-down model in craft_small")
        }
        guard ids.count <= 2, file.useFusedVisionBackbone.map({ $0 == (ids.count == 2) }) ?? true else {
            throw ModelError(
                "\(path): timm_model_ids names \(ids.count) towers and use_fused_vision_backbone is "
                    + "\(file.useFusedVisionBackbone ?? false); expected one tower, or two fused ones")
        }
        var sizes: Set<Int> = []
        var patches: Set<Int> = []
        towers = []
        for (index, id) in ids.enumerated() {
            guard let entry = TimmTowers.entry(id) else {
                throw ModelError("\(path): timm_model_ids: '\(id)' is not known; expected one of \(TimmTowers.known)")
            }
            var tower = entry.tower
            tower.prefix = index == 0 ? "featurizer" : "fused_featurizer"
            towers.append(tower)
            patches.insert(entry.patchSize)
            let given = file.imageSizes.flatMap { index < $0.count ? $0[index] : nil }
            sizes.insert(given ?? entry.nativeImageSize)
        }
        guard sizes.count == 1, patches.count == 1, let size = sizes.first, let patch = patches.first else {
            throw ModelError(
                "\(path): the towers \(ids.joined(separator: ", ")) cut images of \(sizes.sorted()) pixels into patches of "
                    + "\(patches.sorted()); both must give the same grid")
        }
        (imageSize, patchSize) = (size, patch)
    }
}

extension ModelConfig.Decoder {
    /// What transformers takes for keys that a `text_config` lacks.
    private struct Defaults {
        var hiddenSize = 4096
        var layers = 32
        var heads = 32
        var keyValueHeads: Int?
        var intermediateSize: Int
        var vocabularySize: Int
        var maxPositions: Int
        var slidingWindow: Int?

        static let byModelType: [String: Defaults] = [
            "llama": Defaults(intermediateSize: 11008, vocabularySize: 32000, maxPositions: 2048),
            "mistral": Defaults(
                keyValueHeads: 8, intermediateSize: 14336, vocabularySize: 32000, maxPositions: 131_072,
                slidingWindow: 4096),
            "qwen2": Defaults(
                keyValueHeads: 32, intermediateSize: 22016, vocabularySize: 151_936, maxPositions: 32768),
        ]
    }

    fileprivate init(_ text: ConfigFile.Text, isCausal: Bool, path: String) throws(ModelError) {
        func fail(_ sentence: String) -> ModelError { ModelError("\(path): text_config.\(sentence)") }
        guard let type = text.modelType else { throw fail("model_type is missing; expected qwen2, llama or mistral") }
        guard let defaults = Defaults.byModelType[type] else {
            throw fail("model_type is \(type); expected qwen2, llama or mistral")
        }
        for scaling in [text.ropeScaling, text.ropeParameters] {
            if let kind = scaling?.kind, kind != "default" {
                throw fail("rope_scaling is of type \(kind); craft has no rescaled rotary positions, only the default")
            }
        }
        if let activation = text.hiddenAct, activation != "silu" {
            throw fail("hidden_act is \(activation); expected silu")
        }
        if text.mlpBias == true { throw fail("mlp_bias is true; craft's decoders have no bias there") }
        let window = text.slidingWindow ?? defaults.slidingWindow
        if let window, text.useSlidingWindow ?? (type == "mistral"), window < 4096 {
            throw fail("sliding_window is \(window); craft attends to the whole sequence and takes 4096 or more")
        }
        modelType = type
        hiddenSize = text.hiddenSize ?? defaults.hiddenSize
        layers = text.numHiddenLayers ?? defaults.layers
        heads = text.numAttentionHeads ?? defaults.heads
        // A file that gives heads alone has as many for keys, as before grouped-query attention.
        keyValueHeads =
            text.numKeyValueHeads ?? (text.numAttentionHeads == nil ? defaults.keyValueHeads : nil)
            ?? text.numAttentionHeads ?? defaults.heads
        headDim = text.headDim ?? hiddenSize / max(1, heads)
        intermediateSize = text.intermediateSize ?? defaults.intermediateSize
        vocabularySize = text.vocabSize ?? defaults.vocabularySize
        rmsNormEps = text.rmsNormEps ?? 1e-6
        ropeTheta = text.ropeTheta ?? text.ropeParameters?.ropeTheta ?? 10_000
        tiesWordEmbeddings = text.tieWordEmbeddings ?? false
        hasAttentionBias = text.attentionBias ?? (type == "qwen2")
        hasOutputBias = type == "llama" && hasAttentionBias
        self.isCausal = isCausal
        maxPositions = text.maxPositionEmbeddings ?? defaults.maxPositions
        initializerRange = text.initializerRange ?? 0.02
    }
}
