internal import Formats
package import Foundation
package import Tensors

/// The architecture of a VLA, read from a model folder's `config.json`.
///
/// The file has the fields of a released VLA-Adapter or OpenVLA configuration: `text_config` describes the decoder,
/// `timm_model_ids` name the towers, and what is left is implied by the code that was released with it. A scaled-down
/// model says all of it in a `craft_small` object instead.
package struct ModelConfig: Sendable, Equatable {
    /// A vision transformer with timm's tensor names under `vision_backbone.<prefix>.`.
    package struct Tower: Sendable, Equatable, Codable {
        package var kind: String
        package var prefix: String
        package var dim: Int
        package var depth: Int
        package var heads: Int
        package var mlp: Int
        package var classToken: Bool
        package var registerTokens: Int
        package var layerScale: Bool
        package var attnPool: Bool
        /// 0-based block whose output is used, without the final norm.
        package var outputBlock: Int
        package var layerNormEps: Double
        /// Whether `pos_embed` begins with a position for the class token, as in DINOv2 without registers; nil is false.
        package var classPosition: Bool?
        /// Between the layers of the blocks' MLPs; nil is GELU, timm's default.
        package var activation: ActivationFunction?

        /// Where its tensors are.
        package var part: ModelPart { ModelPart.towers.first { $0.component == prefix } ?? .featurizer }
        /// Rows of `pos_embed` before those of the patches.
        var prefixPositions: Int { classToken && classPosition == true ? 1 : 0 }
        package var prefixTokens: Int { (classToken ? 1 : 0) + registerTokens }
    }

    /// The action head.
    package struct Policy: Sendable, Equatable, Codable {
        /// Separate projections per source and rotary positions (the Pro head).
        package var pro: Bool
        package var dim: Int
        package var heads: Int
        package var blocks: Int
        package var layerNormEps: Double
    }

    /// The language model, in the terms of a Hugging Face `text_config`.
    package struct Decoder: Sendable, Equatable {
        /// What it has in common with others of its `model_type`.
        let family: DecoderFamily
        package var modelType: String { family.modelType }
        package var hiddenSize: Int
        package var layers: Int
        package var heads: Int
        package var keyValueHeads: Int
        package var headDim: Int
        package var intermediateSize: Int
        package var vocabularySize: Int
        package var rmsNormEps: Double
        package var ropeTheta: Double
        package var ropeScaling: RotaryScaling
        package var tiesWordEmbeddings: Bool
        /// Whether q, k and v have biases.
        package var hasAttentionBias: Bool
        /// Whether o has one.
        package var hasOutputBias: Bool
        /// Whether a position sees only earlier ones. Explicit: `craft_causal`, by default true.
        package var isCausal: Bool
        package var maxPositions: Int
        /// Standard deviation of fresh weights; Hugging Face's default is 0.02.
        package var initializerRange: Double
    }

    package var imageSize: Int
    package var patchSize: Int
    /// Images per decision. Released configurations do not say; see ``fixesCameras``.
    package var cameras: Int
    package var towers: [Tower]
    /// Widths from the fused tower features to the decoder; layer k is `projector.fc{k}`.
    package var projectorDims: [Int]
    package var queries: Int
    package var actionDim: Int
    package var chunk: Int
    package var proprioDim: Int
    /// Whether the policy sees the proprioception; without, it reads zeros in its place. `craft_proprio`, by default true.
    package var usesProprio: Bool
    /// The action head. Released configurations do not say which; see ``fixesPolicy``.
    package var policy: Policy
    package var decoder: Decoder
    /// Text around an instruction, with `{instruction}` in its place.
    package var promptTemplate: String
    /// Text around a question, with `{question}` in its place.
    package var questionTemplate: String

    /// Whether the file settles the number of cameras and the kind of policy. A released configuration leaves both to
    /// the run: the first is 2 (VLA-Adapter) or 1 (OpenVLA), the second Pro, unless an action head's file shows it.
    package var fixesCameras: Bool
    package var fixesPolicy: Bool

    /// The file's bytes, written back unchanged beside saved weights.
    package var source: Data

    /// Of whole patches: as in timm, pixels at the right and lower edge that fill none are left out (384 px give 27 patches of 14).
    package var patchesPerImage: Int { (imageSize / patchSize) * (imageSize / patchSize) }

    func check(_ path: String) throws(ModelError) {
        func fail(_ sentence: String) -> ModelError { ModelError(.invalid, "\(path): \(sentence)") }
        let positive: [(String, Int)] =
            [
                ("image_size", imageSize), ("patch_size", patchSize), ("cameras", cameras), ("num_queries", queries),
                ("action_dim", actionDim), ("chunk", chunk), ("proprio_dim", proprioDim), ("policy.dim", policy.dim),
                ("policy.heads", policy.heads), ("policy.blocks", policy.blocks),
                ("text_config.hidden_size", decoder.hiddenSize), ("text_config.num_hidden_layers", decoder.layers),
                ("text_config.num_attention_heads", decoder.heads), ("text_config.head_dim", decoder.headDim),
                ("text_config.num_key_value_heads", decoder.keyValueHeads),
                ("text_config.intermediate_size", decoder.intermediateSize),
                ("text_config.vocab_size", decoder.vocabularySize),
            ]
            + towers.flatMap {
                [("\($0.prefix).dim", $0.dim), ("\($0.prefix).heads", $0.heads), ("\($0.prefix).mlp", $0.mlp)]
            } + projectorDims.map { ("projector_dims", $0) }
        for (name, value) in positive where value < 1 || value > 1 << 24 {
            throw fail("\(name) is \(value); expected a number from 1 to \(1 << 24)")
        }
        let deep =
            [("text_config.num_hidden_layers", decoder.layers), ("chunk", chunk)]
            + towers.flatMap {
                [("\($0.prefix).depth", $0.depth), ("\($0.prefix).register_tokens", $0.registerTokens)]
            }
            + [("num_queries", queries), ("image_size / patch_size", imageSize / max(1, patchSize))]
        for (name, value) in deep where value > 1024 {
            throw fail("\(name) is \(value), which no model of this kind has; is the number right?")
        }
        let scales =
            [
                ("text_config.rms_norm_eps", decoder.rmsNormEps), ("text_config.rope_theta", decoder.ropeTheta),
                ("policy.layer_norm_eps", policy.layerNormEps),
            ] + towers.map { ("\($0.prefix).layer_norm_eps", $0.layerNormEps) }
        for (name, value) in scales where !(value > 0 && value.isFinite) {
            throw fail("\(name) is \(value); expected a number above 0")
        }
        guard imageSize >= patchSize else {
            throw fail("image_size \(imageSize) is smaller than patch_size \(patchSize)")
        }
        guard (1...3).contains(cameras) else { throw fail("cameras is \(cameras); expected 1 to 3") }
        let prefixes = towers.map(\.prefix)
        let parts = ModelPart.towers.map(\.component)
        guard !prefixes.isEmpty, prefixes.count <= parts.count, prefixes == Array(parts.prefix(prefixes.count)) else {
            throw fail("the towers are \(prefixes); expected \(parts[0]), or \(parts[0]) and \(parts[1])")
        }
        for tower in towers {
            guard tower.dim % tower.heads == 0 else {
                throw fail("tower \(tower.prefix): dim \(tower.dim) is not a multiple of heads \(tower.heads)")
            }
            guard tower.outputBlock >= 0, tower.outputBlock < tower.depth, tower.registerTokens >= 0 else {
                throw fail("tower \(tower.prefix): output_block \(tower.outputBlock) is outside 0 ..< \(tower.depth)")
            }
        }
        let fused = towers.reduce(0) { $0 + $1.dim }
        guard projectorDims.count >= 2, projectorDims.first == fused, projectorDims.last == decoder.hiddenSize else {
            throw fail(
                "projector_dims \(projectorDims) must start at \(fused), the towers' joint width, "
                    + "and end at hidden_size \(decoder.hiddenSize)")
        }
        guard decoder.heads % decoder.keyValueHeads == 0, decoder.headDim % 2 == 0 else {
            throw fail(
                "num_attention_heads \(decoder.heads) must be a multiple of num_key_value_heads "
                    + "\(decoder.keyValueHeads), and head_dim \(decoder.headDim) even")
        }
        guard policy.dim == decoder.hiddenSize, policy.dim % policy.heads == 0 else {
            throw fail(
                "policy.dim \(policy.dim) must equal hidden_size \(decoder.hiddenSize) "
                    + "and be a multiple of policy.heads \(policy.heads)")
        }
        guard policy.blocks <= decoder.layers else {
            throw fail("policy.blocks is \(policy.blocks), but the decoder has \(decoder.layers) layers to read")
        }
        guard promptTemplate.contains("{instruction}") else {
            throw fail("prompt_template has no {instruction} in it")
        }
        guard questionTemplate.contains("{question}") else {
            throw fail("question_template has no {question} in it")
        }
    }
}
