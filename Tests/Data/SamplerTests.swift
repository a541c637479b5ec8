import Data
import Formats
import Foundation
import TestSupport
import Testing

@Suite struct SamplerTests {
    private func sampler(_ change: (inout SamplingOptions) -> Void = { _ in }) throws -> DemonstrationSampler {
        let dataset = try Sample.dataset.get()
        var options = SamplingOptions(batchSize: 4, imageSize: 24, augment: true, seed: 3)
        change(&options)
        return try DemonstrationSampler(dataset, statistics: dataset.statistics(), options: options)
    }

    private func equal(_ a: DemonstrationBatch, _ b: DemonstrationBatch) -> Bool {
        a.images == b.images && a.instructions == b.instructions && a.proprio == b.proprio && a.actions == b.actions
    }

    /// A data set whose first action value is 1000 * episode + step, so that every sample is recognised.
    private func numbered(_ episodes: [(instruction: String, length: Int)]) throws -> (
        TemporaryFolder, RLDSStore
    ) {
        let folder = try TemporaryFolder()
        let examples = episodes.enumerated().map { index, episode in
            SyntheticDataset.example(
                .init(
                    instruction: episode.instruction, length: episode.length,
                    action: { step in [Float(1000 * index + step)] + [Float](repeating: 0, count: 5) + [-1] }))
        }
        let half = examples.count / 2
        try SyntheticDataset(root: folder.url, name: "d").write(shards: [
            Array(examples[..<half]), Array(examples[half...]),
        ])
        return (folder, try RLDSStore(root: folder.url.path, name: "d"))
    }

    /// Inverts the normalisation of the first action value of each sample and of each step of its chunk.
    private func numbers(_ batch: DemonstrationBatch, _ statistics: DatasetStatistics, chunk: Int = 8) -> [[Int]] {
        let actions = statistics.unnormaliseAction(batch.actions)
        return (0..<batch.count).map { sample in
            (0..<chunk).map { Int(actions[(sample * chunk + $0) * 7].rounded()) }
        }
    }

    /// Statistics under which nothing is clipped.
    private func wide(_ dataset: RLDSStore) throws -> DatasetStatistics {
        var statistics = try dataset.statistics()
        statistics.action.q01[0] = -1
        statistics.action.q99[0] = 100_000
        return statistics
    }

    @Test func shapesAndRanges() throws {
        let batch = try sampler().next()
        #expect(batch.count == 4 && batch.imageSize == 24 && batch.cameras == ["image", "wrist_image"])
        #expect(batch.images.count == 4 * 2 * 24 * 24 * 3)
        #expect(batch.instructions.count == 4)
        #expect(batch.proprio.count == 4 * 8)
        #expect(batch.actions.count == 4 * 8 * 7)
        #expect((batch.proprio + batch.actions).allSatisfy { (-1...1).contains($0) })
    }

    @Test func anEpochVisitsEverySampleOnce() throws {
        let (folder, dataset) = try numbered([("a", 9), ("b", 8), ("", 20), ("a", 7), ("b", 12)])
        defer { _ = folder }
        let statistics = try wide(dataset)
        let options = SamplingOptions(batchSize: 1, imageSize: 4, augment: false, seed: 8)
        let sampler = try DemonstrationSampler(dataset, statistics: statistics, options: options)
        // T - 7 each; the episode without an instruction and the one of 7 steps give none.
        #expect(sampler.sampleCount == 2 + 1 + 5)
        let expected = [0, 1, 1000, 4000, 4001, 4002, 4003, 4004]
        var orders: [[Int]] = []
        for _ in 0..<3 {
            var seen: [Int] = []
            for _ in 0..<8 {
                let chunk = numbers(try sampler.next(), statistics)[0]
                #expect(chunk == Array(chunk[0]..<chunk[0] + 8))
                seen.append(chunk[0])
            }
            #expect(seen.sorted() == expected)
            orders.append(seen)
        }
        #expect(Set(orders).count > 1, "epochs differ")
        #expect(sampler.cursor == DataCursor(seed: 8, epoch: 2, position: 8))
    }

    @Test func batchesOverlapEpochs() throws {
        let (folder, dataset) = try numbered([("a", 8), ("b", 9)])
        defer { _ = folder }
        let statistics = try wide(dataset)
        let options = SamplingOptions(batchSize: 7, imageSize: 4, augment: true)
        let sampler = try DemonstrationSampler(dataset, statistics: statistics, options: options)
        let firsts = numbers(try sampler.next(), statistics).map { $0[0] }
        #expect(Set(firsts[0..<3]) == [0, 1000, 1001] && Set(firsts[3..<6]) == [0, 1000, 1001])
        #expect(sampler.cursor == DataCursor(seed: 0, epoch: 2, position: 1))
    }

