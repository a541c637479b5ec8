internal import Formats
internal import Foundation
internal import Models

/// A Llama- or Qwen2-style decoder and its tokeniser out of a GGUF file.
struct PretrainedDecoder {
    let parts: [String: AssembledModel.Part]
    /// `text_config` of the model.
    let configuration: [String: Any]
    let hiddenSize: Int
    let layers: Int
    /// A Hugging Face `tokenizer.json`.
    let tokenizer: Data

    init(path: String) throws {
        let file = try GGUFFile(path: path)
        let architecture = file.text("general.architecture") ?? ""
        guard ["llama", "qwen2"].contains(architecture) else {
            throw FileError(path: path, "general.architecture is '\(architecture)'; expected llama or qwen2")
        }
        func integer(_ key: String) throws -> Int {
            guard let value = file.integer("\(architecture).\(key)"), (1...1 << 24).contains(value) else {
                throw FileError(path: path, "the metadata has no \(architecture).\(key) between 1 and \(1 << 24)")
            }
            return value
        }
        let d = try integer("embedding_length")
        let (layers, heads) = (try integer("block_count"), try integer("attention.head_count"))
        let keyHeads = try integer("attention.head_count_kv")
        let mlp = try integer("feed_forward_length")
        guard layers <= 1024, d % heads == 0, heads % keyHeads == 0 else {
            throw FileError(
                path: path, "its sizes do not fit: width \(d), \(layers) blocks, \(heads) and \(keyHeads) heads")
        }
        guard let vocabulary = file.texts("tokenizer.ggml.tokens")?.count, vocabulary > 0 else {
            throw FileError(path: path, "the metadata has no tokenizer.ggml.tokens")
        }
        (hiddenSize, self.layers) = (d, layers)
        let headDim = d / heads
        var parts: [String: AssembledModel.Part] = [:]
        func add(_ name: String, _ stored: String, _ shape: [Int], heads: Int? = nil) {
            parts["language_model." + name] = .init(shape: shape) { () throws(FileError) in
                let values = try file.floats(stored, shape: shape)
                guard let heads else { return values }
                return Self.unpermuted(values, heads: heads, headDim: headDim)
            }
        }
        // llama.cpp stores q and k of Llama for a rotation of neighbours; Qwen2's it leaves as they are.
        let permutes = architecture == "llama"
        add("model.embed_tokens.weight", "token_embd.weight", [vocabulary, d])
        for index in 0..<layers {
            let (layer, block) = ("model.layers.\(index).", "blk.\(index).")
            let kv = keyHeads * headDim
            add(layer + "input_layernorm.weight", block + "attn_norm.weight", [d])
            add(layer + "post_attention_layernorm.weight", block + "ffn_norm.weight", [d])
            add(layer + "self_attn.q_proj.weight", block + "attn_q.weight", [d, d], heads: permutes ? heads : nil)
            add(layer + "self_attn.k_proj.weight", block + "attn_k.weight", [kv, d], heads: permutes ? keyHeads : nil)
            add(layer + "self_attn.v_proj.weight", block + "attn_v.weight", [kv, d])
            add(layer + "self_attn.o_proj.weight", block + "attn_output.weight", [d, d])
            if architecture == "qwen2" {
                for (name, width) in [("q", d), ("k", kv), ("v", kv)] {
                    add(layer + "self_attn.\(name)_proj.bias", block + "attn_\(name).bias", [width])
                }
            }
            add(layer + "mlp.gate_proj.weight", block + "ffn_gate.weight", [mlp, d])
            add(layer + "mlp.up_proj.weight", block + "ffn_up.weight", [mlp, d])
            add(layer + "mlp.down_proj.weight", block + "ffn_down.weight", [d, mlp])
        }
        add("model.norm.weight", "output_norm.weight", [d])
        let isTied = file.entries["output.weight"] == nil
        if !isTied { add("lm_head.weight", "output.weight", [vocabulary, d]) }
        self.parts = parts
        configuration = [
            "model_type": architecture, "hidden_size": d, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": keyHeads, "intermediate_size": mlp, "hidden_act": "silu", "vocab_size": vocabulary,
            "max_position_embeddings": file.integer("\(architecture).context_length") ?? 2048,
            "rms_norm_eps": Self.decimal(file.number("\(architecture).attention.layer_norm_rms_epsilon") ?? 1e-5),
            "rope_theta": file.number("\(architecture).rope.freq_base") ?? 10_000, "tie_word_embeddings": isTied,
            "initializer_range": 0.02,
        ]
        tokenizer = try GGUFTokenizer(file).json()
    }

    /// A float32 of the metadata as the decimal number it stands for.
    private static func decimal(_ value: Double) -> Double { Double("\(Float(value))") ?? value }

    /// Rows of each head from pairs (i, i + d/2 side by side) back to two halves.
    private static func unpermuted(_ values: [Float], heads: Int, headDim: Int) -> [Float] {
        let width = values.count / (heads * headDim)
        var result = [Float](repeating: 0, count: values.count)
        for head in 0..<heads {
            for row in 0..<headDim {
                let from = (head * headDim + row) * width
                let to = (head * headDim + row % 2 * (headDim / 2) + row / 2) * width
                result.replaceSubrange(to..<to + width, with: values[from..<from + width])
            }
        }
        return result
    }
}
