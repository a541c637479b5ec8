import Data
import Foundation
import TestSupport
import Testing

/// Processes that divide the batches of a step.
@Suite struct BatchShareTests {
    private func reader(_ depth: Int, _ share: BatchShare = .all) throws -> DemonstrationReader {
        let dataset = try Sample.dataset.get()
        let options = SamplingOptions(batchSize: 3, imageSize: 16, augment: true, seed: 3)
        let sampler = try DemonstrationSampler(dataset, statistics: dataset.statistics(), options: options)
        return try DemonstrationReader(sampler, depth: depth, share: share)
    }

    @Test(arguments: [0, 3])
    func sharesAreTheBatchesOfOneProcess(_ depth: Int) throws {
        let whole = try reader(0)
        let parts = try [0..<1, 1..<3, 3..<4].map { try reader(depth, BatchShare(own: $0, total: 4)) }
        for _ in 0..<3 {
            for (part, count) in zip(parts, [1, 2, 1]) {
                for _ in 0..<count {
                    let (own, expected) = (try part.next(), try whole.next())
                    #expect(own.samples == expected.samples && own.images == expected.images)
                }
                #expect(part.cursor.position >= whole.cursor.position, "past what others make of the step")
            }
            for part in parts { #expect(part.cursor == whole.cursor, "a step ends at one place for all") }
        }
    }

    /// A step that all leave after its second batch: the next begins with the third.
    @Test func passingOverEndsAStep() throws {
        let whole = try reader(0)
        let part = try reader(2, BatchShare(own: 2..<4, total: 4))
        for _ in 0..<4 { _ = try whole.next() }
        _ = try part.next()
        _ = try part.next()
        let start = part.cursor
        _ = try part.next()
        part.cursor = start
        try part.pass(2)
        for _ in 0..<2 { _ = try whole.next() }
        #expect(part.cursor == whole.cursor)
        for _ in 0..<2 { _ = try whole.next() }
        #expect(try part.next().samples == (try whole.next().samples))
    }

    @Test func questionsAreSharedToo() throws {
        let dataset = try VQADataset(path: Sample.questions)
        func sampler(_ share: BatchShare) throws -> VQASampler {
            try VQASampler(dataset, batchSize: 2, imageSize: 8, seed: 5, augment: true, share: share)
        }
        let (whole, part) = (try sampler(.all), try sampler(BatchShare(own: 1..<2, total: 3)))
        for _ in 0..<3 {
            let expected = try (0..<3).map { _ in try whole.next() }[1]
            let own = try part.next()
            #expect(own.samples == expected.samples && own.images == expected.images)
            #expect(part.cursor == whole.cursor)
        }
    }
}
