/// What differs between the kinds of decoder that ``LanguageDecoder`` computes, a row for each `model_type` of a `text_config`. Where
/// the kinds agree there is nothing to say: RMSNorm, rotary positions, grouped-query attention, SwiGLU, transformers' names.
struct DecoderFamily: Sendable, Equatable {
    /// Whether linear layers have biases.
    enum Bias: Sendable {
        case never
        /// Whatever the configuration says.
        case always
        /// When `attention_bias` is true.
        case configured

        func isOn(_ attentionBias: Bool?) -> Bool {
            switch self {
            case .never: false
            case .always: true
            case .configured: attentionBias == true
            }
        }
    }

    /// The layers that attend to a window of the sequence.
    enum Window: Sendable, Equatable {
        case never
        /// All of them, to this many positions unless `sliding_window` says otherwise.
        case everyLayer(Int)
        /// With `use_sliding_window` those from `max_window_layers` on, or those that `layer_types` names.
        case laterLayers
    }

    /// How llama.cpp's converter stores the family.
    struct GGUF: Sendable, Equatable {
        /// `general.architecture`.
        var architecture: String
        /// Whether q and k are stored for a rotation of neighbours.
        var interleavesHeads = false

        static let outputHead = "output.weight"

        /// llama.cpp's names of a layer's modules, by transformers'.
        private static let modules = [
            "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
            "self_attn.k_proj": "attn_k", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
            "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
            "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
        ]

        /// llama.cpp's name of a decoder's tensor, by transformers'.
        static func storedName(_ name: String) -> String? {
            switch name {
            case "model.embed_tokens.weight": return "token_embd.weight"
            case "model.norm.weight": return "output_norm.weight"
            case "lm_head.weight": return outputHead
            default: break
            }
            let parts = name.split(separator: ".")
            guard parts.count > 4, parts[0] == "model", parts[1] == "layers",
                let module = modules[parts[3..<parts.count - 1].joined(separator: ".")]
            else { return nil }
            return "blk.\(parts[2]).\(module).\(parts[parts.count - 1])"
        }
    }

    let modelType: String

    // MARK: - What transformers takes for keys that are missing
    var hiddenSize = 4096
    var layers = 32
    var heads = 32
    /// Nil: as many as heads.
    var keyValueHeads: Int?
    /// Nil: the width over the heads.
    var headDim: Int?
    let intermediateSize: Int
    let vocabularySize: Int
    let maxPositions: Int

    // MARK: - What is computed
    /// Of q, k and v.
    let attentionBias: Bias
    let outputBias: Bias
    /// Whether `mlp_bias` adds biases to the MLP, which craft does not have; others ignore the key.
    var readsMLPBias = false
    var window = Window.never
    /// Whether queries and keys are normalised, head by head, before they are turned (QK-norm, Henry et al. 2020).
    var normalisesHeads = false

    // MARK: - What goes with it
    /// Whether policies are prompted in Qwen's chat format, as VLA-Adapter does, and see two cameras; else in OpenVLA's.
    var isChat = false
    /// Nil: its files are not read.
    var gguf: GGUF?

    static let all = [
        DecoderFamily(
            modelType: "qwen2", keyValueHeads: 32, intermediateSize: 22016, vocabularySize: 151_936,
            maxPositions: 32768,
            attentionBias: .always, outputBias: .never, window: .laterLayers, isChat: true,
            gguf: GGUF(architecture: "qwen2")),
        DecoderFamily(
            modelType: "qwen3", keyValueHeads: 32, headDim: 128, intermediateSize: 22016, vocabularySize: 151_936,
            maxPositions: 32768, attentionBias: .configured, outputBias: .configured, window: .laterLayers,
            normalisesHeads: true, isChat: true, gguf: GGUF(architecture: "qwen3")),
        DecoderFamily(
            modelType: "llama", intermediateSize: 11008, vocabularySize: 32000, maxPositions: 2048,
            attentionBias: .configured, outputBias: .configured, readsMLPBias: true,
            gguf: GGUF(architecture: "llama", interleavesHeads: true)),
        DecoderFamily(
            modelType: "mistral", keyValueHeads: 8, intermediateSize: 14336, vocabularySize: 32000,
            maxPositions: 131_072, attentionBias: .never, outputBias: .never, window: .everyLayer(4096)),
    ]

    static func of(modelType: String) -> DecoderFamily? { all.first { $0.modelType == modelType } }

    static func of(ggufArchitecture name: String) -> DecoderFamily? { all.first { $0.gguf?.architecture == name } }

    /// Whether a tensor makes what rotary positions turn, head by head.
    static func isRotated(_ name: String) -> Bool { name.contains(".q_proj.") || name.contains(".k_proj.") }

    /// The kinds as a message lists them.
    static let names = list(all.map(\.modelType))

    /// "a, b or c".
    static func list(_ names: [String]) -> String {
        names.count < 2
            ? names.joined() : names.dropLast().joined(separator: ", ") + " or " + (names.last ?? "")
    }
}
