import Data
import Formats
import Foundation
import TestSupport
import Testing

/// Damage on disk must be named: which file, which record, which byte.
@Suite struct RecordTests {
    private let folder: TemporaryFolder
    private let dataset: SyntheticDataset
    private let payload = SyntheticDataset.example(.init())

    init() throws {
        folder = try TemporaryFolder()
        dataset = try SyntheticDataset(root: folder.url, name: "libero_10_no_noops")
    }

    private func message() -> String {
        dataError { _ = try RLDSStore(root: folder.url.path, name: "libero_10_no_noops") }?.description
            ?? "no error"
    }

    private func damage(shard: Int, of count: Int, _ change: (inout [UInt8]) -> Void) throws {
        let url = dataset.shardURL(shard, of: count)
        var bytes = [UInt8](try Foundation.Data(contentsOf: url))
        change(&bytes)
        try Foundation.Data(bytes).write(to: url)
    }

    @Test func checksumIsTheStandardOne() {
        // CRC-32C of "123456789" is 0xe3069283 (RFC 3720 B.4); masked by the TFRecord rule.
        let crc: UInt32 = 0xe306_9283
        #expect(Array("123456789".utf8).withUnsafeBytes(maskedCRC32C) == (crc >> 15 | crc << 17) &+ 0xa282_ead8)
    }

    @Test func anyFlippedBitIsFoundAndPlaced() throws {
        try dataset.write(shards: [[payload], [payload, payload]])
        let second = 16 + payload.count
        for (offset, expected) in [
            (second + 3, "the length of record 1 at offset \(second)"),
            (second + 9, "the length of record 1 at offset \(second)"),
            (second + 12 + 77, "record 1 (payload of \(payload.count) bytes at offset \(second + 12)) is damaged"),
            (2 * second - 1, "record 1 (payload of \(payload.count) bytes at offset \(second + 12)) is damaged"),
            (20, "record 0 (payload of \(payload.count) bytes at offset 12) is damaged"),
        ] {
            try damage(shard: 1, of: 2) { $0[offset] ^= 0x10 }
            #expect(message().contains("liber_o10-train.tfrecord-00001-of-00002: "))
            #expect(message().contains(expected), "\(offset): \(message())")
            try damage(shard: 1, of: 2) { $0[offset] ^= 0x10 }
        }
        #expect(message() == "no error")
    }