    @Test func resumingIsExact() throws {
        let straight = try sampler()
        for _ in 0..<3 { _ = try straight.next() }
        // Across the checkpoint's JSON, and across an epoch's end.
        for position in [straight.cursor.position, straight.sampleCount - 2] {
            straight.cursor.position = position
            let saved = try JSONEncoder().encode(straight.cursor)
            let resumed = try sampler { $0.seed = 99 }
            resumed.cursor = try JSONDecoder().decode(DataCursor.self, from: saved)
            for _ in 0..<2 { #expect(equal(try straight.next(), try resumed.next())) }
            #expect(straight.cursor == resumed.cursor)
        }
    }

    @Test func seedsAndEpochsChangeBatches() throws {
        let a = try sampler()
        let b = try sampler { $0.seed = 4 }
        #expect(!equal(try a.next(), try b.next()))
        a.cursor = DataCursor(seed: 3, epoch: 1)
        b.cursor = DataCursor(seed: 3, epoch: 1)
        #expect(equal(try a.next(), try b.next()), "the cursor's seed counts")
    }

    @Test func impossibleCursorsAreErrors() throws {
        let sampler = try sampler()
        for cursor in [
            DataCursor(seed: 0, position: 1 << 40), DataCursor(seed: 0, position: -1), DataCursor(seed: 0, epoch: -1),
        ] {
            sampler.cursor = cursor
            #expect(dataError { _ = try sampler.next() }?.description.contains("does not fit") == true)
        }
    }

    @Test func augmentationChangesImagesOnly() throws {
        let plain = try sampler { $0.augment = false }.next()
        let reference = try sampler().next()
        #expect(plain.actions == reference.actions && plain.proprio == reference.proprio)
        #expect(plain.images != reference.images)
        // Two cameras of one sample, swapped, are augmented by place.
        let swapped = try sampler {
            $0.augment = false
            $0.cameras = ["wrist_image", "image"]
        }.next()
        let side = 24 * 24 * 3
        #expect(Array(plain.images[0..<side]) == Array(swapped.images[side..<2 * side]))
    }

    @Test func fewShotKeepsTheFirstEpisodesOfEachInstruction() throws {
        let (folder, dataset) = try numbered([("a", 9), ("b", 9), ("a", 9), ("a", 9), ("b", 9), ("c", 9)])
        defer { _ = folder }
        func episodes(shots: Int?, holdOutEvery: Int = 0) throws -> (training: [Int], held: [Int]) {
            let options = SamplingOptions(batchSize: 1, imageSize: 4, holdOutEvery: holdOutEvery, shots: shots)
            let sampler = try DemonstrationSampler(dataset, statistics: dataset.statistics(), options: options)
            return (sampler.trainingEpisodes, sampler.heldOutEpisodes)
        }
        #expect(try episodes(shots: nil).training == [0, 1, 2, 3, 4, 5])
        #expect(try episodes(shots: 1).training == [0, 1, 5])
        #expect(try episodes(shots: 2).training == [0, 1, 2, 4, 5])
        #expect(try episodes(shots: 1, holdOutEvery: 3) == ([0, 1], [2, 5]))
        #expect(try episodes(shots: nil, holdOutEvery: 2) == ([0, 2, 4], [1, 3, 5]))
    }

    @Test func heldOutBatchesAreDisjointSpacedAndFixed() throws {
        let (folder, dataset) = try numbered([("a", 17), ("b", 17), ("c", 17), ("d", 17)])
        defer { _ = folder }
        let statistics = try wide(dataset)
        let options = SamplingOptions(batchSize: 3, imageSize: 4, augment: true, holdOutEvery: 2)
        let sampler = try DemonstrationSampler(dataset, statistics: statistics, options: options)
        let held = try sampler.heldOutBatches(maximumSamples: 5)
        #expect(held.map(\.count) == [3, 2])
        #expect(held.flatMap { numbers($0, statistics).map { $0[0] } } == [1000, 1004, 1008, 3002, 3006])
        var trained: Set<Int> = []
        for _ in 0..<7 { trained.formUnion(numbers(try sampler.next(), statistics).joined()) }
        #expect(trained.allSatisfy { $0 < 1000 || (2000..<3000).contains($0) })
        let again = try sampler.heldOutBatches(maximumSamples: 5)
        #expect(zip(held, again).allSatisfy { equal($0, $1) })
        #expect(try sampler.heldOutBatches(maximumSamples: 1000).reduce(0) { $0 + $1.count } == 20)
        #expect(try sampler.heldOutBatches(maximumSamples: 0).isEmpty)
        #expect(try self.sampler().heldOutBatches(maximumSamples: 5).isEmpty)
    }

    @Test func wrongOptionsAreNamed() throws {
        func message(_ change: (inout SamplingOptions) -> Void) -> String {
            dataError { _ = try sampler(change) }?.description ?? "no error"
        }
        #expect(message { $0.batchSize = 0 }.contains("batchSize is 0, expected 1 to 65536"))
        #expect(message { $0.imageSize = -3 }.contains("imageSize is -3"))
        #expect(message { $0.shots = 0 }.contains("shots is 0, expected 1 or more"))
        #expect(message { $0.holdOutEvery = -1 }.contains("holdOutEvery is -1"))
        #expect(message { $0.cameras = [] }.contains("no camera is named"))
        #expect(message { $0.cameras = ["left"] }.contains("has no camera 'left'; it has: image, wrist_image"))
        #expect(message { $0.chunk = 5000 }.contains("gives no samples"))
        #expect(message { $0.holdOutEvery = 1 }.contains("gives no samples"))
    }
}
