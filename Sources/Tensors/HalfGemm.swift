/// Matrix products with one operand in 16 bits.
///
/// The matrix is widened to float32 in panels that stay in the cache, each element once per product, and multiplied
/// panel by panel: it never exists in float32 as a whole. Threads take different columns of the result, so that no panel
/// is widened twice.
extension Parallel {
    /// Values of a panel: 2 MiB in float32.
    private static let panelCount = 1 << 19

    /// `c = a bᵀ + beta c`: a [m, k] float32, b [n, k] 16-bit, c [m, n].
    func multiply(
        _ a: UnsafePointer<Float>, byTransposed b: HalfValues, m: Int, n: Int, k: Int, beta: Float,
        into c: UnsafeMutablePointer<Float>, _ pool: BufferPool
    ) {
        let chunks = chunkCount(n, grain: 64)
        let height = min((n + chunks - 1) / chunks + 16, max(16, Self.panelCount / max(1, k)))
        let scratch = pool.take(chunks * height * k)
        run(chunks: chunks) { chunk in
            let panel = scratch + chunk * height * k
            let columns = Self.alignedRange(chunk, of: chunks, count: n)
            for start in stride(from: columns.lowerBound, to: columns.upperBound, by: height) {
                let rows = min(height, columns.upperBound - start)
                b.widen(start * k, rows * k, into: panel)
                Tensors.gemm(
                    .normal, .transposed, m: m, n: rows, k: k, a: a, lda: k, b: panel, ldb: k, beta: beta,
                    c: c + start, ldc: n, kernel: kernel)
            }
        }
        pool.give(scratch, count: chunks * height * k)
    }

    /// `c = a b + beta c`: a [m, k] float32, b [k, n] 16-bit, c [m, n].
    func multiply(
        _ a: UnsafePointer<Float>, by b: HalfValues, m: Int, n: Int, k: Int, beta: Float,
        into c: UnsafeMutablePointer<Float>, _ pool: BufferPool
    ) {
        let chunks = chunkCount(n, grain: 64)
        let width = (n + chunks - 1) / chunks + 16
        let height = min(k, max(16, Self.panelCount / width))
        let scratch = pool.take(chunks * height * width)
        run(chunks: chunks) { chunk in
            let panel = scratch + chunk * height * width
            let columns = Self.alignedRange(chunk, of: chunks, count: n)
            if columns.isEmpty { return }
            for start in stride(from: 0, to: k, by: height) {
                let rows = min(height, k - start)
                for row in 0..<rows {
                    b.widen(
                        (start + row) * n + columns.lowerBound, columns.count, into: panel + row * columns.count)
                }
                Tensors.gemm(
                    .normal, .normal, m: m, n: columns.count, k: rows, a: a + start, lda: k, b: panel,
                    ldb: columns.count, beta: start == 0 ? beta : 1, c: c + columns.lowerBound, ldc: n, kernel: kernel)
            }
        }
        pool.give(scratch, count: chunks * height * width)
    }
}
