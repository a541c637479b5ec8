internal import Formats
internal import Foundation

/// Writes a model folder of an architecture with fresh random weights: every tensor of the released layout.
package enum RandomModel {
    /// - `config`: path of a config.json.
    /// - `withHead`: whether action head and proprioception projector are written too.
    /// - Returns: tensors and values of the vision-language model.
    @discardableResult
    package static func write(
        config path: String, proPolicy: Bool?, to folder: String, storage: ModelFolder.Storage, seed: UInt64,
        withHead: Bool = true, shardBytes: Int = 5_000_000_000
    ) throws -> ModelCounts.Count {
        var config = try ModelConfig(file: path)
        config.settle(cameras: nil, proPolicy: proPolicy, actionHead: nil)
        let layout = CheckpointLayout(config)
        let values = StoredValues(layout: layout, config: config, model: nil, source: nil)
        guard !FileManager.default.fileExists(atPath: folder + "/config.json") else {
            throw ModelError(.exists, "\(folder) holds a model already; choose another folder")
        }
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let entries = layout.entries.filter(\.part.isBackbone)
        try SafetensorsWriter.writeModel(
            entries.map { values.drawn($0, as: storage, seed: seed) }, to: folder, shardBytes: shardBytes)
        if withHead {
            for part in ModelPart.heads {
                let tensors = layout.entries(of: part).map { entry in
                    values.drawn(entry, named: part.nameInside(entry.name), as: .f32, seed: seed)
                }
                try SafetensorsWriter.write(
                    tensors, metadata: ["format": "pt"], to: "\(folder)/\(part.rawValue)--checkpoint.safetensors")
            }
        }
        try AtomicFile.write(config.source(storedAs: storage), to: folder + "/config.json")
        return ModelCounts.Count(entries)
    }
}

extension ModelConfig {
    /// The bytes of config.json, with `torch_dtype` saying what weights are stored as now.
    func source(storedAs storage: ModelFolder.Storage?) -> [UInt8] {
        let names: [ModelFolder.Storage: String] = [.f32: "float32", .bf16: "bfloat16", .f16: "float16"]
        guard let storage, let name = names[storage] else { return [UInt8](source) }
        let text = String(decoding: source, as: UTF8.self)
        // Only the model's own key: text_config may have one of its own, further in.
        guard let key = text.range(of: #"(?m)^ {0,4}"torch_dtype"\s*:\s*"[a-z0-9]+""#, options: .regularExpression)
        else { return [UInt8](source) }
        let indent = text[key].prefix { $0 == " " }
        return [UInt8](text.replacingCharacters(in: key, with: "\(indent)\"torch_dtype\": \"\(name)\"").utf8)
    }
}
