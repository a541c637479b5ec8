internal import COpenBLAS
internal import Dispatch
internal import Kernels

/// What this machine reaches with nothing else to do, measured: the scale against which a benchmark reads.
package struct MachineLimits: Sendable {
    /// Rate of large float32 matrix products, in 10^9 operations a second, a multiply-add counted as two.
    package let gemmGigaflops: Double
    /// Rate of `y += a x` over arrays far larger than the caches, in 10^9 bytes a second, 12 bytes per element.
    package let gigabytesPerSecond: Double

    /// Measures for about half a second and keeps the best of several passes.
    package init(_ parallel: Parallel) {
        gemmGigaflops = Self.gemmRate(parallel)
        gigabytesPerSecond = Self.bandwidth(parallel)
    }

    private static func gemmRate(_ parallel: Parallel) -> Double {
        let (m, n, k) = (2048, 1024, 1024)
        let (a, b, c) = (FloatBuffer(count: m * k), FloatBuffer(count: n * k), FloatBuffer(count: m * n))
        for index in 0..<m * k { a.base[index] = 1 / Float(index & 63 + 1) }
        for index in 0..<n * k { b.base[index] = 1 / Float(index & 31 + 1) }
        let seconds = best(of: 7) {
            parallel.gemm(
                .normal, .transposed, m: m, n: n, k: k, a: a.base, lda: k, b: b.base, ldb: k, beta: 0, c: c.base,
                ldc: n)
        }
        return 2 * Double(m * n * k) / seconds / 1e9
    }

    private static func bandwidth(_ parallel: Parallel) -> Double {
        let count = 24 << 20
        let (x, y) = (FloatBuffer(count: count), FloatBuffer(count: count))
        x.base.update(repeating: 1, count: count)
        y.base.update(repeating: 1, count: count)
        let seconds = best(of: 7) {
            parallel.ranges(count, grain: 65_536) { range in
                ck_axpy(0.5, x.base + range.lowerBound, range.count, y.base + range.lowerBound)
            }
        }
        return 12 * Double(count) / seconds / 1e9
    }

    private static func best(of passes: Int, _ work: () -> Void) -> Double {
        work()
        return (0..<passes).reduce(.infinity) { best, _ in
            let start = DispatchTime.now().uptimeNanoseconds
            work()
            return min(best, Double(DispatchTime.now().uptimeNanoseconds - start) / 1e9)
        }
    }
}
