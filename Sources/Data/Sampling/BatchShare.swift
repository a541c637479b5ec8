/// Which batches of a step a process makes, where several processes share its batches. All draw the same batches in the same
/// order; those of others are passed over, which reads no file.
package struct BatchShare: Equatable, Sendable {
    /// Within a step, contiguous.
    package let own: Range<Int>
    /// Batches of a step.
    package let total: Int

    /// Every batch, for a process alone.
    package static let all = BatchShare(own: 0..<1, total: 1)

    package init(own: Range<Int>, total: Int) {
        precondition(!own.isEmpty && own.lowerBound >= 0 && own.upperBound <= total, "a share of a step's batches")
        (self.own, self.total) = (own, total)
    }
}

/// A share, and how many of its batches were made in the step that goes on.
struct BatchShareCursor {
    let share: BatchShare
    private(set) var made = 0

    init(_ share: BatchShare) { self.share = share }

    /// Batches to pass over before the next.
    var before: Int { made == 0 ? share.own.lowerBound : 0 }

    /// Counts a batch.
    ///
    /// - Returns: batches to pass over behind it.
    mutating func count() -> Int {
        made = (made + 1) % share.own.count
        return made == 0 ? share.total - share.own.upperBound : 0
    }
}

extension DemonstrationSampler {
    /// Moves the cursor past batches, without making them.
    func pass(_ batches: Int) throws(DataError) { for _ in 0..<batches { _ = try nextDraws() } }
}
