package import Data
package import Models

/// One micro-batch: what the model reads and what objectives compare with.
package struct TrainingBatch {
    package var input: ModelInput
    /// Normalised action chunks, [B, chunk, actionDim]; empty when the batch has none.
    package var targetActions: [Float]
    /// Token ids of the answers, sample by sample, as many of each as `input.answerLengths` says; empty when the batch has
    /// none.
    package var answerIDs: [Int64]
    /// A number for each sample, the same whenever it is drawn, [B]; empty when samples have none.
    package var samples: [Int64] = []
    /// Which instruction of the run, or which question, each sample has, [B]; empty when they have none.
    package var tasks: [Int64] = []
    /// What the user gave for each sample, by name: [B, width].
    package var sides: [String: (values: [Float], width: Int)] = [:]

    package init(input: ModelInput, targetActions: [Float] = [], answerIDs: [Int64] = []) {
        self.input = input
        self.targetActions = targetActions
        self.answerIDs = answerIDs
    }

    /// The sample that each of ``answerIDs`` belongs to.
    var answerRows: [Int64] {
        input.answerLengths.isEmpty
            ? answerIDs.indices.map { Int64($0) }
            : input.answerLengths.enumerated().flatMap { sample, length in
                Array(repeating: Int64(sample), count: length)
            }
    }
}

/// Where micro-batches come from, and where in the data it stands.
package protocol BatchSource: AnyObject {
    func next() throws -> TrainingBatch
    /// Enough to continue exactly.
    var cursor: DataCursor { get }
    func restore(cursor: DataCursor) throws
    /// Moves past micro-batches of a step that ends here, without making them where that can be.
    func pass(_ batches: Int) throws
}

/// A source that has no place in its data, as one that gives the same batch again and again.
extension BatchSource {
    package var cursor: DataCursor { DataCursor(seed: 0) }

    package func restore(cursor: DataCursor) throws {}

    package func pass(_ batches: Int) throws { for _ in 0..<batches { _ = try next() } }
}
