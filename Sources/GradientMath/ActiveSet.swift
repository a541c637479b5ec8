import PluginKit

/// Exact solutions of small quadratic programs: every support is tried, smallest first, until one satisfies the
/// optimality conditions to rounding. Problems with several solutions give that with the smallest support.
public enum ActiveSet {
    /// Beyond this the number of supports, 2^m, is no longer small.
    static let largestProblem = 14

    /// - Parameters:
    ///   - solve: the stationary point with this support and by how much it violates the optimality conditions, in
    ///     relative terms; `nil` when the support gives none.
    /// - Returns: the solution of least violation, and the violation.
    public static func best(
        among candidates: [Int], _ solve: ([Int]) -> (solution: [Double], violation: Double)?
    ) throws -> (solution: [Double], violation: Double)? {
        guard candidates.count <= largestProblem else {
            throw PluginError(
                "the exact solver takes at most \(largestProblem) objectives, not \(candidates.count)")
        }
        var best: (solution: [Double], violation: Double)?
        for support in supports(of: candidates) {
            guard let found = solve(support), found.violation.isFinite else { continue }
            if found.violation <= cosineTolerance { return found }
            if found.violation < best?.violation ?? .infinity { best = found }
        }
        return best
    }

    /// All subsets, the smaller before the larger.
    private static func supports(of candidates: [Int]) -> [[Int]] {
        (0..<1 << candidates.count).sorted { ($0.nonzeroBitCount, $0) < ($1.nonzeroBitCount, $1) }.map { bits in
            candidates.indices.filter { bits >> $0 & 1 == 1 }.map { candidates[$0] }
        }
    }
}

extension Gram {
    /// The nearest vector to `sum_i t_i u_i` (unit gradients `u_i`) that has no negative inner product with any gradient:
    ///
    ///     min  s' C s    subject to    s >= t
    ///
    /// whose solution is characterised by `y = s - t >= 0`, `C s >= 0`, `y' C s = 0`.
    ///
    /// - Parameters:
    ///   - target: `t`, for the gradients that are not zero.
    ///   - fixed: a coordinate that needs no raising, or `nil`.
    /// - Returns: `y`; exactly zero when `t` conflicts with nothing.
    public func dualConeCorrection(_ target: [Double], fixed: Int? = nil) throws -> [Double] {
        let n = rows.count
        let unit = target.reduce(0) { max($0, abs($1)) }
        guard unit > 0 else { return [Double](repeating: 0, count: n) }
        let t = target.map { $0 / unit }
        let gradient = cosines.times(t)
        let found = try ActiveSet.best(among: (0..<n).filter { $0 != fixed }) { support in
            guard let raised = LinearSystem.solve(cosines, support: support, support.map { -gradient[$0] }) else {
                return nil
            }
            var y = [Double](repeating: 0, count: n)
            for (position, row) in support.enumerated() { y[row] = raised[position] }
            let slack = support.isEmpty ? gradient : cosines.times(zip(t, y).map { $0 + $1 })
            var violation = 0.0
            for row in 0..<n { violation = max(violation, -y[row], -slack[row]) }
            for row in support { violation = max(violation, abs(slack[row])) }
            return (y.map { max($0, 0) }, violation / y.reduce(1, max))
        }
        return (found?.solution ?? [Double](repeating: 0, count: n)).map { $0 * unit }
    }

    /// The point of least length in the convex hull of the gradients that are not zero, as weights that sum to 1.
    ///
    /// Optimal when `<g_i, d> >= |d|^2` for all `i`, with equality in the support. On a support that is a linear system
    /// in the weights and `|d|^2`, bordered by the sum, which also has its solution where the gradients cancel.
    public func leastNormInHull() throws -> [Double] {
        let n = rows.count
        let shortest = norms.min() ?? 1
        let inverse = norms.map { shortest / $0 }
        let found = try ActiveSet.best(among: Array(0..<n)) { support in
            guard !support.isEmpty else { return nil }
            let count = support.count
            var system = support.map { i in support.map { j in cosines[i, j] } + [-inverse[i]] }
            system.append(support.map { inverse[$0] } + [0])
            guard let solved = LinearSystem.solve(system, [Double](repeating: 0, count: count) + [1]) else {
                return nil
            }
            var s = [Double](repeating: 0, count: n)
            for (position, row) in support.enumerated() { s[row] = solved[position] }
            let products = cosines.times(s)
            var violation = 0.0
            for row in 0..<n { violation = max(violation, -s[row], solved[count] * inverse[row] - products[row]) }
            return (s.map { max($0, 0) }, violation / s.reduce(1, max))
        }
        var weights = zip(found?.solution ?? inverse.map { _ in 1 }, inverse).map { $0 * $1 }
        let sum = weights.reduce(0, +)
        for row in weights.indices { weights[row] /= sum }
        return weights
    }

    /// Whether some combination of the gradients that are not zero, with positive weights, vanishes: no direction then
    /// serves all of them.
    public func isStationary() throws -> Bool {
        let unit = Gram(size: rows.count) { cosines[$0, $1] }
        return cosines.quadratic(try unit.leastNormInHull()) <= Double(rows.count) * 0x1p-48
    }
}
