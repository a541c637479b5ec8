internal import COpenBLAS
internal import Kernels

/// What computes matrix products.
package enum ProductKernel: Sendable {
    /// Our own, for processors with AVX-512: it is a little faster than OpenBLAS's there, allocates nothing, does not depend
    /// on OpenBLAS recognising the processor, and an entry has the same bits whichever others are computed with it.
    case avx512
    case openBLAS
    /// Our own for processors with AVX512_BF16, on operands rounded to bfloat16.
    case bfloat16

    /// The faster of those in float32 that this processor runs.
    package static let fastest: ProductKernel = ck_sgemm_is_supported() != 0 ? .avx512 : .openBLAS
}

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
    beta: Float, c: UnsafeMutablePointer<Float>, ldc: Int, kernel: ProductKernel = .fastest
) {
    if m == 0 || n == 0 { return }
    switch kernel {
    case .avx512:
        ck_sgemm(
            layoutA == .transposed ? 1 : 0, layoutB == .transposed ? 1 : 0, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc
        )
    case .bfloat16:
        ck_bf16_gemm(
            layoutA == .transposed ? 1 : 0, layoutB == .transposed ? 1 : 0, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc
        )
    case .openBLAS:
        cblas_sgemm(
            CblasRowMajor, layoutA.cblas, layoutB.cblas, Int32(m), Int32(n), Int32(k), alpha,
            a, Int32(lda), b, Int32(ldb), beta, c, Int32(ldc))
    }
}

extension Parallel {
    /// The same product, cut across threads. `prepare` runs on each thread's rows of `c` first, while they are about to be
    /// used. In bfloat16 where that was chosen.
    @inline(__always)
    func gemm(
        _ layoutA: Layout, _ layoutB: Layout, m: Int, n: Int, k: Int, alpha: Float = 1,
        a: UnsafePointer<Float>, lda: Int, b: UnsafePointer<Float>, ldb: Int,
        beta: Float, c: UnsafeMutablePointer<Float>, ldc: Int, prepare: (Range<Int>) -> Void
    ) {
        let chunks = chunkCount(m, grain: Self.productGrain(n, k))
        run(chunks: chunks) { chunk in
            let rows = Self.alignedRange(chunk, of: chunks, count: m)
            if rows.isEmpty { return }
            prepare(rows)
            let start = layoutA == .normal ? a + rows.lowerBound * lda : a + rows.lowerBound
            Tensors.gemm(
                layoutA, layoutB, m: rows.count, n: n, k: k, alpha: alpha, a: start, lda: lda, b: b, ldb: ldb,
                beta: beta, c: c + rows.lowerBound * ldc, ldc: ldc, kernel: kernel)
        }
    }

    /// The same without anything to prepare.
    @inline(__always)
    func gemm(
        _ layoutA: Layout, _ layoutB: Layout, m: Int, n: Int, k: Int, alpha: Float = 1,
        a: UnsafePointer<Float>, lda: Int, b: UnsafePointer<Float>, ldb: Int,
        beta: Float, c: UnsafeMutablePointer<Float>, ldc: Int
    ) {
        let chunks = chunkCount(m, grain: Self.productGrain(n, k))
        let across = Self.columnParts(chunks, m: m, n: n)
        let down = chunks / across
        run(chunks: chunks) { chunk in
            let rows = Self.alignedRange(chunk / across, of: down, count: m)
            let columns = Self.alignedRange(chunk % across, of: across, count: n, to: 32)
            if rows.isEmpty || columns.isEmpty { return }
            let startA = layoutA == .normal ? a + rows.lowerBound * lda : a + rows.lowerBound
            let startB = layoutB == .normal ? b + columns.lowerBound : b + columns.lowerBound * ldb
            Tensors.gemm(
                layoutA, layoutB, m: rows.count, n: columns.count, k: k, alpha: alpha, a: startA, lda: lda, b: startB,
                ldb: ldb, beta: beta, c: c + rows.lowerBound * ldc + columns.lowerBound, ldc: ldc, kernel: kernel)
        }
    }

    /// Rows of a product with [k, n] below which a chunk, of a quarter of a million multiply-adds, costs more to hand over
    /// than it saves.
    private static func productGrain(_ n: Int, _ k: Int) -> Int { max(16, 262_144 / max(1, n * k)) }

    /// Into how many parts the columns of an [m, n] result are cut when `chunks` chunks share it.
    ///
    /// Each chunk packs its rows of one operand and its columns of the other, so that squarish chunks pack least. A weight's
    /// gradient is a small matrix with a long inner dimension, where packing counts.
    private static func columnParts(_ chunks: Int, m: Int, n: Int) -> Int {
        var (best, least) = (1, Int.max)
        for across in 1...max(1, chunks) where chunks % across == 0 && (across == 1 || n / across >= 64) {
            let packed = chunks / across * n + across * m
            if packed < least { (best, least) = (across, packed) }
        }
        return best
    }

    /// Like ``range(_:of:count:)``, with inner borders on multiples of `unit`: 16 is the height of OpenBLAS's widest kernels,
    /// 32 the width of ours.
    static func alignedRange(_ index: Int, of chunks: Int, count: Int, to unit: Int = 16) -> Range<Int> {
        func border(_ i: Int) -> Int { i == chunks ? count : count * i / chunks / unit * unit }
        return border(index)..<border(index + 1)
    }
}
