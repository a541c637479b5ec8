/// `weight += scale * b a`, in float32: a low-rank update folded into the matrix it belongs to.
///
/// - `weight`: [outputs, inputs]. `a`: [rank, inputs]. `b`: [outputs, rank].
package func mergeLowRank(
    into weight: UnsafeMutablePointer<Float>, a: UnsafePointer<Float>, b: UnsafePointer<Float>, outputs: Int,
    inputs: Int, rank: Int, scale: Float, _ parallel: Parallel
) {
    parallel.gemm(
        .normal, .normal, m: outputs, n: inputs, k: rank, alpha: scale, a: b, lda: rank, b: a, ldb: inputs, beta: 1,
        c: weight, ldc: inputs)
}
