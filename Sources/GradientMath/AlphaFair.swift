extension Gram {
    /// Weights `w > 0` of the gradients that are not zero with
    ///
    ///     (G w)_i = w_i^(-p)            p = 1: the Nash bargaining solution; p = 1/alpha: alpha-fairness
    ///
    /// found by Newton's method on the convex `1/2 b' C b - sum_i k_i b_i^(1-p) / (1-p)`, where `b_i = |g_i| w_i` and
    /// `k_i = |g_i|^(p-1)`. `nil` when there is no solution: an objective has no gradient, or some positive combination of
    /// the gradients vanishes, so that no direction improves them all.
    public func alphaFairWeights(power p: Double) throws -> [Double]? {
        guard rows.count == size, try !isStationary() else { return nil }
        let n = rows.count
        let longest = norms.max() ?? 1
        let k = norms.map { power($0 / longest, p - 1) }
        // Exact for orthogonal gradients.
        var b = k.map { power($0, 1 / (1 + p)) }
        var error = Double.infinity
        for _ in 0..<500 {
            let product = cosines.times(b)
            // The equation's relative error; it stops falling when it has reached rounding.
            let next = (0..<n).reduce(0) { max($0, abs(product[$1] * power(b[$1], p) / k[$1] - 1)) }
            let isFalling = next < error
            error = min(error, next)
            guard next > 0x1p-52, isFalling || next > 0x1p-30 else { break }
            let gradient = (0..<n).map { product[$0] - k[$0] * power(b[$0], -p) }
            // Newton's system for the relative change of each weight.
            let scaledHessian = SymmetricMatrix(size: n) { i, j in
                b[i] * b[j] * cosines[i, j] + (i == j ? p * k[i] * power(b[i], 1 - p) : 0)
            }
            // Its diagonal is what varies most: with it divided out, pivots compare with one.
            let root = (0..<n).map { scaledHessian[$0, $0].squareRoot() }
            let system = SymmetricMatrix(size: n) { scaledHessian[$0, $1] / root[$0] / root[$1] }
            guard
                let step = LinearSystem.solve(
                    system, support: Array(0..<n), (0..<n).map { -b[$0] * gradient[$0] / root[$0] })
            else { break }
            let change = (0..<n).map { step[$0] / root[$0] }
            let largest = change.reduce(0) { max($0, abs($1)) }
            // Far away, half a weight at most: the logarithm's own scale.
            let length = largest > 0.5 ? 0.5 / largest : 1
            for row in 0..<n { b[row] *= 1 + length * change[row] }
        }
        guard error < 0x1p-20 else { return nil }
        let unit = power(longest, (p - 1) / (1 + p))
        return (0..<n).map { b[$0] * unit / norms[$0] }
    }
}
