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

    /// A batch under way.
    private struct Pending {
        let after: DataCursor
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

    /// - Parameter depth: batches made ahead; 0 makes each when it is asked for.
    package init(_ sampler: DemonstrationSampler, depth: Int) throws(DataError) {
        guard (0...1_024).contains(depth) else {
            throw DataError(.invalid, "Reading ahead: depth is \(depth), expected 0 to 1024 batches.")
        }
        self.sampler = sampler
        self.depth = depth
        consumed = sampler.cursor
    }

    deinit { for batch in pending { batch.slot.abandon() } }

    /// Where the data continue after the last batch given out. Assigning drops what was made ahead.
    package var cursor: DataCursor {
        get { consumed }
        set {
            for batch in pending { batch.slot.abandon() }
            pending = []
            sampler.cursor = newValue
            consumed = newValue
        }
    }

    /// The next batch, waiting for it if it is not ready. An error leaves the cursor where it was.
    package func next() throws(DataError) -> DemonstrationBatch {
        guard depth > 0 else {
            defer { consumed = sampler.cursor }
            return try sampler.next()
        }
        do throws(DataError) {
            try fill()
            let batch = try pending[0].slot.take().get()
            consumed = pending.removeFirst().after
            // The next batches are made while the caller uses this one; what is wrong with them shows when they are due.
            _ = try? fill()
            return batch
        } catch {
            cursor = consumed
            throw error
        }
    }

    private func fill() throws(DataError) {
        let maker = sampler.maker
        while pending.count < depth {
            let draws = try sampler.nextDraws()
            let slot = Slot()
            pending.append(Pending(after: sampler.cursor, slot: slot))
            queue.async {
                slot.fill { Result { () throws(DataError) in try maker.batch(draws) } }
            }
        }
    }
}
