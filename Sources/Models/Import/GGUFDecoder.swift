package import Formats
internal import Foundation

/// A decoder and its tokeniser out of a GGUF file as llama.cpp's converter writes it.
package struct GGUFDecoder: PretrainedDecoder {
    package let configuration: [String: Any]
    package let hiddenSize: Int
    package let layers: Int
    package let tokenizer: [UInt8]
    package let systemPrompt: String?
    private let file: GGUFFile
    private let format: DecoderFamily.GGUF
    private let headDim: Int

    package var path: String { file.path }

    package init(path: String) throws {
        let file = try GGUFFile(path: path)
        let architecture = file.text("general.architecture") ?? ""
        guard let family = DecoderFamily.of(ggufArchitecture: architecture), let format = family.gguf else {
            let known = DecoderFamily.list(DecoderFamily.all.compactMap(\.gguf?.architecture))
            throw FileError(path: path, "general.architecture is '\(architecture)'; expected \(known)")
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
        let headDim = file.integer("\(architecture).attention.key_length") ?? d / heads
        guard layers <= 1024, heads % keyHeads == 0, (1...1 << 24).contains(headDim),
            headDim * heads == d || file.integer("\(architecture).attention.key_length") != nil
        else {
            throw FileError(
                path: path, "its sizes do not fit: width \(d), \(layers) blocks, \(heads) and \(keyHeads) heads")
        }
        guard let vocabulary = file.texts("tokenizer.ggml.tokens")?.count, vocabulary > 0 else {
            throw FileError(path: path, "the metadata has no tokenizer.ggml.tokens")
        }
        try Self.checkRotation(of: file, architecture, headDim: headDim)
        (self.file, self.format, self.layers, self.headDim, hiddenSize) = (file, format, layers, headDim, d)
        var configuration: [String: Any] = [
            "model_type": family.modelType, "hidden_size": d, "num_hidden_layers": layers, "num_attention_heads": heads,
            "num_key_value_heads": keyHeads, "intermediate_size": mlp, "hidden_act": "silu", "vocab_size": vocabulary,
            "max_position_embeddings": file.integer("\(architecture).context_length") ?? 2048,
            "rms_norm_eps": Self.decimal(file.number("\(architecture).attention.layer_norm_rms_epsilon") ?? 1e-5),
            "rope_theta": file.number("\(architecture).rope.freq_base") ?? 10_000,
            "tie_word_embeddings": file.entries[DecoderFamily.GGUF.outputHead] == nil, "initializer_range": 0.02,
        ]
        if headDim * heads != d { configuration["head_dim"] = headDim }
        self.configuration = configuration
        let tokenizer = try GGUFTokenizer(file)
        self.tokenizer = [UInt8](try tokenizer.json())
        systemPrompt = tokenizer.systemPrompt
    }

    /// Positions are turned in one way; a file that asks for another must not pass for it.
    private static func checkRotation(of file: GGUFFile, _ architecture: String, headDim: Int) throws(FileError) {
        if let kind = file.text("\(architecture).rope.scaling.type"), kind != "none" {
            throw FileError(
                path: file.path, .unsupported,
                "\(architecture).rope.scaling.type is '\(kind)'; expected plain rotary positions, without scaling")
        }
        if let turned = file.integer("\(architecture).rope.dimension_count"), turned != headDim {
            throw FileError(
                path: file.path, .unsupported,
                "\(architecture).rope.dimension_count is \(turned); expected \(headDim), all dimensions of a head")
        }
    }

    package func holds(_ entry: CheckpointLayout.Entry) -> Bool {
        storedName(entry).map { file.entries[$0] != nil } ?? false
    }

    package func values(of entry: CheckpointLayout.Entry) throws(FileError) -> [Float] {
        let values = try file.floats(storedName(entry) ?? entry.name, shape: entry.shape)
        guard format.interleavesHeads, DecoderFamily.isRotated(entry.name) else { return values }
        return Self.unpermuted(values, heads: entry.shape[0] / headDim, headDim: headDim)
    }

    package func unread(_ entries: [CheckpointLayout.Entry]) -> String? {
        let read = Set(entries.compactMap(storedName))
        return file.entries.keys.filter { !read.contains($0) }.min()
    }

    private func storedName(_ entry: CheckpointLayout.Entry) -> String? {
        entry.part == .languageModel
            ? DecoderFamily.GGUF.storedName(ModelPart.languageModel.nameInside(entry.name)) : nil
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
