internal import COpenBLAS

/// How an operand of a matrix product is read.
enum Layout {
    case normal, transposed

    var cblas: CBLAS_TRANSPOSE { self == .normal ? CblasNoTrans : CblasTrans }
}

/// `c = alpha op(a) op(b) + beta c`, row major, on the calling thread.
///
/// `op(a)` is [m, k], `op(b)` [k, n], `c` [m, n]; `lda`, `ldb`, `ldc` are the lengths of the stored rows.
@inline(__always)
func gemm(
    _ layoutA: Layout, _ layoutB: Layout, m: Int, n: Int, k: Int, alpha: Float = 1,
    a: UnsafePointer<Float>, lda: Int, b: UnsafePointer<Float>, ldb: Int,
    beta: Float, c: UnsafeMutablePointer<Float>, ldc: Int
) {
    if m == 0 || n == 0 { return }
    cblas_sgemm(
        CblasRowMajor, layoutA.cblas, layoutB.cblas, Int32(m), Int32(n), Int32(k), alpha,
        a, Int32(lda), b, Int32(ldb), beta, c, Int32(ldc))
}

extension Parallel {
    /// The same product, cut along the rows of `c` across threads. `prepare` runs on each thread's rows first, while
    /// they are about to be used. Products that are worth it go through ``products`` when there are any.
    @inline(__always)
    func gemm(
        _ layoutA: Layout, _ layoutB: Layout, m: Int, n: Int, k: Int, alpha: Float = 1,
        a: UnsafePointer<Float>, lda: Int, b: UnsafePointer<Float>, ldb: Int,
        beta: Float, c: UnsafeMutablePointer<Float>, ldc: Int, prepare: (Range<Int>) -> Void = { _ in }
    ) {
        // Below about a quarter of a million multiply-adds a chunk costs more to hand over than it saves.
        let grain = max(16, 262_144 / max(1, n * k))
        let chunks = chunkCount(m, grain: grain)
        let operands = products?.round(
            layoutA, layoutB, m: m, n: n, k: k, alpha: alpha, a: a, lda: lda, b: b, ldb: ldb, on: self)
        run(chunks: chunks) { chunk in
            let rows = Self.alignedRange(chunk, of: chunks, count: m)
            if rows.isEmpty { return }
            prepare(rows)
            if let operands,
                operands.multiply(rows, beta: beta, into: c + rows.lowerBound * ldc, ldc: ldc, chunk: chunk)
            {
                return
            }
            let start = layoutA == .normal ? a + rows.lowerBound * lda : a + rows.lowerBound
            Tensors.gemm(
                layoutA, layoutB, m: rows.count, n: n, k: k, alpha: alpha, a: start, lda: lda, b: b, ldb: ldb,
                beta: beta, c: c + rows.lowerBound * ldc, ldc: ldc)
        }
    }

    /// Like ``range(_:of:count:)``, with inner borders on multiples of 16, the height of OpenBLAS's widest kernels.
    static func alignedRange(_ index: Int, of chunks: Int, count: Int) -> Range<Int> {
        func border(_ i: Int) -> Int { i == chunks ? count : (count * i / chunks) & ~15 }
        return border(index)..<border(index + 1)
    }
}
