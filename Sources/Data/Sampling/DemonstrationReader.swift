import Dispatch
internal import Formats
import Synchronization

/// Makes batches ahead of their use, on a thread of its own, at most `depth` of them.
///
/// What a batch consists of is decided in order by the sampler; only reading and decoding run ahead. Batches are therefore
/// those of the sampler alone, and ``cursor`` is that of the last batch that was given out. Memory: `depth` batches and
/// the one in use.
package final class DemonstrationReader {
    package let sampler: DemonstrationSampler
    package let depth: Int
    private let queue = DispatchQueue(label: "craft.reader", qos: .userInitiated)
    private var pending: [Pending] = []
    private var consumed: DataCursor
    private var drawn: BatchShareCursor
    private var consumedShare: BatchShareCursor

    /// A batch under way.
    private struct Pending {
        let after: DataCursor
        let share: BatchShareCursor
        let slot: Slot
    }

    private final class Slot: Sendable {
        private let result = Mutex<Result<DemonstrationBatch, DataError>?>(nil)
        private let ready = DispatchSemaphore(value: 0)
        private let isWanted = Atomic(true)

        func fill(_ make: () -> Result<DemonstrationBatch, DataError>) {
            guard isWanted.load(ordering: .relaxed) else { return }
            let made = make()
            result.withLock { $0 = made }
            ready.signal()
        }

        func take() -> Result<DemonstrationBatch, DataError> {
            ready.wait()
            return result.withLock { $0! }
        }

        /// Nobody will take it: not started, it is not made.
        func abandon() { isWanted.store(false, ordering: .relaxed) }
    }

    /// - Parameters:
    ///   - depth: batches made ahead; 0 makes each when it is asked for.
    ///   - share: those of a step's batches that are made.
    package init(_ sampler: DemonstrationSampler, depth: Int, share: BatchShare = .all) throws(DataError) {
        guard (0...1_024).contains(depth) else {
            throw DataError(.invalid, "Reading ahead: depth is \(depth), expected 0 to 1024 batches.")
        }
        self.sampler = sampler
        self.depth = depth
        consumed = sampler.cursor
        drawn = BatchShareCursor(share)
        consumedShare = drawn
    }

    deinit { for batch in pending { batch.slot.abandon() } }

    /// Where the data continue after the last batch given out. Assigning drops what was made ahead, and begins a step.
    package var cursor: DataCursor {
        get { consumed }
        set { go(to: newValue, BatchShareCursor(drawn.share)) }
    }

    private func go(to cursor: DataCursor, _ share: BatchShareCursor) {
        for batch in pending { batch.slot.abandon() }
        pending = []
        sampler.cursor = cursor
        consumed = cursor
        (drawn, consumedShare) = (share, share)
    }

    /// Moves the cursor past batches of a step that ends here, without making them.
    package func pass(_ batches: Int) throws(DataError) {
        cursor = consumed
        try sampler.pass(batches)
        consumed = sampler.cursor
    }

    /// The next batch, waiting for it if it is not ready. An error leaves the cursor where it was.
    package func next() throws(DataError) -> DemonstrationBatch {
        do throws(DataError) {
            guard depth > 0 else {
                let batch = try sampler.maker.batch(try nextDraws())
                (consumed, consumedShare) = (sampler.cursor, drawn)
                return batch
            }
            try fill()
            let batch = try pending[0].slot.take().get()
            let taken = pending.removeFirst()
            (consumed, consumedShare) = (taken.after, taken.share)
            // The next batches are made while the caller uses this one; what is wrong with them shows when they are due.
            _ = try? fill()
            return batch
        } catch {
            go(to: consumed, consumedShare)
            throw error
        }
    }

    /// Decides what the next own batch is made of, and moves the sampler to the next own one's start.
    private func nextDraws() throws(DataError) -> [Draw] {
        try sampler.pass(drawn.before)
        let draws = try sampler.nextDraws()
        try sampler.pass(drawn.count())
        return draws
    }

    private func fill() throws(DataError) {
        let maker = sampler.maker
        while pending.count < depth {
            let draws = try nextDraws()
            let slot = Slot()
            pending.append(Pending(after: sampler.cursor, share: drawn, slot: slot))
            queue.async {
                slot.fill { Result { () throws(DataError) in try maker.batch(draws) } }
            }
        }
    }
}
