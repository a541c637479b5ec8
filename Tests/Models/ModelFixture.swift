import Formats
import Foundation
import Models
import Tensors
import TestSupport

/// A copy of a scaled-down checkpoint whose files a test may change.
struct ModelFixture {
    private let temporary: TemporaryFolder
    let path: String

    init(_ name: String) throws {
        temporary = try TemporaryFolder()
        path = temporary.path(name)
        try FileManager.default.copyItem(atPath: BuildFolder.fixture("vla/\(name)").path, toPath: path)
    }

    func file(_ name: String) -> String { path + "/" + name }

    /// Writes a safetensors file again with tensors changed: `change` returns what takes a tensor's place.
    func rewrite(
        _ name: String, _ change: (SafetensorsFile, SafetensorsFile.Entry) throws -> SafetensorsWriter.Tensor?
    ) throws {
        let source = try SafetensorsFile(path: file(name))
        let tensors = try source.names.compactMap { name in try source.entry(name).flatMap { try change(source, $0) } }
        try SafetensorsWriter.write(tensors, metadata: ["format": "pt"], to: file(name))
    }

    /// Replaces text in a file.
    func replace(_ text: String, with other: String, in name: String = "config.json") throws {
        let old = try String(contentsOfFile: file(name), encoding: .utf8)
        guard old.contains(text) else { throw ModelError(.malformed, "\(name) has no \(text)") }
        try old.replacingOccurrences(of: text, with: other).write(toFile: file(name), atomically: true, encoding: .utf8)
    }

    /// The values that a model of this folder computes with, by name.
    func values() throws -> [String: [Float]] {
        let folder = try ModelFolder(path: path)
        let model = VLAModel(
            config: folder.config, fineTuning: folder.adapterSettings.map(FineTuning.lowRank) ?? .full)
        let absent = try folder.load(into: model)
        guard absent.isEmpty else { throw ModelError(.missing, "absent: \(absent)") }
        var values: [String: [Float]] = [:]
        for parameter in model.parameters.parameters {
            values[parameter.name] = [Float](unsafeUninitializedCapacity: parameter.count) { buffer, count in
                if let base = buffer.baseAddress { model.parameters.copyValues(parameter.id, into: base) }
                count = parameter.count
            }
        }
        return values
    }

    /// What opening and loading the folder says.
    func complaint() -> String {
        do {
            _ = try values()
            return ""
        } catch { return String(describing: error) }
    }
}
