internal import Formats
package import Foundation

/// Writes a vision-language model put together from pretrained parts: given tensors where there are some, fresh ones for
/// the projector and the action queries.
package enum AssembledModel {
    /// - `config`: the bytes of config.json.
    /// - `sources`: where the tensors of a part come from, by part.
    /// - Throws: when a source lacks a tensor that the configuration calls for, has it in another shape, or has one too many.
    /// - Returns: counts of given and of fresh values.
    package static func write(
        config source: Data, from sources: [ModelPart: any PretrainedSource], to folder: String,
        storage: ModelFolder.Storage, seed: UInt64
    ) throws -> (given: Int, fresh: Int) {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let path = folder + "/config.json"
        guard !FileManager.default.fileExists(atPath: path) else {
            throw ModelError(.exists, "\(folder) holds a model already; choose another folder")
        }
        let config = try ModelConfig(source, path: path)
        let layout = CheckpointLayout(config)
        for (part, source) in sources.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            guard let name = source.unread(layout.entries(of: part)) else { continue }
            throw FileError(
                path: source.path, .mismatched,
                "tensor '\(name)' has no place in the model that \(path) describes; without it the model would be another"
            )
        }
        let values = StoredValues(layout: layout, config: config, model: nil, source: nil)
        var (given, fresh) = (0, 0)
        var tensors: [SafetensorsWriter.Tensor] = []
        for entry in layout.entries where entry.part.isBackbone {
            if let source = sources[entry.part] {
                guard source.holds(entry) else {
                    guard entry.isUsed else { continue }
                    throw FileError(
                        path: source.path, .mismatched, "has no tensor for \(entry.name), which \(path) calls for")
                }
                given += entry.count
                tensors.append(
                    .init(entry.name, shape: entry.shape, as: storage) { () throws(FileError) in
                        try source.values(of: entry)
                    })
            } else {
                fresh += entry.count
                tensors.append(values.drawn(entry, as: storage, seed: seed))
            }
        }
        try SafetensorsWriter.writeModel(tensors, to: folder, shardBytes: 5_000_000_000)
        try AtomicFile.write([UInt8](source), to: path)
        return (given, fresh)
    }
}
