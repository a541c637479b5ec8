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

/// A product `c = alpha op(a) op(b) + beta c` cut into chunks that threads share.
///
/// Each chunk packs its rows of one operand and its columns of the other, so that squarish chunks pack least. A weight's
/// gradient is a small matrix with a long inner dimension, where packing counts.
struct ParallelProduct {
    let layoutA: Layout
    let layoutB: Layout
    let m: Int
    let n: Int
    let k: Int
    let alpha: Float
    let a: UnsafePointer<Float>
    let lda: Int
    let b: UnsafePointer<Float>
    let ldb: Int
    let beta: Float
    let c: UnsafeMutablePointer<Float>
    let ldc: Int
    let kernel: ProductKernel
    let chunks: Int
    /// Into how many parts the columns of `c` are cut; it divides `chunks`.
    let across: Int

    /// The rows of `c` that a chunk computes.
    func rows(_ chunk: Int) -> Range<Int> {
        Parallel.alignedRange(chunk / across, of: chunks / across, count: m)
    }

    func callAsFunction(_ chunk: Int) {
        let rows = rows(chunk)
        let columns = Parallel.alignedRange(chunk % across, of: across, count: n, to: 32)
        if rows.isEmpty || columns.isEmpty { return }
        let startA = layoutA == .normal ? a + rows.lowerBound * lda : a + rows.lowerBound
        let startB = layoutB == .normal ? b + columns.lowerBound : b + columns.lowerBound * ldb
        gemm(
            layoutA, layoutB, m: rows.count, n: columns.count, k: k, alpha: alpha, a: startA, lda: lda, b: startB,
            ldb: ldb, beta: beta, c: c + rows.lowerBound * ldc + columns.lowerBound, ldc: ldc, kernel: kernel)
    }
}

extension Parallel {
    /// The same product, for threads to share; in bfloat16 where that was chosen.
    ///
    /// - `rowsOnly`: each chunk computes whole rows of `c`.
    func product(
        _ layoutA: Layout, _ layoutB: Layout, m: Int, n: Int, k: Int, alpha: Float = 1,
        a: UnsafePointer<Float>, lda: Int, b: UnsafePointer<Float>, ldb: Int,
        beta: Float, c: UnsafeMutablePointer<Float>, ldc: Int, rowsOnly: Bool = false
    ) -> ParallelProduct {
        // Below about a quarter of a million multiply-adds a chunk costs more to hand over than it saves.
        let chunks = chunkCount(m, grain: max(16, 262_144 / max(1, n * k)))
        var (across, least) = (1, Int.max)
        for parts in 1...chunks where parts == 1 || (!rowsOnly && chunks % parts == 0 && n / parts >= 64) {
            let packed = chunks / parts * n + parts * m
            if packed < least { (across, least) = (parts, packed) }
        }
        return ParallelProduct(
            layoutA: layoutA, layoutB: layoutB, m: m, n: n, k: k, alpha: alpha, a: a, lda: lda, b: b, ldb: ldb,
            beta: beta, c: c, ldc: ldc, kernel: kernel, chunks: chunks, across: across)
    }

    /// The same product, done.
    func gemm(
        _ layoutA: Layout, _ layoutB: Layout, m: Int, n: Int, k: Int, alpha: Float = 1,
        a: UnsafePointer<Float>, lda: Int, b: UnsafePointer<Float>, ldb: Int,
        beta: Float, c: UnsafeMutablePointer<Float>, ldc: Int
    ) {
        let product = product(
            layoutA, layoutB, m: m, n: n, k: k, alpha: alpha, a: a, lda: lda, b: b, ldb: ldb, beta: beta, c: c, ldc: ldc
        )
        run(chunks: product.chunks) { product($0) }
    }

    /// Like ``range(_:of:count:)``, with inner borders on multiples of `unit`: 16 is the height of OpenBLAS's widest kernels,
    /// 32 the width of ours.
    static func alignedRange(_ index: Int, of chunks: Int, count: Int, to unit: Int = 16) -> Range<Int> {
        func border(_ i: Int) -> Int { i == chunks ? count : count * i / chunks / unit * unit }
        return border(index)..<border(index + 1)
    }
}
