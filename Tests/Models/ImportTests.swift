import Formats
import Foundation
import Models
import TestSupport
import Testing

/// Decoders out of other libraries' files, into a model whose other parts are fresh.
@Suite struct ImportTests {
    /// A scaled-down checkpoint, whose decoder the tests take out and bring in again.
    private struct Original {
        let file: SafetensorsFile
        /// Names of the decoder's tensors, as transformers has them.
        let names: [String]
        let text: [String: Any]
        let config: [String: Any]

        static let prefix = "language_model."

        init(_ name: String) throws {
            let path = BuildFolder.fixture("vla/\(name)").path
            file = try SafetensorsFile(path: path + "/model.safetensors")
            names = file.names.filter { $0.hasPrefix(Self.prefix) }.map { String($0.dropFirst(Self.prefix.count)) }
            let data = try Data(contentsOf: URL(fileURLWithPath: path + "/config.json"))
            config = try #require(JSONSerialization.jsonObject(with: data) as? [String: Any])
            text = try #require(config["text_config"] as? [String: Any])
        }

        func shape(_ name: String) throws -> [Int] { try file.requiredEntry(Self.prefix + name).shape }
        func floats(_ name: String) throws -> [Float] { try file.floats(Self.prefix + name) }

        /// Writes a model with the decoder of `source`, and the tensors of it that are not those of the original.
        func differences(importing source: any PretrainedDecoder, to folder: String) throws -> [String] {
            var config = config
            config["text_config"] = source.configuration
            _ = try AssembledModel.write(
                config: try JSONSerialization.data(withJSONObject: config), from: [.languageModel: source], to: folder,
                storage: .f32, seed: 1)
            let model = try ModelFolder(path: folder)
            let written = try SafetensorsFile(path: folder + "/model.safetensors")
            #expect(ModelInfo(model).missing == [])
            return try names.filter { name in
                try written.requiredEntry(Self.prefix + name).shape != shape(name)
                    || written.floats(Self.prefix + name) != floats(name)
            }
        }

        /// As transformers saves a causal language model.
        func writeFolder(_ path: String, adding extra: [SafetensorsWriter.Tensor] = []) throws {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            let tensors = try names.map { SafetensorsWriter.Tensor($0, shape: try shape($0), floats: try floats($0)) }
            try SafetensorsWriter.write(tensors + extra, metadata: ["format": "pt"], to: path + "/model.safetensors")
            try JSONSerialization.data(withJSONObject: text).write(to: URL(fileURLWithPath: path + "/config.json"))
            try Data("{}".utf8).write(to: URL(fileURLWithPath: path + "/tokenizer.json"))
        }

        /// As llama.cpp's converter writes it, in float32, for decoders whose heads it leaves as they are.
        func writeGGUF(_ path: String, adding extra: [(key: String, value: GGUFBuilder.Value)] = []) throws {
            let modules = [
                ("input_layernorm", "attn_norm"), ("post_attention_layernorm", "ffn_norm"),
                ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"), ("self_attn.v_proj", "attn_v"),
                ("self_attn.o_proj", "attn_output"), ("self_attn.q_norm", "attn_q_norm"),
                ("self_attn.k_norm", "attn_k_norm"), ("mlp.gate_proj", "ffn_gate"), ("mlp.up_proj", "ffn_up"),
                ("mlp.down_proj", "ffn_down"), ("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"),
                ("model.layers", "blk"), ("lm_head", "output"),
            ]
            func number(_ key: String) -> Int { text[key] as? Int ?? 0 }
            let type = text["model_type"] as? String ?? ""
            let counts: [(String, Int)] = [
                ("embedding_length", number("hidden_size")), ("block_count", number("num_hidden_layers")),
                ("attention.head_count", number("num_attention_heads")),
                ("attention.head_count_kv", number("num_key_value_heads")),
                ("feed_forward_length", number("intermediate_size")),
                ("context_length", number("max_position_embeddings")),
            ]
            var builder = GGUFBuilder()
            builder.metadata = [("general.architecture", .text(type))]
            builder.metadata += counts.map { ("\(type).\($0.0)", .count($0.1)) }
            if let width = text["head_dim"] as? Int {
                builder.metadata.append(("\(type).attention.key_length", .count(width)))
            }
            builder.metadata += [
                ("\(type).attention.layer_norm_rms_epsilon", .number(Float(text["rms_norm_eps"] as? Double ?? 0))),
                ("\(type).rope.freq_base", .number(Float(text["rope_theta"] as? Double ?? 0))),
                ("tokenizer.ggml.model", .text("gpt2")), ("tokenizer.ggml.pre", .text("qwen2")),
                ("tokenizer.ggml.tokens", .texts((0..<number("vocab_size")).map { "t\($0)" })),
                ("tokenizer.ggml.merges", .texts([])),
            ]
            builder.metadata += extra
            for name in names {
                let stored = modules.reduce(name) { $0.replacingOccurrences(of: $1.0, with: $1.1) }
                builder.tensors.append((stored, try shape(name), try floats(name)))
            }
            try Data(builder.bytes).write(to: URL(fileURLWithPath: path))
        }
    }

