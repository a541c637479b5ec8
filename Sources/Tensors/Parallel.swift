internal import COpenBLAS

/// The one parallel-for of the trainer.
///
/// Work is cut into a few more chunks than threads, so that a busy neighbour on one core slows a step in proportion and
/// does not stall it. OpenBLAS is held to one thread: a second pool inside ours would spin against it.
package struct Parallel: Sendable {
    /// How many threads may work at once, the caller included.
    package let threads: Int
    /// Whether work is done. Without it passes run through with all their allocations and no arithmetic, which tells how
    /// much memory they take.
    package let executes: Bool
    /// What computes matrix products.
    let kernel: ProductKernel

    /// Whether a row of a matrix product has the same bits whichever other rows are computed with it.
    package var hasRowwiseProducts: Bool { ProductKernel.fastest == .avx512 }

    package init(threads: Int, executes: Bool = true, products: BFloat16Products? = nil) {
        self.threads = max(1, threads)
        self.executes = executes
        kernel = products == nil ? .fastest : .bfloat16
        openblas_set_num_threads(1)
    }

    /// Runs `body(0) ... body(chunks - 1)`, in any order, and returns when all are done.
    @inline(__always)
    package func run(chunks: Int, _ body: (Int) -> Void) {
        if !executes { return }
        if threads == 1 || chunks == 1 {
            for chunk in 0..<chunks { body(chunk) }
        } else if chunks > 1 {
            WorkerPool.shared.run(chunks: chunks, threads: threads, body)
        }
    }

    /// Runs `body` on the calling thread, for work that is too little to be split.
    @inline(__always)
    func once(_ body: () -> Void) { if executes { body() } }

    /// Splits `0 ..< count` into contiguous ranges of at least `grain` and runs `body` on each.
    ///
    /// The split depends on `count`, `grain` and the thread count alone, so results repeat bit for bit.
    @inline(__always)
    package func ranges(_ count: Int, grain: Int, _ body: (Range<Int>) -> Void) {
        let chunks = chunkCount(count, grain: grain)
        if chunks <= 1 {
            if count > 0 && executes { body(0..<count) }
            return
        }
        run(chunks: chunks) { chunk in body(Self.range(chunk, of: chunks, count: count)) }
    }

    /// Splits the columns of a matrix of `count` values among the threads, for work in which rows repeat: columns do not, so
    /// that no two threads write to one place.
    @inline(__always)
    func columnRanges(_ columns: Int, count: Int, _ body: (Range<Int>) -> Void) {
        let chunks = count < 65_536 ? 1 : min(threads, max(1, columns / 16))
        run(chunks: chunks) { chunk in body(Self.range(chunk, of: chunks, count: columns)) }
    }

    /// How many chunks ``ranges(_:grain:_:)`` makes.
    package func chunkCount(_ count: Int, grain: Int) -> Int {
        threads == 1 ? 1 : min(threads * 2, max(1, count / max(1, grain)))
    }

    /// Chunk `index` of `0 ..< count` cut into `chunks` contiguous parts of almost equal size.
    package static func range(_ index: Int, of chunks: Int, count: Int) -> Range<Int> {
        (count * index / chunks)..<(count * (index + 1) / chunks)
    }
}
