import Data
import Formats
import Foundation
import Models

/// Hands mutated bytes to the reader that CRAFT_FUZZ_TARGET names. Whatever they are, a reader refuses them with an error or reads
/// them; ending the process is a find. scripts/campaign.sh runs all targets.
private func fuzz(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    target.read(Array(UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}

private typealias Arguments = UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>

/// libFuzzer's loop, for programs with a main of their own.
@_silgen_name("LLVMFuzzerRunDriver") private func runFuzzer(
    _ count: UnsafeMutablePointer<Int32>, _ arguments: UnsafeMutablePointer<Arguments>,
    _ callback: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
) -> Int32

/// The name under which SwiftPM looks for a program's main.
@_cdecl("craft_fuzz_main") public func fuzzMain(
    _ count: Int32, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
) -> Int32 {
    var (count, arguments) = (count, arguments)
    return runFuzzer(&count, &arguments, fuzz)
}

private let target = FuzzTarget(ProcessInfo.processInfo.environment["CRAFT_FUZZ_TARGET"] ?? "")

/// A reader of foreign bytes, and the folder whose files it is given.
private struct FuzzTarget: Sendable {
    private let name: String
    private let folder: String

    init(_ name: String) {
        self.name = name
        folder = "/dev/shm/craft-fuzz-\(name)-\(getpid())"
        guard Self.names.contains(name) else {
            fatalError("CRAFT_FUZZ_TARGET is '\(name)'; expected one of \(Self.names.joined(separator: ", "))")
        }
        let version = folder + "/d/1.0.0"
        try? FileManager.default.createDirectory(atPath: version, withIntermediateDirectories: true)
        let sample = FileManager.default.currentDirectoryPath + "/Assets/libero-sample/libero_spatial_no_noops/1.0.0/"
        let features = FileManager.default.contents(atPath: sample + "features.json")
        try? features?.write(to: URL(fileURLWithPath: version + "/features.json"))
        let info = #"{"name":"d","splits":[{"name":"train","shardLengths":["1"]}]}"#
        try? Foundation.Data(info.utf8).write(to: URL(fileURLWithPath: version + "/dataset_info.json"))
        guard name == "parquet" else { return }
        let lerobot = FileManager.default.currentDirectoryPath + "/Tests/Fixtures/lerobot/v21-image"
        try? FileManager.default.copyItem(atPath: lerobot, toPath: folder + "/lerobot")
        // One episode, whose file is what is fuzzed.
        let episode = #"{"episode_index": 2, "tasks": ["push the red block"], "length": 5}"#
        try? Foundation.Data(episode.utf8).write(to: URL(fileURLWithPath: folder + "/lerobot/meta/episodes.jsonl"))
    }

    private static let names = [
        "images", "record", "features", "info", "safetensors", "gguf", "onnx", "config", "adapter", "tokenizer",
        "parquet",
        "statistics",
    ]

    func read(_ bytes: [UInt8]) {
        switch name {
        case "images": _ = try? RGBImage(decoding: bytes, maximumSide: 128)
        case "record":
            let length = withUnsafeBytes(of: UInt64(bytes.count).littleEndian) { Array($0) }
            write(length + checksum(length) + bytes + checksum(bytes), "d/1.0.0/d-train.tfrecord-00000-of-00001")
            _ = try? Demonstrations.open(root: folder).statistics()
            _ = try? DatasetVerification(root: folder, threads: 1)
            _ = try? Demonstrations.instructions(root: folder, name: nil)
        case "features":
            write(bytes, "d/1.0.0/features.json")
            _ = Demonstrations.outline(root: folder, name: nil)
        case "info":
            write(bytes, "d/1.0.0/dataset_info.json")
            _ = try? Demonstrations.files(root: folder, name: nil)
        case "safetensors":
            let path = write(bytes, "model.safetensors")
            guard let file = try? SafetensorsFile(path: path) else { return }
            for tensor in file.names { _ = try? file.floats(tensor) }
        case "gguf": _ = try? GGUFFile(path: write(bytes, "model.gguf"))
        case "onnx": _ = try? ONNXFile(path: write(bytes, "model.onnx"))
        case "config": _ = try? ModelConfig(file: write(bytes, "config.json"))
        case "adapter": _ = try? AdapterConfiguration(write(bytes, "adapter_config.json"))
        case "tokenizer":
            guard let tokenizer = try? Tokenizer(contentsOf: write(bytes, "tokenizer.json")) else { return }
            _ = tokenizer.decode(tokenizer.encode("Pick up the bowl, é 12 <|im_end|>"))
        case "parquet":
            write(bytes, "lerobot/data/chunk-000/episode_000002.parquet")
            _ = try? Demonstrations.open(root: folder + "/lerobot").statistics()
            _ = try? DatasetVerification(root: folder + "/lerobot", threads: 1)
        default:
            let path = write(bytes, "dataset_statistics.json")
            _ = try? DatasetStatistics.load(contentsOf: path, dataset: "d")
            _ = try? DatasetStatistics.only(contentsOf: path)
        }
    }

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
