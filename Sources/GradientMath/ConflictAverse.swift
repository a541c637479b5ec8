import PluginKit

extension Gram {
    /// What is added to `g_0 = sum_i u_i g_i` for the step whose worst objective improves most near it:
    ///
    ///     max_d  min_i <g_i, d>     subject to    |d - g_0| <= c |g_0|
    ///
    /// Where the ball limits the step, `d = g_0 + z` is the nearest vector to `g_0` with `<g_i, d> >= mu` for all `i`, and
    /// `mu` the level at which that is `c |g_0|` away. On a support `mu` is the root of a quadratic equation; the support of
    /// one level gives the next, which ends where they belong together. Where the ball does not limit it, the worst
    /// objective cannot improve at all, and the nearest step that makes none worse is taken.
    ///
    /// - Parameters:
    ///   - center: `u`, for the gradients that are not zero; `g_0` is not zero.
    ///   - radius: `c`, above 0.
    /// - Returns: weights of the gradients that are not zero, none negative.
    public func conflictAverseStep(from center: [Double], radius: Double) throws -> [Double] {
        let n = rows.count
        let unit = rows.indices.reduce(0) { max($0, abs(center[$1] * units[$1])) }
        let scaled = (0..<n).map { DoubleDouble(center[$0] * units[$0] / unit) }
        let length = balanced.quadratic(scaled).squareRoot()
        // In lengths of the center from here on.
        let products = balanced.times(scaled).map { $0 / length }
        let reach = unit * length.high
        if let z = limitedByBall(products, radius) { return (0..<n).map { z[$0] * (reach / units[$0]) } }
        let added = try dependentStep(center.indices.map { center[$0] * norms[$0] / reach }, radius)
        return (0..<n).map { added[$0] * (reach / norms[$0]) }
    }

    /// `z` in gradients over their units; `nil` where gradients depend on each other.
    private func limitedByBall(_ products: [DoubleDouble], _ radius: Double) -> [Double]? {
        let n = rows.count
        let shortest = units.min() ?? 1
        let inverse = units.map { shortest / $0 }
        let problem = NonnegativeQuadratic(balanced)
        let factor = CholeskyFactor<DoubleDouble>(capacity: n)
        // The distance grows with the level, from 0 on. No step is longer than 1 + c, so no level is higher.
        var low = rows.indices.map { products[$0] / DoubleDouble(inverse[$0]) }.min() ?? DoubleDouble(0)
        var high = DoubleDouble((1 + radius) * (norms.min() ?? 1) / shortest)
        var level = high
        var previous: [Int]?
        for _ in 0..<200 {
            for row in 0..<n { problem.q[row] = products[row] - level * DoubleDouble(inverse[row]) }
            guard problem.solve() else { return nil }
            let support = (0..<n).filter { problem.y[$0] > 0 }
            if support == previous { return (0..<n).map { problem.y[$0] } }
            previous = support
            let distance = balanced.quadratic((0..<n).map { problem.y[$0] })
            if distance > radius * radius { high = level } else { low = level }
            guard !support.isEmpty else {
                level = (low + high) * DoubleDouble(0.5)
                continue
            }
            guard factor.factor(support.count, least: 0, { DoubleDouble(balanced[support[$0], support[$1]]) }) != nil
            else {
                return nil
            }
            var a = support.map { DoubleDouble(inverse[$0]) }
            var b = support.map { products[$0] }
            a.withUnsafeMutableBufferPointer { buffer in buffer.baseAddress.map { factor.solve($0) } ?? () }
            b.withUnsafeMutableBufferPointer { buffer in buffer.baseAddress.map { factor.solve($0) } ?? () }
            var (aa, ab, bb) = (DoubleDouble(0), DoubleDouble(0), DoubleDouble(0))
            for (position, row) in support.enumerated() {
                aa += a[position] * DoubleDouble(inverse[row])
                ab += a[position] * products[row]
                bb += b[position] * products[row]
            }
            // |z|^2 = aa level^2 - 2 ab level + bb
            let root = (aa * DoubleDouble(product: radius, radius) - (aa * bb - ab * ab)).squareRoot()
            level = (ab + root) / aa
            // On another support than that of the solution the root may be anywhere.
            if !(low <= level && level <= high) {
                level = (low + high) * DoubleDouble(0.5)
                previous = nil
            }
        }
        return nil
    }

    /// The same by trying every support; in coefficients of unit gradients, `center` of length 1.
    private func dependentStep(_ center: [Double], _ radius: Double) throws -> [Double] {
        let n = rows.count
        let shortest = norms.min() ?? 1
        let inverse = norms.map { shortest / $0 }
        let products = cosines.times(center)
        let found = try ActiveSet.best(among: Array(0..<n)) { support in
            guard !support.isEmpty,
                let a = LinearSystem.solve(cosines, support: support, support.map { inverse[$0] }),
                let b = LinearSystem.solve(cosines, support: support, support.map { products[$0] })
            else { return nil }
            func sum(_ x: [Double], _ y: [Double]) -> Double {
                support.indices.reduce(0) { $0 + x[$1] * y[support[$1]] }
            }
            let (aa, ab, bb) = (sum(a, inverse), sum(a, products), sum(b, products))
            let root = max(aa * radius * radius - max(aa * bb - ab * ab, 0), 0).squareRoot()
            let level = (ab + root) / aa
            var z = [Double](repeating: 0, count: n)
            for (position, row) in support.enumerated() { z[row] = level * a[position] - b[position] }
            let reached = cosines.times(zip(center, z).map { $0 + $1 })
            var violation = abs(max(cosines.quadratic(z), 0).squareRoot() - radius)
            for row in 0..<n { violation = max(violation, -z[row], level * inverse[row] - reached[row]) }
            return (z.map { max($0, 0) }, violation / z.reduce(max(1, radius), max))
        }
        if let found, found.violation < 0x1p-30 { return found.solution }
        guard try isStationary() else {
            if let found, found.violation <= ActiveSet.largestViolation { return found.solution }
            throw PluginError(
                "the step whose worst objective improves most was not found: the gradients nearly depend on each other. "
                    + "Use another scope, or another strategy")
        }
        let correction = try zip(dualConeCorrection(zip(center, norms).map { $0 / $1 }), norms).map { $0 * $1 }
        // Where rounding decides which case this is, the step still stays in the ball.
        let length = max(cosines.quadratic(correction), 0).squareRoot()
        return length > radius ? correction.map { $0 / length * radius } : correction
    }
}
