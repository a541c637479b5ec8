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
    /// The same product, cut along the rows of `c` across threads. `prepare` runs on each thread's rows first, while
    /// they are about to be used. In bfloat16 where that was chosen.
    @inline(__always)
    func gemm(
        _ layoutA: Layout, _ layoutB: Layout, m: Int, n: Int, k: Int, alpha: Float = 1,
        a: UnsafePointer<Float>, lda: Int, b: UnsafePointer<Float>, ldb: Int,
        beta: Float, c: UnsafeMutablePointer<Float>, ldc: Int, prepare: (Range<Int>) -> Void = { _ in }
    ) {
        // Below about a quarter of a million multiply-adds a chunk costs more to hand over than it saves.
        let grain = max(16, 262_144 / max(1, n * k))
        let chunks = chunkCount(m, grain: grain)
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

    /// Like ``range(_:of:count:)``, with inner borders on multiples of 16, the height of OpenBLAS's widest kernels.
    static func alignedRange(_ index: Int, of chunks: Int, count: Int) -> Range<Int> {
        func border(_ i: Int) -> Int { i == chunks ? count : (count * i / chunks) & ~15 }
        return border(index)..<border(index + 1)
    }
}
