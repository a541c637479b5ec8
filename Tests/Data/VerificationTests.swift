import Data
import Dispatch
import Formats
import Foundation
import TestSupport
import Testing

/// Damage of every kind, and what the verification says about it.
@Suite struct VerificationTests {
    private let folder: TemporaryFolder
    private let dataset: SyntheticDataset
    private let payload = SyntheticDataset.example(.init())

    init() throws {
        folder = try TemporaryFolder()
        dataset = try SyntheticDataset(root: folder.url, name: "libero_10_no_noops")
    }

    private func verify() throws -> DatasetVerification { try DatasetVerification(root: folder.url.path) }

    private func messages() throws -> String { try verify().problems.map(\.message).joined(separator: "\n") }

    private func damage(shard: Int, of count: Int, _ change: (inout Foundation.Data) -> Void) throws {
        let url = dataset.shardURL(shard, of: count)
        var bytes = try Foundation.Data(contentsOf: url)
        change(&bytes)
        try bytes.write(to: url)
    }

    @Test func soundSetsAreSound() throws {
        try dataset.write(shards: [[payload, payload], [payload]])
        let result = try verify()
        #expect(result.isSound, "\(result.problems)")
        #expect(result.shards == 2 && result.records == 3 && result.steps == 30 && result.images == 60)
        let sample = try DatasetVerification(root: Sample.root)
        #expect(sample.isSound && sample.records == 12 && sample.steps == 1363 && sample.name == Sample.name)
    }

    @Test func everyDamagedRecordIsListed() throws {
        try dataset.write(shards: [[payload, payload, payload], [payload, payload]])
        let size = 16 + payload.count
        try damage(shard: 0, of: 2) {
            $0[20] ^= 1
            $0[2 * size + 40] ^= 1
        }
        try damage(shard: 1, of: 2) { $0.removeLast(30) }
        let result = try verify()
        #expect(result.problems.map(\.record) == [0, 2, 1], "\(result.problems)")
        #expect(result.problems.map(\.offset) == [0, 2 * size, size])
        #expect(result.problems[0].message.contains("tfrecord-00000-of-00002: record 0"))
        #expect(result.problems[2].message.contains("tfrecord-00001-of-00002: record 1 at offset \(size) needs"))
        #expect(result.records == 5)
    }

    /// A flipped length hides where the next record starts; so do bytes that are gone.
    @Test func readingGoesOnAfterLostFraming() throws {
        let size = 16 + payload.count
        try dataset.write(shards: [[payload, payload, payload]])
        try damage(shard: 0, of: 1) { $0[size] ^= 1 }
        var result = try verify()
        #expect(result.problems.count == 2 && result.records == 3, "\(result.problems)")
        #expect(result.problems[0].message.contains("length of record 1 at offset \(size) is damaged"))
        #expect(result.problems[1].message.contains("reading goes on at offset \(2 * size)"))

        try dataset.write(shards: [[payload, payload, payload]])
        try damage(shard: 0, of: 1) { $0.removeSubrange(size + 100..<size + 150) }
        result = try verify()
        #expect(result.records == 3, "\(result.problems)")
        #expect(result.problems.contains { $0.message.contains("reading goes on at offset \(2 * size - 50)") })
    }

    @Test func shardsAreComparedWithTheInfoFile() throws {
        try dataset.write(shards: [[payload], [payload]], lengths: [2, 1])
        try FileManager.default.copyItem(
            at: dataset.shardURL(0, of: 2), to: dataset.folder.appendingPathComponent("x-train.tfrecord-00007-of-00009")
        )
        try FileManager.default.removeItem(at: dataset.shardURL(1, of: 2))
        let text = try messages()
        #expect(text.contains("x-train.tfrecord-00007-of-00009: is not among the 2 shards"))
        #expect(text.contains("00000-of-00002: holds 1 record, expected 2 (shardLengths"))
        #expect(text.contains("00001-of-00002: is missing; dataset_info.json lists it with 1 records"))
    }

