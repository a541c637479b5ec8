import Data
import Formats
import Foundation
import TestSupport
import Testing

/// Records under every description against what tfds reads from them; scripts/reference/tfds_features.py made both.
@Suite struct FieldDataTests {
    struct Case: Decodable, Sendable, CustomTestStringConvertible {
        var name: String
        var features: String
        var record: Foundation.Data
        var actions: [Float]
        var states: [Float]
        var instructions: [String]
        var imageSums: [String: [Int]]

        var testDescription: String { name }
    }

    static let cases = (try? fixture("tfds-features.json", as: [Case].self)) ?? []

    @Test func thereAreCases() { #expect(Self.cases.count >= 26) }

    @Test(arguments: cases) func isReadAsTFDSReadsIt(_ item: Case) throws {
        let folder = try TemporaryFolder()
        let dataset = try SyntheticDataset(root: folder.url, name: "d")
        try dataset.write(shards: [[[UInt8](item.record)]])
        try item.features.write(
            to: dataset.folder.appendingPathComponent("features.json"), atomically: true, encoding: .utf8)
        let verification = try DatasetVerification(root: folder.url.path)
        #expect(verification.isSound, "\(verification.problems)")
        let opened = try RLDSStore(root: folder.url.path)
        let episode = opened.episodes[0]
        let width = opened.embodiment.actionWidth
        #expect(episode.length == item.instructions.count && width * episode.length == item.actions.count)
        // LIBERO's gripper is turned into 1 open, 0 closed; other embodiments are taken as they are.
        let expected = item.actions.enumerated().map { index, value in
            width == 7 && index % width == 6 ? 1 - min(max(value, 0), 1) : value
        }
        #expect(episode.actions == expected)
        #expect(episode.proprio == item.states)
        #expect((0..<episode.length).map(episode.instruction(at:)) == item.instructions)
        #expect(opened.cameras.map(\.name) == item.imageSums.keys.sorted())
        for (name, sums) in item.imageSums {
            let image = try #require(try opened.image(episode: 0, step: 0, camera: opened.camera(named: name)))
            #expect(
                (0..<3).map { c in
                    stride(from: c, to: image.pixels.count, by: 3).reduce(0) { $0 + Int(image.pixels[$1]) }
                } == sums)
        }
    }

    /// VLA-Adapter's padding image: black, whatever the augmentation.
    @Test func framesThatWereNotTakenAreBlack() throws {
        let folder = try TemporaryFolder()
        let dataset = try SyntheticDataset(root: folder.url, name: "d")
        try dataset.write(shards: [[SyntheticDataset.example(.init(images: []))]])
        #expect(try DatasetVerification(root: folder.url.path).isSound)
        let opened = try RLDSStore(root: folder.url.path)
        let sampler = try DemonstrationSampler(
            opened, statistics: opened.statistics(),
            options: SamplingOptions(batchSize: 2, imageSize: 24, augment: true))
        let batch = try sampler.next()
        #expect(batch.images == [UInt8](repeating: 0, count: 2 * 2 * 24 * 24 * 3))
    }

