import Data
import Experiments
import Formats
import Foundation
import Models
import PluginRuntime
import Serving

/// A reader of foreign bytes, and the folder whose files it is given.
package final class FuzzTarget: Sendable {
    package struct Unknown: Error, CustomStringConvertible {
        package let description = "expected one of \(FuzzTarget.names.joined(separator: ", "))"
    }

    package static let names = [
        "images", "record", "features", "info", "safetensors", "gguf", "onnx", "config", "adapter", "tokenizer",
        "parquet",
        "statistics", "messagepack", "observation", "http", "websocket", "plugins", "signature",
        "grid", "run",
    ]

    package let name: String
    private let folder: String
    private let server: FuzzedServer?

    /// - Parameter checkout: the folder that holds Assets and Tests.
    package init(_ name: String, checkout: String) throws {
        guard Self.names.contains(name) else { throw Unknown() }
        self.name = name
        folder = "/dev/shm/craft-fuzz-\(name)-\(getpid())"
        server = ["http", "websocket"].contains(name) ? try FuzzedServer() : nil
        let version = folder + "/d/1.0.0"
        try FileManager.default.createDirectory(atPath: version, withIntermediateDirectories: true)
        let sample = URL(
            fileURLWithPath: checkout + "/Assets/libero-sample/libero_spatial_no_noops/1.0.0/features.json")
        try Foundation.Data(contentsOf: sample).write(to: URL(fileURLWithPath: version + "/features.json"))
        let info = #"{"name":"d","splits":[{"name":"train","shardLengths":["1"]}]}"#
        try Foundation.Data(info.utf8).write(to: URL(fileURLWithPath: version + "/dataset_info.json"))
        guard name == "parquet" else { return }
        let lerobot = folder + "/lerobot"
        try FileManager.default.copyItem(atPath: checkout + "/Tests/Fixtures/lerobot/v21-image", toPath: lerobot)
        // One episode, whose file is what is fuzzed.
        let episode = #"{"episode_index": 2, "tasks": ["push the red block"], "length": 5}"#
        try Foundation.Data(episode.utf8).write(to: URL(fileURLWithPath: lerobot + "/meta/episodes.jsonl"))
    }

    deinit {
        server?.stop()
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// What was read, written and read again is something else.
    package struct Changed: Error, CustomStringConvertible {
        package let description: String
    }

    /// Whether the reader took the bytes; false where it refused them.
    package func read(_ bytes: [UInt8]) throws(Changed) -> Bool {
        do {
            try take(bytes)
            return true
        } catch let error as Changed {
            throw error
        } catch {
            return false
        }
    }

    private func take(_ bytes: [UInt8]) throws {
        switch name {
        case "images": _ = try RGBImage(decoding: bytes, maximumSide: 128)
        case "record":
            let length = withUnsafeBytes(of: UInt64(bytes.count).littleEndian) { Array($0) }
            write(length + checksum(length) + bytes + checksum(bytes), "d/1.0.0/d-train.tfrecord-00000-of-00001")
            _ = try? DatasetVerification(root: folder, threads: 1)
            _ = try Demonstrations.instructions(root: folder, name: nil)
            _ = try Demonstrations.open(root: folder).statistics()
        case "features":
            write(bytes, "d/1.0.0/features.json")
            guard Demonstrations.outline(root: folder, name: nil) != nil else { throw Refusal() }
        case "info":
            write(bytes, "d/1.0.0/dataset_info.json")
            _ = try Demonstrations.files(root: folder, name: nil)
        case "safetensors":
            let file = try SafetensorsFile(path: write(bytes, "model.safetensors"))
            for tensor in file.names { _ = try file.floats(tensor) }
        case "gguf": _ = try GGUFFile(path: write(bytes, "model.gguf"))
        case "onnx": _ = try ONNXFile(path: write(bytes, "model.onnx"))
        case "config": _ = try ModelConfig(file: write(bytes, "config.json"))
        case "adapter": _ = try AdapterConfiguration(write(bytes, "adapter_config.json"))
        case "tokenizer":
            let tokenizer = try Tokenizer(contentsOf: write(bytes, "tokenizer.json"))
            _ = tokenizer.decode(tokenizer.encode("Pick up the bowl, é 12 <|im_end|>"))
        case "parquet":
            write(bytes, "lerobot/data/chunk-000/episode_000002.parquet")
            _ = try? DatasetVerification(root: folder + "/lerobot", threads: 1)
            _ = try Demonstrations.open(root: folder + "/lerobot").statistics()
        case "statistics":
            let path = write(bytes, "dataset_statistics.json")
            _ = try? DatasetStatistics.only(contentsOf: path)
            _ = try DatasetStatistics.load(contentsOf: path, dataset: "d")
        case "messagepack":
            let encoded = try MessagePackDecoder.decode(bytes).encoded
            guard try MessagePackDecoder.decode(encoded).encoded == encoded else {
                throw Changed(description: "a MessagePack value")
            }
        case "observation":
            let message = try MessagePackDecoder.decode(bytes)
            let reader = ObservationReader(summary: FuzzedServer.summary)
            _ = try? reader.vlaEval(message)
            _ = try reader.openPI(message)
        case "http": try server?.send(bytes, handshakes: false)
        case "websocket": try server?.send(bytes, handshakes: true)
        case "plugins":
            let text = String(decoding: bytes, as: UTF8.self)
            _ = try? PluginAssignment(parsing: text)
            _ = try PluginRequest.parseList(text)
        case "grid": _ = try AblationFile.read(write(bytes, "grid.yaml"))
        case "run": _ = try RunFile.arguments(write(bytes, "run.yaml"))
        default:
            let signature = try Signature(parsing: String(decoding: bytes, as: UTF8.self))
            guard try Signature(parsing: signature.description) == signature else {
                throw Changed(description: "the signature \(signature)")
            }
        }
    }

    private struct Refusal: Error {}

    private func checksum(_ bytes: [UInt8]) -> [UInt8] {
        withUnsafeBytes(of: bytes.withUnsafeBytes(maskedCRC32C).littleEndian) { Array($0) }
    }

    @discardableResult
    private func write(_ bytes: [UInt8], _ name: String) -> String {
        let path = "\(folder)/\(name)"
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        _ = Foundation.write(descriptor, bytes, bytes.count)
        close(descriptor)
        return path
    }
}
