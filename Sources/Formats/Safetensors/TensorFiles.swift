internal import Foundation

/// The tensors of a model in one safetensors file, or in several with an index that says which holds what.
package final class TensorFiles: Sendable {
    /// The file or the index, for messages.
    package let path: String
    package let files: [SafetensorsFile]
    /// All names, in the order of the files' data.
    package let names: [String]
    private let owners: [String: Int]

    /// Opens `<stem>.safetensors`, or the files that `<stem>.safetensors.index.json` lists; nil when neither is there.
    package static func open(in folder: String, stem: String = "model") throws -> TensorFiles? {
        let single = "\(folder)/\(stem).safetensors"
        if FileManager.default.fileExists(atPath: single) { return TensorFiles(try SafetensorsFile(path: single)) }
        let index = single + ".index.json"
        if FileManager.default.fileExists(atPath: index) { return try TensorFiles(index: index, in: folder) }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        if let shard = names.filter({ $0.hasPrefix(stem + "-0") && $0.hasSuffix(".safetensors") }).min() {
            throw FileError(
                path: index, .missing, "is missing, but there is \(shard); sharded weights need their index")
        }
        return nil
    }

    package init(_ file: SafetensorsFile) {
        path = file.path
        files = [file]
        names = file.names
        owners = Dictionary(uniqueKeysWithValues: file.names.map { ($0, 0) })
    }

    private init(index path: String, in folder: String) throws {
        struct Index: Decodable {
            var weights: [String: String]
            enum CodingKeys: String, CodingKey { case weights = "weight_map" }
        }
        guard let data = FileManager.default.contents(atPath: path),
            let map = (try? PythonJSON.decoder().decode(Index.self, from: PythonJSON.conforming(data)))?.weights,
            !map.isEmpty
        else {
            throw FileError(
                path: path, "is not an index of shards: expected a weight_map of tensor names to file names")
        }
        self.path = path
        var files: [SafetensorsFile] = []
        var positions: [String: Int] = [:]
        for name in Set(map.values).sorted() {
            guard !name.contains("/"), name.hasSuffix(".safetensors") else {
                throw FileError(
                    path: path, "names the shard '\(name)'; expected a .safetensors file in the same folder")
            }
            positions[name] = files.count
            files.append(try SafetensorsFile(path: "\(folder)/\(name)"))
        }
        // What the shards hold counts, as in transformers; the index decides where several have a tensor. One that it lists and no
        // shard has is missed when it is needed.
        var owners: [String: Int] = [:]
        for (position, file) in files.enumerated() {
            for tensor in file.names where owners[tensor] == nil || map[tensor].flatMap({ positions[$0] }) == position {
                owners[tensor] = position
            }
        }
        self.files = files
        self.owners = owners
        names = files.enumerated().flatMap { position, file in file.names.filter { owners[$0] == position } }
    }

    /// The file that holds a tensor.
    package func file(of name: String) -> SafetensorsFile? { owners[name].map { files[$0] } }

    package func entry(_ name: String) -> SafetensorsFile.Entry? { file(of: name)?.entry(name) }
}