    @Test func imagesOfAKindThatIsNotReadAreRefusedBeforeTheFirstBatch() throws {
        let folder = try TemporaryFolder()
        let dataset = try SyntheticDataset(root: folder.url, name: "d")
        // The second frame of the record, of the camera that is asked for alone.
        let steps = 9
        let gif = Array("GIF89a".utf8) + [UInt8](repeating: 0, count: 20)
        let frames = (0..<steps).map { $0 == 1 ? gif : SyntheticDataset.jpeg }
        let example = Wire.example(
            [
                ("steps/action", Wire.floats([Float](repeating: 0.5, count: 7 * steps))),
                ("steps/observation/state", Wire.floats([Float](repeating: 0.5, count: 8 * steps))),
                ("steps/observation/image", Wire.bytes((0..<steps).map { _ in SyntheticDataset.jpeg })),
                ("steps/observation/wrist_image", Wire.bytes(frames)),
                ("steps/language_instruction", Wire.bytes((0..<steps).map { _ in Array("go".utf8) })),
                ("steps/is_last", Wire.integers((0..<steps).map { $0 == steps - 1 ? 1 : 0 })),
            ] + SyntheticDataset.unread(steps: steps))
        try dataset.write(shards: [[example]])
        let opened = try RLDSStore(root: folder.url.path)
        func sampler(_ cameras: [String]) throws -> DemonstrationSampler {
            try DemonstrationSampler(
                opened, statistics: opened.statistics(),
                options: SamplingOptions(batchSize: 1, imageSize: 16, cameras: cameras))
        }
        #expect(try sampler(["image"]).next().count == 1, "a camera that is not asked for may hold anything")
        let message = dataError { _ = try sampler(["image", "wrist_image"]) }?.description ?? ""
        #expect(
            message.contains("record 0, step 1, camera 'wrist_image'") && message.contains("is a GIF file"),
            "\(message)")
    }

    /// tfds' split "all": in the order of dataset_info.json.
    @Test func statisticsAreThoseOfAllSplits() throws {
        func episode(_ offset: Float) -> [UInt8] {
            SyntheticDataset.example(
                .init(
                    action: { step in (0..<6).map { offset + Float(step * ($0 + 1)) * 0.1 } + [1] },
                    state: { step in (0..<8).map { offset - Float(step * $0) * 0.3 } }))
        }
        let records = [episode(0), episode(2), episode(-7), episode(0.3)]
        let folder = try TemporaryFolder()
        let one = try SyntheticDataset(root: folder.url.appendingPathComponent("one"), name: "d")
        try one.write(shards: [records])
        let two = try SyntheticDataset(root: folder.url.appendingPathComponent("two"), name: "d")
        try two.write(shards: [Array(records.prefix(3))])
        let val = two.folder.appendingPathComponent("liber_o10-val.tfrecord-00000-of-00001")
        try Foundation.Data(Wire.record(records[3])).write(to: val)
        try two.replaceInfo(
            #"{"name":"liber_o10","splits":[{"name":"train","shardLengths":["3"]},{"name":"val","shardLengths":["1"]}]}"#
        )
        let whole = try RLDSStore(root: folder.path("one"))
        let split = try RLDSStore(root: folder.path("two"))
        #expect(split.episodes.count == 3)
        #expect(try split.statistics() == whole.statistics())
        #expect(try split.statistics().trajectoryCount == 4)
        #expect(try DatasetVerification(root: folder.path("two")).isSound)

        try FileManager.default.removeItem(at: val)
        let message =
            dataError { _ = try RLDSStore(root: folder.path("two")).statistics() }?.description ?? ""
        #expect(message.contains("val.tfrecord-00000-of-00001") && message.contains("over all splits"), "\(message)")
        #expect(try !DatasetVerification(root: folder.path("two")).isSound)
    }

    /// 6 numbers of an arm without a gripper: everything is normalised and nothing is turned round.
    @Test func widthsComeFromTheData() throws {
        let joints = Embodiment(actionWidth: 6, stateWidth: 6)
        #expect(joints.actionMask == [Bool](repeating: true, count: 6) && joints.gripper == .asStored)
        #expect(Embodiment.libero.actionMask == [true, true, true, true, true, true, false])
        #expect(Embodiment(actionWidth: 14, stateWidth: 14).range == .extremes)
        var predicted: [Float] = [0, 0, 0, 0, 0, 0, 0.9, 0, 0, 0, 0, 0, 0, 0.1]
        Embodiment.libero.executed(&predicted)
        #expect(predicted[6] == -1 && predicted[13] == 1)
        var stored: [Float] = [1, 1, 1, 1, 1, 1]
        joints.executed(&stored)
        #expect(stored == [1, 1, 1, 1, 1, 1])
    }

    @Test func extremesAreWhatALOHAIsNormalisedBy() throws {
        let item = try #require(Self.cases.first { $0.name == "aloha" })
        let folder = try TemporaryFolder()
        let dataset = try SyntheticDataset(root: folder.url, name: "d")
        try dataset.write(shards: [[[UInt8](item.record)]])
        try item.features.write(
            to: dataset.folder.appendingPathComponent("features.json"), atomically: true, encoding: .utf8)
        let statistics = try RLDSStore(root: folder.url.path).statistics()
        let normalised = statistics.normaliseAction(item.actions)
        for joint in 0..<14 {
            let column = stride(from: joint, to: item.actions.count, by: 14).map { Double(item.actions[$0]) }
            let (low, high) = (column.min() ?? 0, column.max() ?? 0)
            for (step, value) in column.enumerated() {
                let expected = min(max(2 * (value - low) / (high - low + 1e-8) - 1, -1), 1)
                #expect(abs(Double(normalised[step * 14 + joint]) - expected) < 1e-6)
            }
        }
    }
}