    @Test func truncationIsPlaced() throws {
        try dataset.write(shards: [[payload, payload]])
        let second = 16 + payload.count
        try damage(shard: 0, of: 1) { $0.removeLast(100) }
        #expect(
            message().contains(
                "record 1 at offset \(second) needs \(payload.count) payload bytes, but only \(payload.count - 100)"))
        try damage(shard: 0, of: 1) { $0.removeLast($0.count - second - 5) }
        #expect(
            message().contains("ends inside the header of record 1 at offset \(second): expected 12 bytes, found 5"))
        try damage(shard: 0, of: 1) { $0.removeLast(5) }
        #expect(message().contains("holds 1 records, expected 2 (shardLengths"))
    }

    @Test func hugeLengthsWithARightChecksumAreRefused() throws {
        try dataset.write(shards: [[payload]])
        for length in [UInt64.max, UInt64(Int.max), UInt64(payload.count) + 1, 1 << 40] {
            try damage(shard: 0, of: 1) { bytes in
                let field = Wire.littleEndian(length)
                bytes.replaceSubrange(0..<12, with: field + Wire.littleEndian(field.withUnsafeBytes(maskedCRC32C)))
            }
            #expect(message().contains("record 0 at offset 0 needs \(length) payload bytes"))
        }
    }

    @Test func packedAndUnpackedListsAndUnknownFieldsAreRead() throws {
        let unknown = Wire.field(9, [1, 2, 3]) + [0x50, 0x7f] + [0x5d, 0, 0, 0, 0] + [0x61, 1, 2, 3, 4, 5, 6, 7, 8]
        let steps = 3
        let example = Wire.example([
            ("steps/action", Wire.unpackedFloats([Float](repeating: 0.5, count: 7 * steps))),
            ("steps/observation/state", Wire.floats([Float](repeating: 0.25, count: 8 * steps))),
            ("steps/observation/image", unknown + Wire.bytes([[1], [2], [3]]) + unknown),
            ("steps/observation/wrist_image", Wire.bytes([[1], [2], [3]])),
            ("steps/language_instruction", Wire.bytes([[UInt8]](repeating: Array("go".utf8), count: steps))),
            ("steps/is_last", Wire.unpackedIntegers([0, 0, 1])),
            ("steps/something_else", Wire.floats([1, 2])),
        ])
        try dataset.write(shards: [[unknown + example + unknown]])
        let opened = try RLDSStore(root: folder.url.path, name: "libero_10_no_noops")
        #expect(opened.transitionCount == 3)
        #expect(opened.episodes[0].instruction == "go")
        #expect(opened.episodes[0].proprio == [Float](repeating: 0.25, count: 24))
        #expect(opened.episodes[0].actions.prefix(7) == [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    }

    @Test func wrongFeaturesAreNamed() throws {
        let steps = 2
        let good: [(String, [UInt8])] = [
            ("steps/action", Wire.floats([Float](repeating: 0, count: 7 * steps))),
            ("steps/observation/state", Wire.floats([Float](repeating: 0, count: 8 * steps))),
            ("steps/observation/image", Wire.bytes([[1], [2]])),
            ("steps/observation/wrist_image", Wire.bytes([[1], [2]])),
            ("steps/language_instruction", Wire.bytes([[65], [65]])),
            ("steps/is_last", Wire.integers([0, 1])),
        ]
        func message(_ key: String, _ feature: [UInt8]?) throws -> String {
            let entries = good.compactMap { $0.0 == key ? feature.map { (key, $0) } : $0 }
            try dataset.write(shards: [[Wire.example(entries)]])
            return self.message()
        }
        #expect(try message("", nil) == "no error")
        #expect(try message("steps/action", nil).contains("record 0: has no feature 'steps/action'"))
        #expect(
            try message("steps/action", Wire.floats([1, 2])).contains(
                "'steps/action' has 2 values, expected 14 (2 steps of 7)"))
        #expect(
            try message("steps/action", Wire.bytes([[1]])).contains(
                "'steps/action' is stored as bytes_list, expected float_list or int64_list"))
        #expect(try message("steps/action", Wire.integers([Int64](repeating: 1, count: 14))) == "no error")
        let infinite = [Float](repeating: 0, count: 9) + [.infinity] + [Float](repeating: 0, count: 6)
        #expect(try message("steps/observation/state", Wire.floats(infinite)).contains("is inf at step 1, element 1"))
        #expect(
            try message("steps/observation/image", Wire.bytes([[1]])).contains(
                "'steps/observation/image' has 1 entries, expected 2"))
        #expect(try message("steps/language_instruction", Wire.bytes([[65], [66]])) == "no error")
        #expect(try message("steps/language_instruction", Wire.bytes([[0xff], [0xff]])).contains("not valid UTF-8"))
        #expect(try message("steps/language_instruction", Wire.bytes([])).contains("has no steps"))
        #expect(try message("steps/is_last", nil) == "no error", "training does not read it")
    }

    /// Every mutation keeps its checksums right, so that the parser sees it.
    @Test func hostileRecordsNeverCrash() throws {
        var generator = TestGenerator(state: 17)
        let original = SyntheticDataset.example(.init(length: 3, images: [1, 2, 3]))
        var refused = 0
        for _ in 0..<400 {
            var mutated = original
            for _ in 0..<Int.random(in: 1...6, using: &generator) {
                let position = Int.random(in: 0..<mutated.count, using: &generator)
                switch generator.next() % 4 {
                case 0: mutated[position] = UInt8(truncatingIfNeeded: generator.next())
                case 1: mutated[position] = 0xff
                case 2: mutated.removeSubrange(position..<min(position + Int(generator.next() % 9), mutated.count))
                default: mutated.insert(contentsOf: Wire.varint(generator.next()), at: position)
                }
                if mutated.isEmpty { mutated = [0] }
            }
            try dataset.write(shards: [[mutated]])
            if message() != "no error" { refused += 1 }
        }
        #expect(refused > 200)
    }
}
