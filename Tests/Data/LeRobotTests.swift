import Data
import Formats
import Foundation
import TestSupport
import Testing

/// Data sets that LeRobot 0.3.3 (v2.1) and 0.4.4 (v3.0) wrote, against what their readers gave of them.
@Suite struct LeRobotTests {
    struct Reference: Decodable {
        struct Step: Decodable {
            var episode: Int
            var step: Int
            var task: String
            var action: [Float]
            var state: [Float]
        }

        var steps: [Step]
        var stats: [String: [String: [Double]]]
        var episodes: [Int]
    }

    static let sets = ["v21-image", "v21-video", "v3-image", "v3-video"]
    /// Videos are read where FFmpeg's libraries are.
    static let readable = VideoFrames.refusal == nil ? sets : sets.filter { $0.hasSuffix("image") }
    static let root = BuildFolder.fixture("lerobot").path

    private static func reference(_ name: String) throws -> Reference {
        try JSONDecoder().decode(
            Reference.self, from: Foundation.Data(contentsOf: URL(fileURLWithPath: "\(root)/\(name).json")))
    }

    @Test(arguments: readable) func episodesAreLeRobots(_ name: String) throws {
        let reference = try Self.reference(name)
        let store = try Demonstrations.open(root: "\(Self.root)/\(name)")
        #expect(store.name == name && store.files.version == (name.hasPrefix("v21") ? "v2.1" : "v3.0"))
        #expect(store.embodiment == Embodiment(actionWidth: 6, stateWidth: 6) && store.embodiment.gripper == .asStored)
        #expect(store.cameras == ["top", "wrist"].map { Camera(name: $0, height: 64, width: 64) })
        #expect(store.episodes.map(\.length) == reference.episodes)
        for (index, episode) in store.episodes.enumerated() {
            let steps = reference.steps.filter { $0.episode == index }
            #expect(episode.actions == steps.flatMap(\.action))
            #expect(episode.proprio == steps.flatMap(\.state))
            #expect((0..<episode.length).map(episode.instruction(at:)) == steps.map(\.task))
        }
        #expect(
            try Demonstrations.instructions(root: "\(Self.root)/\(name)", name: nil) == [
                "push the red block", "open the drawer",
            ])
        let outline = Demonstrations.outline(root: "\(Self.root)/\(name)", name: nil)
        #expect(outline?.embodiment == store.embodiment && outline?.cameras == store.cameras)
    }

    /// Pictures are lossless and must be equal; decoded videos are converted to RGB by another version of FFmpeg's scaler.
    @Test(arguments: readable) func framesAreLeRobots(_ name: String) throws {
        let store = try Demonstrations.open(root: "\(Self.root)/\(name)")
        let sheet = try RGBImage(
            decoding: [UInt8](Foundation.Data(contentsOf: URL(fileURLWithPath: "\(Self.root)/\(name).png"))))
        var (row, largest) = (0, 0)
        for (index, episode) in store.episodes.enumerated() {
            for step in 0..<episode.length {
                for camera in store.cameras.indices {
                    let image = try #require(try store.image(episode: index, step: step, camera: camera))
                    #expect(image.height == 64 && image.width == 64)
                    for y in 0..<16 {
                        for x in 0..<16 * 3 {
                            let got = image.pixels[(4 * y * 64 + x / 3 * 4) * 3 + x % 3]
                            let want = sheet.pixels[((16 * row + y) * 32 + 16 * camera) * 3 + x]
                            largest = max(largest, abs(Int(got) - Int(want)))
                        }
                    }
                }
                row += 1
            }
        }
        #expect(row == 12)
        #expect(largest <= (name.hasSuffix("image") ? 0 : 1), "the largest difference is \(largest)")
    }

    /// Frames in any order are those in stored order: decoders that are kept open seek.
    @Test(.enabled(if: VideoFrames.refusal == nil)) func framesDoNotDependOnTheirOrder() throws {
        let store = try Demonstrations.open(root: "\(Self.root)/v3-video")
        let places = store.episodes.enumerated().flatMap { index, episode in (0..<episode.length).map { (index, $0) } }
        let ordered = try places.map { try store.image(episode: $0.0, step: $0.1, camera: 0) }
        #expect(Set(ordered.map { $0?.pixels }).count == places.count, "no two frames are alike")
        var generator = TestGenerator(state: 5)
        for _ in 0..<5 {
            for place in places.indices.shuffled(using: &generator) {
                let image = try store.image(episode: places[place].0, step: places[place].1, camera: 0)
                #expect(image == ordered[place])
            }
        }
    }

    /// A video whose rows do not fill vectors, with frames that are decoded after the key frame they are shown before.
    @Test(.enabled(if: VideoFrames.refusal == nil)) func anyFrameOfAVideoIsFound() throws {
        let sheet = try RGBImage(
            decoding: [UInt8](Foundation.Data(contentsOf: URL(fileURLWithPath: "\(Self.root)/seek.png"))))
        #expect(sheet.width == 66 && sheet.height == 250)
        let frames = VideoFrames()
        var generator = TestGenerator(state: 3)
        for frame in (0..<25) + (0..<100).map({ _ in Int.random(in: 0..<25, using: &generator) }) {
            let image = try frames.image("\(Self.root)/seek.mp4", at: Double(frame) / 20, tolerance: 0.001)
            let rows = stride(from: 0, to: 50, by: 5).flatMap { image.pixels[$0 * 198..<($0 + 1) * 198] }
            let want = sheet.pixels[frame * 1980..<(frame + 1) * 1980]
            #expect(zip(rows, want).allSatisfy { abs(Int($0) - Int($1)) <= 1 }, "frame \(frame)")
        }
        let late = dataError { _ = try frames.image("\(Self.root)/seek.mp4", at: 1.26, tolerance: 0.001) }
        #expect(late?.code == .mismatched)
    }

    @Test(arguments: readable) func statisticsAreLeRobots(_ name: String) throws {
        let reference = try Self.reference(name)
        let statistics = try Demonstrations.open(root: "\(Self.root)/\(name)").statistics()
        #expect(statistics.transitionCount == 12 && statistics.trajectoryCount == 3)
        for (key, found) in [("action", statistics.action), ("observation.state", statistics.proprio)] {
            let want = try #require(reference.stats[key])
            for (field, values) in [("min", found.min), ("max", found.max), ("mean", found.mean), ("std", found.std)] {
                let expected = try #require(want[field])
                #expect(
                    values.count == 6 && zip(values, expected).allSatisfy { abs($0 - $1) < 2e-6 },
                    "\(key).\(field): \(values), LeRobot's \(expected)")
            }
        }
    }

    @Test(arguments: readable) func isSoundAndGivesBatches(_ name: String) throws {
        let verification = try DatasetVerification(root: "\(Self.root)/\(name)")
        #expect(verification.isSound && verification.remarks.isEmpty, "\(verification.problems)")
        #expect(verification.records == 3 && verification.steps == 12 && verification.images == 24)
        let store = try Demonstrations.open(root: "\(Self.root)/\(name)")
        let sampler = try DemonstrationSampler(
            store, statistics: try store.statistics(),
            options: SamplingOptions(
                batchSize: 4, imageSize: 32, cameras: ["observation.images.wrist", "top"], chunk: 2))
        let batch = try sampler.next()
        #expect(batch.images.count == 4 * 2 * 32 * 32 * 3 && batch.actions.count == 4 * 2 * 6)
        #expect(batch.actions.allSatisfy { abs($0) <= 1 })
    }

    // MARK: - Where sets lie

    private func copy(_ name: String, to path: String) throws {
        let url = URL(fileURLWithPath: path)
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try FileManager.default.copyItem(atPath: "\(Self.root)/\(name)", toPath: path)
    }

    @Test func isFoundBelowItsCache() throws {
        let folder = try TemporaryFolder()
        try copy("v3-image", to: folder.path("owner/blocks"))
        #expect(try Demonstrations.open(root: folder.url.path).name == "owner/blocks")
        #expect(try Demonstrations.open(root: folder.url.path, name: "owner/blocks").episodes.count == 3)
        for name in ["blocks", "owner/blocks", nil] {
            #expect(try Demonstrations.open(root: folder.path("owner/blocks"), name: name).episodes.count == 3)
        }
        #expect(
            message { _ = try Demonstrations.open(root: folder.path("owner/blocks"), name: "other") }
                .contains("is the LeRobot data set 'blocks', not 'other'"))
        try copy("v21-image", to: folder.path("drawers"))
        #expect(
            message { _ = try Demonstrations.open(root: folder.url.path) }
                .contains("holds 2 LeRobot data sets: drawers, owner/blocks. Choose one"))
        #expect(try Demonstrations.files(root: folder.path("drawers"), name: nil).count == 7)
    }

    // MARK: - What is wrong

    private func message(_ body: () throws -> Void) -> String { dataError(body)?.description ?? "no error" }

    /// Each: what is done to a copy of a set, and what the sentence says, the file first.
    @Test(
        arguments: [
            (
                "v21-image", "data/chunk-000/episode_000001.parquet", nil,
                "episode_000001.parquet: could not open the file: there is no such file"
            ),
            (
                "v3-image", "data/chunk-000/file-000.parquet", nil,
                "file-000.parquet: could not open the file: there is no such file"
            ),
            (
                "v3-image", "meta/tasks.parquet", nil,
                "meta/tasks.parquet: could not open the file: there is no such file"
            ),
            ("v3-image", "meta/episodes", nil, "meta/episodes: holds no Parquet file"),
            ("v21-image", "meta/tasks.jsonl", nil, "meta/tasks.jsonl: could not open the file: there is no such file"),
            (
                "v21-image", "meta/tasks.jsonl", #"{"task_index": 0, "task": "a"}"#,
                "is of task 1, which the tasks in meta do not list"
            ),
            (
                "v21-image", "meta/episodes.jsonl", "{\"episode_index\": 0}\n",
                "episodes.jsonl: line 1: the top level has no \"length\""
            ),
            (
                "v21-image", "meta/episodes.jsonl", #"{"episode_index": 1, "length": 9}"#,
                "holds 4 rows of episode 1, but meta says it has 9 steps"
            ),
            ("v21-image", "meta/info.json", "{", "meta/info.json: is not the info.json of a LeRobot data set"),
            ("v21-video", "videos/chunk-000/observation.images.top/episode_000002.mp4", nil, "there is no such video"),
        ] as [(String, String, String?, String)])
    func damageIsNamed(_ name: String, _ file: String, _ text: String?, _ sentence: String) throws {
        guard Self.readable.contains(name) else { return }
        let folder = try TemporaryFolder()
        try copy(name, to: folder.path("set"))
        let path = folder.path("set/\(file)")
        try FileManager.default.removeItem(atPath: path)
        if let text { try Foundation.Data(text.utf8).write(to: URL(fileURLWithPath: path)) }
        let found = message { _ = try Demonstrations.open(root: folder.path("set")) }
        #expect(found.contains(sentence) && found.contains(folder.path("set")), "\(found)")
        let verification = try DatasetVerification(root: folder.path("set"))
        #expect(!verification.isSound)
    }

    /// Each: a change of meta/info.json, and what the sentence says.
    @Test(arguments: [
        (
            #""codebase_version": "v2.1""#, #""codebase_version": "v1.6""#,
            "codebase_version is 'v1.6'; craft reads v2.0, v2.1 and v3.0"
        ),
        (#""dtype": "image""#, #""dtype": "sound""#, "has no camera (a feature whose dtype is image or video)"),
        (#""action": {"#, #""motion": {"#, "has no feature 'action'; it has: "),
        (#""fps": 10"#, #""fps": 0"#, "fps is 0.0; expected a number above 0"),
        (
            "{episode_chunk:03d}", "{episode_part:03d}",
            "has the field 'episode_part'; expected: episode_chunk, episode_index"
        ),
        (#""dtype": "float32""#, #""dtype": "string""#, "feature 'action' is string of shape [6]; expected numbers"),
    ])
    func aWrongDescriptionIsNamed(_ before: String, _ after: String, _ sentence: String) throws {
        let folder = try TemporaryFolder()
        try copy("v21-image", to: folder.path("set"))
        let path = folder.path("set/meta/info.json")
        let text = try String(contentsOfFile: path, encoding: .utf8)
        #expect(text.contains(before))
        try text.replacingOccurrences(of: before, with: after).write(toFile: path, atomically: true, encoding: .utf8)
        let found = message { _ = try Demonstrations.open(root: folder.path("set")) }
        #expect(found.contains("meta/info.json") && found.contains(sentence), "\(found)")
    }

    @Test func setsOfVersion1AreNamed() throws {
        let folder = try TemporaryFolder()
        try FileManager.default.createDirectory(atPath: folder.path("set/meta_data"), withIntermediateDirectories: true)
        try #"{"codebase_version": "v1.6", "fps": 10}"#.write(
            toFile: folder.path("set/meta_data/info.json"), atomically: true, encoding: .utf8)
        let found = dataError { _ = try Demonstrations.open(root: folder.path("set")) }
        #expect(found?.code == .unsupported)
        let sentence = found?.description ?? ""
        #expect(sentence.contains("meta_data/info.json: codebase_version is 'v1.6'"), "\(sentence)")
    }

    /// A video that ends too early has no frame where the last steps were.
    @Test(.enabled(if: VideoFrames.refusal == nil)) func aVideoOfAnotherEpisodeIsNamed() throws {
        let folder = try TemporaryFolder()
        try copy("v21-video", to: folder.path("set"))
        let videos = folder.path("set/videos/chunk-000/observation.images.top")
        try FileManager.default.removeItem(atPath: "\(videos)/episode_000002.mp4")
        try FileManager.default.copyItem(atPath: "\(videos)/episode_000000.mp4", toPath: "\(videos)/episode_000002.mp4")
        let verification = try DatasetVerification(root: folder.path("set"))
        #expect(verification.problems.count == 1 && verification.problems[0].record == 2)
        let sentence = verification.problems.first?.message ?? ""
        #expect(sentence.contains("episode 2, step 3: ") && sentence.contains("has no frame at 0.3"), "\(sentence)")
    }
}
