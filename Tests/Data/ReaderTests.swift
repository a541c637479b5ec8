import Data
import Formats
import Foundation
import TestSupport
import Testing

/// Reading ahead, mixtures and few-shot selections.
@Suite struct ReaderTests {
    private func equal(_ a: DemonstrationBatch, _ b: DemonstrationBatch) -> Bool {
        a.images == b.images && a.instructions == b.instructions && a.proprio == b.proprio && a.actions == b.actions
    }

    private func options(batch: Int = 4, seed: UInt64 = 3) -> SamplingOptions {
        SamplingOptions(batchSize: batch, imageSize: 24, augment: true, seed: seed)
    }

    private func sampler(seed: UInt64 = 3) throws -> DemonstrationSampler {
        let dataset = try Sample.dataset.get()
        return try DemonstrationSampler(dataset, statistics: dataset.statistics(), options: options(seed: seed))
    }

    /// Data sets `d0`, `d1`, ... of one long episode each, told apart by their instruction.
    private func parts(lengths: [Int], weights: [Double?]) throws -> (TemporaryFolder, [MixturePart]) {
        let folder = try TemporaryFolder()
        let parts = try zip(lengths, weights).enumerated().map { index, pair in
            let episode = SyntheticDataset.Episode(instruction: "task \(index)", length: pair.0)
            try SyntheticDataset(root: folder.url, name: "d\(index)").write(shards: [
                [SyntheticDataset.example(episode)]
            ])
            let dataset = try RLDSStore(root: folder.url.path, name: "d\(index)")
            return MixturePart(dataset: dataset, statistics: try dataset.statistics(), weight: pair.1)
        }
        return (folder, parts)
    }

    // MARK: - Reading ahead

    @Test(arguments: [1, 2, 5])
    func readingAheadGivesTheSameBatches(_ depth: Int) throws {
        let plain = try sampler()
        let reader = try DemonstrationReader(try sampler(), depth: depth)
        for position in [0, plain.sampleCount - 6] {
            plain.cursor.position = position
            reader.cursor = plain.cursor
            for _ in 0..<4 {
                #expect(equal(try plain.next(), try reader.next()))
                #expect(reader.cursor == plain.cursor, "the cursor is that of the batch given out")
            }
        }
    }

