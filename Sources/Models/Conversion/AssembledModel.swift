package import Formats
package import Foundation

/// Writes a vision-language model put together from pretrained parts: given tensors where there are some, fresh ones for
/// the projector and the action queries.
package enum AssembledModel {
    /// A tensor by its released name, made when it is written.
    package struct Part {
        package var shape: [Int]
        package var make: SafetensorsWriter.Tensor.Make

        package init(shape: [Int], make: @escaping SafetensorsWriter.Tensor.Make) {
            self.shape = shape
            self.make = make
        }
    }

    /// - `config`: the bytes of config.json.
    /// - Throws: when a part has another shape than the configuration calls for, or is missing.
    /// - Returns: counts of given and of fresh values.
    package static func write(
        config source: Data, parts: [String: Part], to folder: String, storage: ModelFolder.Storage, seed: UInt64
    ) throws -> (given: Int, fresh: Int) {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let path = folder + "/config.json"
        guard !FileManager.default.fileExists(atPath: path) else {
            throw ModelError("\(folder) holds a model already; choose another folder")
        }
        try AtomicFile.write([UInt8](source), to: path)
        let config = try ModelConfig(file: path)
        let layout = CheckpointLayout(config)
        if let unknown = parts.keys.filter({ layout[$0] == nil }).min() {
            throw ModelError("\(path): the configuration has no place for the tensor \(unknown)")
        }
        let values = StoredValues(layout: layout, config: config, model: nil, source: nil)
        var (given, fresh) = (0, 0)
        var tensors: [SafetensorsWriter.Tensor] = []
        for entry in layout.entries where entry.part.isBackbone {
            if let part = parts[entry.name] {
                guard part.shape == entry.shape else {
                    throw ModelError(
                        "\(path): \(entry.name) should have the shape \(entry.shape), the pretrained part has \(part.shape)"
                    )
                }
                given += entry.count
                tensors.append(.init(entry.name, shape: entry.shape, as: storage, make: part.make))
            } else if entry.part == .projector || entry.part == .actionQueries {
                fresh += entry.count
                tensors.append(values.drawn(entry.name, entry, as: storage, seed: seed))
            } else if entry.isUsed {
                throw ModelError("\(path): the pretrained parts have no \(entry.name)")
            }
        }
        try SafetensorsWriter.writeModel(tensors, to: folder, shardBytes: 5_000_000_000)
        return (given, fresh)
    }
}
