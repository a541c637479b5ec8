import Data
import Formats
import Foundation
import TestSupport
import Testing

@Suite struct DatasetTests {
    struct Expected: Decodable {
        struct Episode: Decodable {
            var source: String, length: Int, instruction: String
            var actionFirst: [Float], actionSum: [Double], stateLast: [Float], stateSum: [Double]
            var imageFirstSum: [Int], wristLastSum: [Int], imageFirstPixel: [UInt8]
        }
        var episodes: [Episode]
        var transitions: Int
        var action: FeatureStatistics
        var proprio: FeatureStatistics
    }

    private func sums(_ values: some Sequence<Float>, width: Int) -> [Double] {
        values.enumerated().reduce(into: [Double](repeating: 0, count: width)) {
            $0[$1.offset % width] += Double($1.element)
        }
    }

    private func sums(_ image: RGBImage) -> [Int] {
        image.pixels.enumerated().reduce(into: [0, 0, 0]) { $0[$1.offset % 3] += Int($1.element) }
    }

    private func close(_ a: [Double], _ b: [Double], _ tolerance: Double) -> Bool {
        a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) <= tolerance * max(1, abs($1)) }
    }

    /// What TensorFlow reads from the same files (scripts/reference/rlds_reference.py).
    @Test func readsWhatTensorFlowReads() throws {
        let expected: Expected = try fixture("libero-sample.json")
        let dataset = try Sample.dataset.get()
        #expect(dataset.name == Sample.name)
        #expect(dataset.episodes.count == expected.episodes.count)
        #expect(dataset.transitionCount == expected.transitions)
        #expect(dataset.cameras.map(\.name) == ["image", "wrist_image"])
        #expect(dataset.cameras.allSatisfy { $0.width == 96 && $0.height == 96 })
        for (index, (episode, wanted)) in zip(dataset.episodes, expected.episodes).enumerated() {
            #expect(episode.source == wanted.source)
            #expect(episode.length == wanted.length)
            #expect(episode.instruction == wanted.instruction)
            #expect(Array(episode.actions.prefix(6)) == Array(wanted.actionFirst.prefix(6)))
            #expect(Array(episode.proprio.suffix(8)) == wanted.stateLast)
            let actionSums = sums(episode.actions, width: 7)
            #expect(close(Array(actionSums.prefix(6)), Array(wanted.actionSum.prefix(6)), 1e-9))
            // Stored as -1 open / +1 closed, so open steps = (T - sum) / 2; here open is 1.
            #expect(actionSums[6] == (Double(wanted.length) - wanted.actionSum[6]) / 2)
            #expect(close(sums(episode.proprio, width: 8), wanted.stateSum, 1e-9))
            let first = try #require(try dataset.image(episode: index, step: 0, camera: 0))
            #expect(sums(first) == wanted.imageFirstSum)
            #expect(Array(first.pixels[(30 * 96 + 50) * 3..<(30 * 96 + 50) * 3 + 3]) == wanted.imageFirstPixel)
            let last = try #require(try dataset.image(episode: index, step: episode.length - 1, camera: 1))
            #expect(sums(last) == wanted.wristLastSum)
        }
    }

    @Test func statisticsMatchNumpy() throws {
        let expected: Expected = try fixture("libero-sample.json")
        let statistics = try Sample.dataset.get().statistics()
        #expect(statistics.transitionCount == expected.transitions)
        #expect(statistics.trajectoryCount == 12)
        #expect(statistics.action.mask == [true, true, true, true, true, true, false])
        #expect(statistics.proprio.mask == nil)
        for (found, wanted) in [(statistics.action, expected.action), (statistics.proprio, expected.proprio)] {
            for key in [\FeatureStatistics.mean, \.std, \.min, \.max, \.q01, \.q99] {
                #expect(found[keyPath: key] == wanted[keyPath: key])
            }
        }
    }

    @Test func gripperIsOneWhenOpen() throws {
        let folder = try TemporaryFolder()
        let stored: [Float] = [-1, 1, -1, 1, 0.25]
        let dataset = try SyntheticDataset(root: folder.url, name: "d")
        try dataset.write(shards: [
            [SyntheticDataset.example(.init(length: 5, action: { [0, 0, 0, 0, 0, 0, stored[$0]] }))]
        ])
        let opened = try RLDSStore(root: folder.url.path, name: "d")
        #expect(stride(from: 6, to: 35, by: 7).map { opened.episodes[0].actions[$0] } == [1, 0, 1, 0, 0.75])
    }

    // MARK: - Finding

    @Test func findsEveryLayout() throws {
        let folder = try TemporaryFolder()
        let name = "libero_10_no_noops"
        let example = SyntheticDataset.example(.init())
        for version in ["0.1.0", "0.9.0", "0.10.0"] {
            try SyntheticDataset(root: folder.url, name: name, version: version).write(shards: [[example]])
        }
        let nested = folder.url.appendingPathComponent("mirror/modified_libero_rlds")
        try SyntheticDataset(root: nested, name: name).write(shards: [[example], [example]])
        let root = folder.url.path
        func version(_ root: String, _ name: String) throws -> String {
            let dataset = try RLDSStore(root: root, name: name)
            #expect(dataset.name == name)
            return URL(fileURLWithPath: dataset.path).lastPathComponent
        }
        #expect(try version(root, name) == "0.10.0")
        #expect(try version("\(root)/\(name)", name) == "0.10.0")
        #expect(try version("\(root)/\(name)/0.1.0", name) == "0.1.0")
        #expect(try version("\(root)/\(name)/0.1.0/", name) == "0.1.0")
        #expect(try version("\(root)/\(name)/0.9.0", "liber_o10") == "0.9.0")
        #expect(try version("\(root)/mirror", name) == "1.0.0")
        #expect(try RLDSStore(root: "\(root)/mirror", name: name).episodes.count == 2)
    }

    @Test func missingDatasetsSayWhatIsThere() throws {
        func message(_ root: String, _ name: String) -> String {
            dataError { _ = try RLDSStore(root: root, name: name) }?.description ?? "no error"
        }
        let close = message(Sample.root, "libero_spatial_no_noop")
        #expect(close.contains("Did you mean 'libero_spatial_no_noops'? Present: libero_spatial_no_noops."))
        #expect(message("/nowhere", "x").contains("/nowhere: there is no such folder"))
        #expect(message(BuildFolder.repository.path, "x").contains("holds no RLDS data set"))
        #expect(
            message("\(Sample.root)/\(Sample.name)", "x").contains(
                "holds the data set 'libero_spatial_no_noops', not 'x'"))
        #expect(message("\(Sample.root)/\(Sample.name)/1.0.0", "x").contains("Ask for 'libero_spatial_no_noops'"))
    }

    // MARK: - Descriptions that do not fit

    @Test func wrongDescriptionsAreNamed() throws {
        let folder = try TemporaryFolder()
        let dataset = try SyntheticDataset(root: folder.url, name: "d")
        let example = SyntheticDataset.example(.init())
        let features = dataset.folder.appendingPathComponent("features.json")
        let original = try String(contentsOf: features, encoding: .utf8)
        func message() -> String {
            dataError { _ = try RLDSStore(root: folder.url.path, name: "d") }?.description ?? "no error"
        }
        func message(features change: (String) -> String) throws -> String {
            try dataset.write(shards: [[example]])
            try change(original).write(to: features, atomically: true, encoding: .utf8)
            defer { try? original.write(to: features, atomically: true, encoding: .utf8) }
            return message()
        }
        #expect(try message { $0 } == "no error")
        #expect(
            try message { $0.replacingOccurrences(of: "\"8\"", with: "\"9\"") }
                .contains("feature 'steps/observation/state' has 80 values, expected 90 (10 steps of 9)"))
        #expect(
            try message { $0.replacingOccurrences(of: "\"8\"", with: "\"-1\"") }
                .contains("'steps/observation/state' is float32[-1]: how many numbers a step has must be known"))
        #expect(
            try message { $0.replacingOccurrences(of: "\"action\"", with: "\"actions\"") }
                .contains("has no feature 'steps/action'"))
        #expect(try message { $0.replacingOccurrences(of: "\"96\"", with: "\"-96\"") } == "no error")
        #expect(
            try message { $0.replacingOccurrences(of: "uint8", with: "float32") }.contains(
                "has no colour image (Image, uint8) under steps/observation"))
        #expect(try message { String($0.dropLast(40)) }.contains("features.json: is not a TFDS features.json"))
        #expect(try message { _ in "[]" }.contains("is not a"))

        func message(info: String) throws -> String {
            try dataset.write(shards: [[example]])
            try dataset.replaceInfo(info)
            return message()
        }
        #expect(try message(info: "{}").contains("has no \"name\""))
        #expect(try message(info: #"{"name":"d","splits":[]}"#).contains("has no split 'train'; it lists: none"))
        #expect(try message(info: #"{"name":"d","splits":[{"name":"train"}]}"#).contains("needs shardLengths"))
        #expect(
            try message(info: #"{"name":"d","splits":[{"name":"train","shardLengths":["-1"]}]}"#).contains(
                "needs shardLengths"))
        #expect(
            try message(info: #"{"name":"d","fileFormat":"riegeli","splits":[]}"#).contains("fileFormat is 'riegeli'"))
        #expect(
            try message(info: #"{"name":"d","splits":[{"name":"train","shardLengths":[1, 1]}]}"#)
                .contains("d-train.tfrecord-00000-of-00002: could not open the file"))
        try dataset.write(shards: [[example]], lengths: [3])
        #expect(message().contains("liber_o10-train.tfrecord-00000-of-00001: holds 1 records, expected 3"))
    }

    @Test func wrongImagesNameTheFrame() throws {
        let folder = try TemporaryFolder()
        let dataset = try SyntheticDataset(root: folder.url, name: "d")
        try dataset.write(shards: [
            [SyntheticDataset.example(.init(length: 8, images: Array(SyntheticDataset.jpeg.dropLast(700))))]
        ])
        let opened = try RLDSStore(root: folder.url.path, name: "d")
        let sampler = try DemonstrationSampler(
            opened, statistics: opened.statistics(), options: SamplingOptions(batchSize: 1, imageSize: 16))
        let message = dataError { _ = try sampler.next() }?.description ?? ""
        #expect(
            message.contains("record 0, step 0, camera 'image' (\(SyntheticDataset.jpeg.count - 700) bytes at offset "))
        #expect(message.contains("the JPEG cannot be decoded: the file ends in row"))
        #expect(sampler.cursor == DataCursor(seed: 0), "a failed batch was not given out")
    }
}