    @Test func aCursorSavedWhileReadingAheadContinuesExactly() throws {
        let reader = try DemonstrationReader(try sampler(), depth: 3)
        for _ in 0..<3 { _ = try reader.next() }
        let saved = try JSONEncoder().encode(reader.cursor)
        let resumed = try DemonstrationReader(try sampler(seed: 99), depth: 2)
        resumed.cursor = try JSONDecoder().decode(DataCursor.self, from: saved)
        for _ in 0..<3 { #expect(equal(try reader.next(), try resumed.next())) }
    }

    @Test func threadsDoNotChangeBatches() throws {
        let dataset = try Sample.dataset.get()
        var one = options()
        one.threads = 1
        let sampler = try DemonstrationSampler(dataset, statistics: dataset.statistics(), options: one)
        #expect(equal(try sampler.next(), try self.sampler().next()))
    }

    /// The batch before the damaged one is given out; the damaged one names its place, again and again.
    @Test func errorsSurfaceInTheirStep() throws {
        let folder = try TemporaryFolder()
        try SyntheticDataset(root: folder.url, name: "d").write(shards: [
            [
                SyntheticDataset.example(.init(length: 12)),
                SyntheticDataset.example(.init(length: 12, images: Array(SyntheticDataset.jpeg.dropLast(900)))),
            ]
        ])
        let dataset = try RLDSStore(root: folder.url.path)
        func make(depth: Int) throws -> DemonstrationReader {
            try DemonstrationReader(
                try DemonstrationSampler(
                    dataset, statistics: dataset.statistics(), options: options(batch: 1, seed: 1)), depth: depth)
        }
        let (plain, ahead) = (try make(depth: 0), try make(depth: 4))
        var failed = false
        for _ in 0..<10 where !failed {
            let (one, two) = (dataError { _ = try plain.next() }, dataError { _ = try ahead.next() })
            #expect(one == two && plain.cursor == ahead.cursor)
            guard let one else { continue }
            failed = true
            #expect(one.description.contains("liber_o10-train.tfrecord-00000-of-00001: record 1, step"))
            #expect(dataError { _ = try ahead.next() } == one)
        }
        #expect(failed)
        #expect(dataError { _ = try make(depth: -1) }?.code == .invalid)
    }

    // MARK: - Mixtures

    @Test func weightsAreSharesOfTheSamples() throws {
        let (folder, parts) = try parts(lengths: [40, 15, 20], weights: [0.7, 0.3, 0])
        defer { _ = folder }
        let sampler = try DemonstrationSampler(parts, options: options(batch: 50))
        var counts = [0, 0, 0]
        for _ in 0..<40 {
            for text in try sampler.next().instructions { counts[Int(text.suffix(1)) ?? 0] += 1 }
        }
        // 2000 draws: the standard deviation of a share is 0.01.
        #expect(abs(Double(counts[0]) / 2000 - 0.7) < 0.04 && counts[2] == 0, "\(counts)")
        let bySize = try self.parts(lengths: [37, 17], weights: [nil, nil])
        #expect(try DemonstrationSampler(bySize.1, options: options()).shares == [0.75, 0.25])
        let huge = try self.parts(lengths: [20, 20], weights: [1e308, 1e308])
        #expect(try DemonstrationSampler(huge.1, options: options()).shares == [0.5, 0.5])
    }

    @Test func mixturesResumeExactlyAndNormaliseEachByItsOwn() throws {
        let (folder, parts) = try parts(lengths: [30, 12], weights: [1, 1])
        defer { _ = folder }
        let straight = try DemonstrationReader(try DemonstrationSampler(parts, options: options(batch: 7)), depth: 2)
        for _ in 0..<5 { _ = try straight.next() }
        let saved = try JSONEncoder().encode(straight.cursor)
        let resumed = try DemonstrationReader(
            try DemonstrationSampler(parts, options: options(batch: 7, seed: 50)), depth: 0)
        resumed.cursor = try JSONDecoder().decode(DataCursor.self, from: saved)
        for _ in 0..<4 {
            let (a, b) = (try straight.next(), try resumed.next())
            #expect(equal(a, b))
            // The first state of a part's episode is its minimum, whichever part is longer.
            for sample in 0..<a.count { #expect((-1...1).contains(a.proprio[8 * sample])) }
        }
        #expect(straight.cursor == resumed.cursor)
        resumed.cursor = DataCursor(seed: 0)
        #expect(dataError { _ = try resumed.next() }?.description.contains("of 1 data sets, the run has 2") == true)
        let single = try sampler()
        single.cursor = straight.cursor
        #expect(dataError { _ = try single.next() }?.description.contains("of 2 data sets, the run has 1") == true)
    }

    @Test func requestsAreParsedAndCorrected() throws {
        #expect(try MixtureRequest("a").entries == [.init(name: "a")])
        #expect(try MixtureRequest("").entries.isEmpty)
        #expect(
            try MixtureRequest("a:0.7, b:3").entries == [.init(name: "a", weight: 0.7), .init(name: "b", weight: 3)])
        for (text, words) in [
            ("a:", "the weight of 'a' is ''"), ("a:-1,b:2", "is '-1'"), ("a:nan", "is 'nan'"),
            ("a:1,b", "every data set"),
            ("a,a", "names 'a' twice"), ("a,,b", "'' is neither"), ("a:1:2", "is neither"), ("a:0,b:0", "above 0"),
        ] {
            #expect(dataError { _ = try MixtureRequest(text) }?.description.contains(words) == true, "\(text)")
        }
    }

    // MARK: - Few-shot

    @Test func shotsAreDrawnFromTheirSeed() throws {
        let episodes = try Sample.dataset.get().episodes
        func training(_ shots: Int?, _ seed: UInt64?) -> [Int] {
            EpisodeSelection(episodes, shots: shots, shotsSeed: seed).training
        }
        let instructions = Set(episodes.map(\.instruction))
        for seed in [nil, 1, 2] as [UInt64?] {
            let chosen = training(1, seed)
            #expect(chosen == training(1, seed) && chosen == chosen.sorted())
            #expect(chosen.count == instructions.count && Set(chosen.map { episodes[$0].instruction }) == instructions)
        }
        #expect(Set((0..<8).map { training(1, $0) }).count > 1, "seeds differ")
        #expect(training(1000, 1) == Array(episodes.indices) && training(nil, nil) == Array(episodes.indices))
    }
}
