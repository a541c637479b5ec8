import Data
import Formats
import Foundation
import TestSupport

/// Files that the tests read.
enum Sample {
    static let name = "libero_spatial_no_noops"
    static let root = BuildFolder.repository.appendingPathComponent("Assets/libero-sample").path
    static let tokenizer = BuildFolder.repository.appendingPathComponent("Assets/small-vlm/tokenizer.json").path
    static let questions = BuildFolder.repository.appendingPathComponent("Assets/easy-vqa-heldout").path

    /// Opened once: opening verifies 8 MB.
    static let dataset = Result { try RLDSStore(root: root, name: name) }
}

/// JSON under Tests/Fixtures/data.
func fixture<Value: Decodable>(_ path: String, as type: Value.Type = Value.self) throws -> Value {
    try JSONDecoder().decode(Value.self, from: Foundation.Data(contentsOf: BuildFolder.fixture("data/\(path)")))
}

/// The error that `body` throws, or nil.
func dataError(_ body: () throws -> Void) -> DataError? { failure(of: body) }
func fileError(_ body: () throws -> Void) -> FileError? { failure(of: body) }

private func failure<Failure: Error>(of body: () throws -> Void) -> Failure? {
    do {
        try body()
        return nil
    } catch {
        return error as? Failure
    }
}

/// Reproducible draws for tests (xorshift64*).
struct TestGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        return state &* 0x2545_f491_4f6c_dd1d
    }
}

/// Writes small data sets in the LIBERO schema, whole or damaged.
struct SyntheticDataset {
    struct Episode {
        var instruction: String = "push the plate"
        var length: Int = 10
        /// Given the step; 7 values.
        var action: (Int) -> [Float] = { step in [Float](repeating: Float(step), count: 6) + [-1] }
        var state: (Int) -> [Float] = { step in [Float](repeating: Float(step), count: 8) }
        var images: [UInt8] = SyntheticDataset.jpeg
    }

    /// One 96x96 frame.
    static let jpeg: [UInt8] =
        (try? [UInt8](Foundation.Data(contentsOf: BuildFolder.fixture("data/images/frame.jpg")))) ?? []

    var folder: URL
    var storedName = "liber_o10"

    /// Creates `root/name/version` with the given shards of serialised examples.
    init(root: URL, name: String, version: String = "1.0.0") throws {
        folder = root.appendingPathComponent("\(name)/\(version)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let features = URL(fileURLWithPath: "\(Sample.root)/\(Sample.name)/1.0.0/features.json")
        try FileManager.default.copyItem(at: features, to: folder.appendingPathComponent("features.json"))
    }

    func write(shards: [[[UInt8]]], lengths: [Int]? = nil) throws {
        let lengths = (lengths ?? shards.map(\.count)).map { "\"\($0)\"" }.joined(separator: ",")
        try replaceInfo(
            #"{"name":"\#(storedName)","version":"1.0.0","fileFormat":"tfrecord","#
                + #""splits":[{"name":"train","shardLengths":[\#(lengths)],"numBytes":"0"}]}"#)
        for (index, shard) in shards.enumerated() {
            try Foundation.Data(shard.flatMap(Wire.record)).write(to: shardURL(index, of: shards.count))
        }
    }

    func replaceInfo(_ json: String) throws {
        try Foundation.Data(json.utf8).write(to: folder.appendingPathComponent("dataset_info.json"))
    }

    func shardURL(_ index: Int, of count: Int) -> URL {
        folder.appendingPathComponent(String(format: "\(storedName)-train.tfrecord-%05d-of-%05d", index, count))
    }

    static func example(_ episode: Episode) -> [UInt8] {
        let steps = 0..<episode.length
        return Wire.example(
            [
                ("steps/action", Wire.floats(steps.flatMap(episode.action))),
                ("steps/observation/state", Wire.floats(steps.flatMap(episode.state))),
                ("steps/observation/image", Wire.bytes(steps.map { _ in episode.images })),
                ("steps/observation/wrist_image", Wire.bytes(steps.map { _ in episode.images })),
                ("steps/language_instruction", Wire.bytes(steps.map { _ in Array(episode.instruction.utf8) })),
                ("steps/is_last", Wire.integers(steps.map { $0 == episode.length - 1 ? 1 : 0 })),
            ] + unread(steps: episode.length))
    }

    /// What the schema promises besides, and training does not read.
    static func unread(steps: Int) -> [(String, [UInt8])] {
        let zeros = Wire.floats([Float](repeating: 0, count: steps))
        let flags = Wire.integers([Int64](repeating: 0, count: steps))
        return [
            ("episode_metadata/file_path", Wire.bytes([Array("recorded".utf8)])), ("steps/discount", zeros),
            ("steps/reward", zeros), ("steps/is_first", flags), ("steps/is_terminal", flags),
            ("steps/observation/joint_state", Wire.floats([Float](repeating: 0, count: 7 * steps))),
        ]
    }
}

/// Serialises TFRecord frames and tf.train.Example.
enum Wire {
    static func varint(_ value: UInt64) -> [UInt8] {
        var (value, out): (UInt64, [UInt8]) = (value, [])
        while value > 0x7f {
            out.append(UInt8(value & 0x7f) | 0x80)
            value >>= 7
        }
        return out + [UInt8(value)]
    }

    static func field(_ number: UInt64, _ data: [UInt8]) -> [UInt8] {
        varint(number << 3 | 2) + varint(UInt64(data.count)) + data
    }

    static func littleEndian(_ value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }

    static func floats(_ values: [Float]) -> [UInt8] {
        field(2, field(1, values.flatMap { littleEndian($0.bitPattern) }))
    }

    static func unpackedFloats(_ values: [Float]) -> [UInt8] {
        field(2, values.flatMap { [0x0d] + littleEndian($0.bitPattern) })
    }

    static func integers(_ values: [Int64]) -> [UInt8] {
        field(3, field(1, values.flatMap { varint(UInt64(bitPattern: $0)) }))
    }

    static func unpackedIntegers(_ values: [Int64]) -> [UInt8] {
        field(3, values.flatMap { [0x08] + varint(UInt64(bitPattern: $0)) })
    }

    static func bytes(_ values: [[UInt8]]) -> [UInt8] { field(1, values.flatMap { field(1, $0) }) }

    static func example(_ entries: [(String, [UInt8])]) -> [UInt8] {
        field(1, entries.flatMap { key, feature in field(1, field(1, Array(key.utf8)) + field(2, feature)) })
    }

    static func record(_ payload: [UInt8]) -> [UInt8] { TFRecordFile.framed(payload) }
}
