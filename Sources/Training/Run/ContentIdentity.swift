internal import Data
internal import Formats
internal import Foundation
internal import Models
internal import PluginRuntime

/// Tells what a result depends on apart by its content: two results of equal identities are of the same files.
package final class ContentIdentity {
    /// Digests of files that were read already, by path.
    private var known: [String: String] = [:]

    package init() {}

    /// Larger files are told apart by their size and evenly spaced pieces: training changes weights everywhere.
    private static let wholeBytes = 256 << 20
    private static let piece = 1 << 20
    private static let pieces = 64

    /// SHA-256 of a file's content, in hexadecimal.
    package func file(_ path: String) throws -> String {
        if let digest = known[path] { return digest }
        let file = try RandomAccessFile(path: path)
        let text: String
        if file.size <= Self.wholeBytes {
            text = try SHA256.digest(ofFile: path)
        } else {
            var hash = SHA256()
            hash.add(Array("\(file.size)".utf8))
            for index in 0..<Self.pieces {
                let offset = (file.size - Self.piece) / (Self.pieces - 1) * index
                hash.add(try file.bytes(at: offset, count: Self.piece))
            }
            text = hash.digest()
        }
        known[path] = text
        return text
    }

    /// Of several files, whatever their order.
    package func files(_ paths: [String]) throws -> String {
        let lines = try Set(paths).sorted().map { "\(URL(fileURLWithPath: $0).lastPathComponent) \(try file($0))" }
        return SHA256.digest(of: lines.joined(separator: "\n"))
    }

    /// Of what a model folder computes with: weights, adapter, configuration, tokeniser and statistics, the base model's too.
    package func model(_ folder: String, base: [String] = []) throws -> String {
        let names = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).map { folder + "/" + $0 }
        let adapter = folder + "/lora_adapter"
        let adapters = ((try? FileManager.default.contentsOfDirectory(atPath: adapter)) ?? []).map {
            adapter + "/" + $0
        }
        let kinds = [".safetensors", "config.json", "tokenizer.json", "dataset_statistics.json", ".index.json"]
        let own = (names + adapters).filter { path in
            kinds.contains { path.hasSuffix($0) } && !path.hasSuffix("/optimizer.safetensors")
        }
        return try files(own + base)
    }

    /// What a run of these settings depends on, by name: the program, plugins with the libraries beside them that they use, the
    /// model, the data and the questions.
    package func inputs(of settings: RunSettings, executable: String) throws -> [String: String] {
        var inputs = ["craft": try file(executable)]
        let search = PluginSearch(paths: settings.pluginPath)
        for request in settings.plugins {
            let path = try search.locate(request.name)
            inputs["plugin \(request.instance)"] = try files([path] + Self.companions(of: path))
        }
        let folder = try? ModelFolder(path: settings.model)
        inputs["model \(settings.model)"] = try model(
            settings.model, base: folder?.backbone?.files.map(\.path) ?? [])
        for dataset in try MixtureRequest(settings.dataset).entries.map({ Optional($0.name) }).orNil {
            let paths = try Demonstrations.files(root: settings.data, name: dataset)
            inputs["data \(dataset ?? settings.data)"] = try files(paths)
        }
        if !settings.questions.isEmpty {
            inputs["questions \(settings.questions)"] = try files(Self.regularFiles(below: settings.questions))
        }
        return inputs
    }

    /// Libraries in a plugin's folder whose names occur in its file, as those of libraries that it is linked to do.
    private static func companions(of plugin: String) -> [String] {
        let url = URL(fileURLWithPath: plugin)
        guard let bytes = try? Foundation.Data(contentsOf: url, options: .mappedIfSafe) else { return [] }
        let folder = url.deletingLastPathComponent().path
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return names.filter {
            $0 != url.lastPathComponent && $0.contains(".so") && bytes.range(of: Foundation.Data($0.utf8)) != nil
        }
        .map { folder + "/" + $0 }
    }

    private static func regularFiles(below folder: String) -> [String] {
        let names = (try? FileManager.default.subpathsOfDirectory(atPath: folder)) ?? []
        return names.map { folder + "/" + $0 }.filter {
            var isFolder: ObjCBool = false
            return FileManager.default.fileExists(atPath: $0, isDirectory: &isFolder) && !isFolder.boolValue
        }
    }
}

extension [String?] {
    /// Nil alone where there is nothing.
    fileprivate var orNil: [String?] { isEmpty ? [nil] : self }
}