    @Test(arguments: [
        "one-tower-qwen2-base", "one-tower-qwen3-base", "one-tower-llama-base", "one-tower-llama3-quickgelu",
    ])
    func foldersOfLanguageModels(_ name: String) throws {
        let (original, temporary) = (try Original(name), try TemporaryFolder())
        try original.writeFolder(temporary.path("decoder"))
        let source = try FolderDecoder(path: temporary.path("decoder"))
        #expect(try original.differences(importing: source, to: temporary.path("model")) == [])
    }

    @Test(arguments: ["one-tower-qwen2-base", "one-tower-qwen3-base"]) func filesOfLlamaCpp(_ name: String) throws {
        let (original, temporary) = (try Original(name), try TemporaryFolder())
        try original.writeGGUF(temporary.path("decoder.gguf"))
        let source = try GGUFDecoder(path: temporary.path("decoder.gguf"))
        #expect(try original.differences(importing: source, to: temporary.path("model")) == [])
    }

    /// Positions that are turned in another way would make it another model.
    @Test func otherRotationsAreRefused() throws {
        let (original, temporary) = (try Original("one-tower-qwen2-base"), try TemporaryFolder())
        for (key, value) in [
            ("rope.scaling.type", GGUFBuilder.Value.text("yarn")), ("rope.dimension_count", .count(4)),
        ] {
            try original.writeGGUF(temporary.path("decoder.gguf"), adding: [("qwen2." + key, value)])
            let error = #expect(throws: FileError.self) { try GGUFDecoder(path: temporary.path("decoder.gguf")) }
            #expect(error?.description.contains(key) == true)
        }
    }

    /// A tensor that nothing computes with would make the import another model than its source.
    @Test func aTensorTooManyIsRefused() throws {
        let (original, temporary) = (try Original("one-tower-llama-base"), try TemporaryFolder())
        let extra = "model.layers.1.self_attn.q_norm.weight"
        try original.writeFolder(
            temporary.path("decoder"), adding: [.init(extra, shape: [4], floats: [1, 1, 1, 1])])
        let error = #expect(throws: FileError.self) {
            let source = try FolderDecoder(path: temporary.path("decoder"))
            return try original.differences(importing: source, to: temporary.path("model"))
        }
        #expect("\(error as Any)".contains(extra))
        #expect(!FileManager.default.fileExists(atPath: temporary.path("model/config.json")))
    }

    @Test func aTensorTooFewIsNamed() throws {
        let (original, temporary) = (try Original("one-tower-qwen2-base"), try TemporaryFolder())
        try original.writeFolder(temporary.path("decoder"))
        let path = temporary.path("decoder/config.json")
        let text = original.text.merging(["num_hidden_layers": 3]) { $1 }
        try JSONSerialization.data(withJSONObject: text).write(to: URL(fileURLWithPath: path))
        let error = #expect(throws: FileError.self) {
            let source = try FolderDecoder(path: temporary.path("decoder"))
            return try original.differences(importing: source, to: temporary.path("model"))
        }
        #expect("\(error as Any)".contains("model.layers.2.self_attn.q_proj.weight"))
    }
}

/// The bytes of a GGUF file of float32 tensors.
private struct GGUFBuilder {
    enum Value {
        case count(Int)
        case number(Float)
        case text(String)
        case texts([String])
    }

    var metadata: [(key: String, value: Value)] = []
    /// Shapes outermost first.
    var tensors: [(name: String, shape: [Int], values: [Float])] = []

    var bytes: [UInt8] {
        func little(_ value: some FixedWidthInteger) -> [UInt8] {
            withUnsafeBytes(of: value.littleEndian) { Array($0) }
        }
        func text(_ value: String) -> [UInt8] { little(UInt64(value.utf8.count)) + Array(value.utf8) }
        var header = Array("GGUF".utf8) + little(UInt32(3)) + little(UInt64(tensors.count))
        header += little(UInt64(metadata.count))
        for (key, value) in metadata {
            header += text(key)
            switch value {
            case .count(let count): header += little(UInt32(4)) + little(UInt32(count))
            case .number(let number): header += little(UInt32(6)) + little(number.bitPattern)
            case .text(let value): header += little(UInt32(8)) + text(value)
            case .texts(let values):
                header += little(UInt32(9)) + little(UInt32(8)) + little(UInt64(values.count)) + values.flatMap(text)
            }
        }
        var data: [UInt8] = []
        for tensor in tensors {
            header += text(tensor.name) + little(UInt32(tensor.shape.count))
            for extent in tensor.shape.reversed() { header += little(UInt64(extent)) }
            header += little(UInt32(0)) + little(UInt64(data.count))
            data += tensor.values.flatMap { little($0.bitPattern) }
            data += [UInt8](repeating: 0, count: (32 - data.count % 32) % 32)
        }
        return header + [UInt8](repeating: 0, count: (32 - header.count % 32) % 32) + data
    }
}
