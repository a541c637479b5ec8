package import Formats
internal import Foundation

/// A decoder and its tokeniser out of a Hugging Face folder of a causal language model: `config.json`, `model.safetensors` or
/// shards of it, `tokenizer.json`.
package struct FolderDecoder: PretrainedDecoder {
    package let path: String
    package let configuration: [String: Any]
    package let hiddenSize: Int
    package let layers: Int
    package let tokenizer: [UInt8]
    package let systemPrompt: String? = nil
    private let tensors: TensorFiles

    package init(path: String) throws {
        self.path = path
        let file = path + "/config.json"
        guard let data = FileManager.default.contents(atPath: file),
            let object = (try? JSONSerialization.jsonObject(with: PythonJSON.conforming(data))) as? [String: Any]
        else {
            throw FileError(
                path: file, .missing, "is missing or is not a JSON object; expected a language model's config.json")
        }
        let type = object["model_type"] as? String ?? ""
        guard let family = DecoderFamily.of(modelType: type) else {
            throw FileError(path: file, "model_type is '\(type)'; expected \(DecoderFamily.names)")
        }
        configuration = object
        hiddenSize = object["hidden_size"] as? Int ?? family.hiddenSize
        layers = object["num_hidden_layers"] as? Int ?? family.layers
        guard let tensors = try TensorFiles.open(in: path) else {
            throw FileError(
                path: path + "/model.safetensors", .missing, "is missing; the decoder's weights are read from there")
        }
        self.tensors = tensors
        guard let tokenizer = FileManager.default.contents(atPath: path + "/tokenizer.json") else {
            throw FileError(
                path: path + "/tokenizer.json", .missing,
                "is missing; save the tokenizer with transformers' fast tokenizer")
        }
        self.tokenizer = [UInt8](tokenizer)
    }

    package func holds(_ entry: CheckpointLayout.Entry) -> Bool { tensors.entry(stored(entry)) != nil }

    package func values(of entry: CheckpointLayout.Entry) throws(FileError) -> [Float] {
        let name = stored(entry)
        guard let file = tensors.file(of: name), let found = file.entry(name) else {
            throw FileError(path: path, .mismatched, "has no tensor '\(name)'")
        }
        guard found.shape == entry.shape else {
            throw FileError(
                path: file.path, .mismatched,
                "tensor '\(name)': \(path)/config.json calls for the shape \(entry.shape), found \(found.shape)")
        }
        return try file.floats(name)
    }

    /// Tables that older versions of transformers stored, and a head that is tied all the same, are no loss.
    package func unread(_ entries: [CheckpointLayout.Entry]) -> String? {
        let read = Set(entries.map(stored) + [ModelPart.languageModel.nameInside(ModelPart.outputHead) + ".weight"])
        return tensors.names.first { !read.contains($0) && !$0.hasSuffix(".rotary_emb.inv_freq") }
    }

    private func stored(_ entry: CheckpointLayout.Entry) -> String {
        entry.part == .languageModel ? ModelPart.languageModel.nameInside(entry.name) : ""
    }
}