    @Test func bytesAreComparedWithTheInfoFile() throws {
        try dataset.write(shards: [[payload]])
        func info(_ bytes: Int) throws {
            try dataset.replaceInfo(
                #"{"name":"liber_o10","splits":[{"name":"train","shardLengths":["1"],"numBytes":"\#(bytes)"}]}"#)
        }
        try info(payload.count)
        #expect(try verify().isSound)
        try info(payload.count + 16)
        #expect(try verify().isSound, "whole files are another convention")
        try info(payload.count + 1)
        #expect(try messages().contains("numBytes is \(payload.count + 1), but"))
    }

    /// Records that are gone without a trace explain the bytes that are missing.
    @Test(arguments: [1, 0])
    func aShardCutBetweenRecordsIsOneProblem(_ left: Int) throws {
        try dataset.write(shards: [[payload, payload]])
        let bytes = 2 * payload.count
        try dataset.replaceInfo(
            #"{"name":"liber_o10","splits":[{"name":"train","shardLengths":["2"],"numBytes":"\#(bytes)"}]}"#)
        try damage(shard: 0, of: 1) { $0.removeLast((2 - left) * (16 + payload.count)) }
        let problems = try verify().problems
        #expect(problems.count == 1, "\(problems)")
        #expect(problems[0].message.contains("holds \(left) record\(left == 1 ? "" : "s"), expected 2"))
    }

    @Test func unreadableDescriptionsAreProblemsToo() throws {
        try dataset.write(shards: [[payload]])
        try damage(shard: 0, of: 1) { $0[20] ^= 1 }
        try dataset.replaceInfo("{")
        try Foundation.Data("[]".utf8).write(to: dataset.folder.appendingPathComponent("features.json"))
        let text = try messages()
        #expect(text.contains("is not a TFDS dataset_info.json") && text.contains("is not a TFDS features.json"))
        #expect(text.contains("record 0 (payload of"))
    }

    /// Valid JSON is not called invalid, and text that is no JSON is told where.
    @Test func faultsOfDescriptionsArePlaced() throws {
        try dataset.write(shards: [[payload], [payload]])
        for (json, expected) in [
            (#""shardLengths":[1.0, 1.5]}]}"#, "shardLengths[1] is 1.5; expected a whole number"),
            (#""shardLengths":["x", 1]}]}"#, #"shardLengths[0] is "x"; expected a whole number"#),
            (#""shardLengths":[1, true]}]}"#, "shardLengths[1] is not a number; expected a whole number"),
            (#""shardLengths":[1, 1],"numBytes":0.5}]}"#, "numBytes is 0.5; expected a whole number"),
            (#""shardLengths":7}]}"#, "splits[0].shardLengths is not"),
            ("\n\"shardLengths\": nothing}", "at line 2, column 18"),
            (#""shardLengths":["#, "after 62 bytes"),
        ] {
            try dataset.replaceInfo(#"{"name":"liber_o10","splits":[{"name":"train","# + json)
            let problems = try verify().problems
            #expect(problems.count == 1 && problems[0].message.contains(expected), "\(problems)")
        }
    }

    /// What the records hold cannot be told from damage then; that it was not looked at has to be said.
    @Test func recordsWithoutASchemaAreSaidToBeUnchecked() throws {
        try dataset.write(shards: [[payload]])
        let features = dataset.folder.appendingPathComponent("features.json")
        let whole = try Foundation.Data(contentsOf: features)
        for (bytes, expected) in [(0, "after 0 bytes"), (700, "after 700 bytes")] {
            try whole.prefix(bytes).write(to: features)
            let result = try verify()
            #expect(result.problems.count == 1 && result.records == 1 && result.steps == 0)
            for word in ["features.json", "end of file", expected, "only the checksums of the records are checked"] {
                #expect(result.problems[0].message.contains(word), "\(result.problems)")
            }
        }
    }

    @Test func everyProblemInsideARecordIsListed() throws {
        let steps = 3
        func entries(_ frame: [UInt8]) -> [(String, [UInt8])] {
            [
                ("steps/action", Wire.floats([.nan] + [Float](repeating: 0, count: 19) + [.infinity])),
                ("steps/observation/state", Wire.floats([Float](repeating: 0, count: 8 * (steps - 1)))),
                (
                    "steps/observation/image",
                    Wire.bytes([frame, [9, 9, 9, 9], Array(frame.dropLast(frame.count / 2))])
                ),
                ("steps/observation/wrist_image", Wire.bytes([frame, frame])),
                ("steps/language_instruction", Wire.bytes([[65], [65], [66]])),
                ("steps/is_last", Wire.integers([0, 0, 1])),
            ] + SyntheticDataset.unread(steps: steps).filter { $0.0 != "steps/reward" }
        }
        try dataset.write(shards: [[payload, Wire.example(entries(SyntheticDataset.jpeg))]])
        let result = try verify()
        let text = result.problems.map(\.message).joined(separator: "\n")
        #expect(result.problems.allSatisfy { $0.record == 1 && ($0.offset ?? 0) >= 28 + payload.count })
        for expected in [
            "feature 'steps/action' is nan at step 0, element 0, and 1 more of its values",
            "'steps/observation/state' has 16 values, expected 24 (3 steps of 8",
            "'steps/observation/wrist_image' has 2 values, expected 3",
            "'steps/observation/image', step 1 (4 bytes at offset",
            "is neither a JPEG nor a PNG", "step 2 (", "the JPEG cannot be decoded",
            "has no feature 'steps/reward', which features.json promises",
        ] { #expect(text.contains(expected), "\(expected) is not in\n\(text)") }
    }

    @Test func aLostInfoFileIsAProblemAndTheRestIsRead() throws {
        try dataset.write(shards: [[payload], [payload, payload]])
        try FileManager.default.removeItem(at: dataset.folder.appendingPathComponent("dataset_info.json"))
        let result = try verify()
        #expect(result.problems.count == 1 && result.records == 3 && result.steps == 30, "\(result.problems)")
        #expect(
            result.problems[0].message.contains(
                "1.0.0/dataset_info.json: is missing, though features.json and 2 shards are there"))
    }

    /// Training takes images of any size; a wrong one in features.json is a remark for each record and camera.
    @Test func imagesOfAnotherSizeAreRemarks() throws {
        try dataset.write(shards: [[payload, payload]])
        let features = dataset.folder.appendingPathComponent("features.json")
        let text = try String(contentsOf: features, encoding: .utf8)
        try Foundation.Data(text.replacingOccurrences(of: "\"96\"", with: "\"64\"").utf8).write(to: features)
        let result = try verify()
        #expect(result.isSound && result.images == 40, "\(result.problems)")
        #expect(result.remarks.map(\.record) == [0, 0, 1, 1], "\(result.remarks)")
        for word in ["'steps/observation/image', step 0 (", "is 96x96, not 64x64 as features.json says.", "9 more of"] {
            #expect(result.remarks[0].message.contains(word), "\(result.remarks[0].message)")
        }
    }

    @Test func nothingToLookAtIsAnError() throws {
        #expect(
            dataError { _ = try DatasetVerification(root: "/nowhere") }?.description.contains("no such folder") == true)
        #expect(
            dataError { _ = try DatasetVerification(root: folder.path("libero_10_no_noops")) }?.description.contains(
                "holds no RLDS data set") == true)
    }

    /// Opening a pipe waits for a writer unless told not to. One comes late, so that a verification that waits fails here
    /// and does not hang.
    @Test(arguments: ["features.json", "dataset_info.json", "liber_o10-train.tfrecord-00000-of-00001"])
    func pipesAreProblemsAndNotWaitedFor(_ file: String) throws {
        try dataset.write(shards: [[payload]])
        let path = dataset.folder.appendingPathComponent(file).path
        try FileManager.default.removeItem(atPath: path)
        #expect(mkfifo(path, 0o600) == 0)
        DispatchQueue.global().asyncAfter(deadline: .now() + 20) {
            let writer = open(path, O_WRONLY | O_NONBLOCK)
            if writer >= 0 { close(writer) }
        }
        let start = ContinuousClock.now
        #expect(try messages().contains("\(file): is not a regular file"))
        #expect(ContinuousClock.now - start < .seconds(15))
    }

    /// Whatever the bytes are, the survey ends and does not crash.
    @Test func hostileFilesNeverCrash() throws {
        var generator = TestGenerator(state: 5)
        let small = SyntheticDataset.example(.init(length: 2, images: [1, 2, 3]))
        for _ in 0..<60 {
            try dataset.write(shards: [[small, small]])
            try damage(shard: 0, of: 1) { bytes in
                for _ in 0..<Int.random(in: 1...8, using: &generator) {
                    let position = Int.random(in: 0..<bytes.count, using: &generator)
                    if generator.next() % 3 == 0 {
                        bytes.removeSubrange(position..<min(position + 13, bytes.count))
                    } else {
                        bytes[position] = UInt8(truncatingIfNeeded: generator.next())
                    }
                    if bytes.isEmpty { bytes.append(0) }
                }
            }
            #expect(try !verify().isSound)
        }
    }
}
