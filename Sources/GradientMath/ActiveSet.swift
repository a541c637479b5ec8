import PluginKit

/// Exact solutions of small quadratic programs: every support is tried, smallest first, until one satisfies the
/// optimality conditions to rounding. Problems with several solutions give that with the smallest support.
public enum ActiveSet {
    /// Beyond this the number of supports, 2^m, is no longer small.
    static let largestProblem = 14
    /// A violation that is no longer rounding: where a distance between directions is lost in the cosine, the violation is
    /// the distance, the square root of what is lost.
    static let largestViolation = 0x1p-20

    /// - Parameters:
    ///   - solve: the stationary point with this support and by how much it violates the optimality conditions, in
    ///     relative terms; `nil` when the support gives none.
    /// - Returns: the solution of least violation, and the violation.
    public static func best(
        among candidates: [Int], _ solve: ([Int]) -> (solution: [Double], violation: Double)?
    ) throws -> (solution: [Double], violation: Double)? {
        guard candidates.count <= largestProblem else {
            throw PluginError(
                "the exact solver takes at most \(largestProblem) dependent objectives, not \(candidates.count)")
        }
        var best: (solution: [Double], violation: Double)?
        for size in 0...candidates.count {
            // The subsets of this size in ascending order (Gosper).
            var bits = 1 << size - 1
            while bits < 1 << candidates.count {
                if let found = solve(candidates.indices.filter { bits >> $0 & 1 == 1 }.map { candidates[$0] }),
                    found.violation.isFinite
                {
                    if found.violation <= cosineTolerance { return found }
                    if found.violation < best?.violation ?? .infinity { best = found }
                }
                guard bits > 0 else { break }
                let lowest = bits & -bits
                let carried = bits + lowest
                bits = ((bits ^ carried) >> 2) / lowest | carried
            }
        }
        return best
    }

    /// The solution of least violation; throws when even that is none.
    static func solution(
        of problem: String, among candidates: [Int], _ solve: ([Int]) -> (solution: [Double], violation: Double)?
    ) throws -> [Double] {
        guard let found = try best(among: candidates, solve), found.violation <= largestViolation else {
            throw PluginError(
                "\(problem) has no solution to working precision: the gradients nearly depend on each other. "
                    + "Use another scope, or a strategy without a linear system (Sum, PCGrad)")
        }
        return found.solution
    }
}

extension Gram {
    /// The nearest vector to `sum_i t_i g_i` that has no negative inner product with any gradient:
    ///
    ///     min  v' G v    subject to    v >= t
    ///
    /// whose solution is characterised by `y = v - t >= 0`, `G v >= 0`, `y' G v = 0`.
    ///
    /// - Parameter target: `t`, for the gradients that are not zero.
    /// - Returns: `y`; exactly zero when `t` conflicts with nothing.
    public func dualConeCorrection(_ target: [Double]) throws -> [Double] {
        let projection = ConeProjection(self)
        try projection.correct(target)
        return projection.added
    }

    /// The point of least length in the convex hull of the gradients that are not zero, as weights that sum to 1.
    ///
    /// A direction of it has `<g_i, z> >= 1` for all `i`, with equality in the support, and least length.
    public func leastNormInHull() throws -> [Double] {
        let n = rows.count
        guard n > 0 else { return [] }
        let shortest = units.min() ?? 1
        let problem = NonnegativeQuadratic(balanced)
        for row in 0..<n { problem.q[row] = DoubleDouble(-shortest / units[row]) }
        var weights: [Double]
        if problem.solve() {
            weights = (0..<n).map { problem.y[$0] * (shortest / units[$0]) }
        } else {
            weights = try dependentLeastNorm()
        }
        let sum = weights.reduce(0, +)
        for row in weights.indices { weights[row] /= sum }
        return weights
    }

    /// ``leastNormInHull()`` of gradients that depend on each other, not yet normalised.
    ///
    /// Optimal when `<g_i, d> >= |d|^2` for all `i`, with equality in the support. On a support that is a linear system
    /// in the weights and `|d|^2`, bordered by the sum, which also has its solution where the gradients cancel.
    private func dependentLeastNorm() throws -> [Double] {
        let n = rows.count
        let shortest = norms.min() ?? 1
        let inverse = norms.map { shortest / $0 }
        if let found = nearestPoint(inverse) { return zip(found, inverse).map { $0 * $1 } }
        let found = try ActiveSet.solution(of: "the shortest vector in the gradients' hull", among: Array(0..<n)) {
            support in
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
        return zip(found, inverse).map { $0 * $1 }
    }

    /// Wolfe's algorithm (1976): from the shortest gradient on, the one that is furthest behind the plane of the others joins
    /// them, and whatever would get a negative weight leaves. Coefficients of unit gradients; `nil` where the supports it
    /// goes through do not lead to a solution to rounding.
    private func nearestPoint(_ inverse: [Double]) -> [Double]? {
        let n = rows.count
        var support = [inverse.indices.max { inverse[$0] < inverse[$1] } ?? 0]
        var s = [Double](repeating: 0, count: n)
        s[support[0]] = 1 / inverse[support[0]]
        for _ in 0..<8 * n {
            let count = support.count
            var system = support.map { i in support.map { j in cosines[i, j] } + [-inverse[i]] }
            system.append(support.map { inverse[$0] } + [0])
            guard let solved = LinearSystem.solve(system, [Double](repeating: 0, count: count) + [1]) else {
                return nil
            }
            // As far towards it as all weights stay positive.
            var length = 1.0
            for (position, row) in support.enumerated() where solved[position] < 0 {
                length = min(length, s[row] / (s[row] - solved[position]))
            }
            for (position, row) in support.enumerated() {
                s[row] = max(s[row] + length * (solved[position] - s[row]), 0)
                if length < 1, solved[position] < 0, s[row] <= 0x1p-50 * abs(solved[position]) { s[row] = 0 }
            }
            guard length == 1 else {
                let remaining = support.filter { s[$0] > 0 }
                guard remaining.count < count, !remaining.isEmpty else { return nil }
                support = remaining
                continue
            }
            let products = cosines.times(s)
            let behind = (0..<n).map { solved[count] * inverse[$0] - products[$0] }
            guard let furthest = behind.indices.max(by: { behind[$0] < behind[$1] }),
                behind[furthest] > cosineTolerance * s.reduce(1, max)
            else { return s }
            guard !support.contains(furthest) else { return nil }
            support = (support + [furthest]).sorted()
        }
        return nil
    }

    /// What is rounding of a Gram matrix given with 53 bits, beside cosines, per gradient.
    static let dependence = 0x1p-51

    /// Whether some combination of the gradients that are not zero, with positive weights, vanishes: no direction then
    /// serves all of them.
    public func isStationary() throws -> Bool {
        let unit = Gram(size: rows.count) { cosines[$0, $1] }
        return cosines.quadratic(try unit.leastNormInHull()) <= Double(rows.count) * Self.dependence
    }
}

/// ``Gram/dualConeCorrection(_:)`` for several targets in the same memory.
public final class ConeProjection {
    private let gram: Gram
    private let problem: NonnegativeQuadratic
    /// `y` of the last target.
    public private(set) var added: [Double]

    /// Takes the memory that every target needs.
    public init(_ gram: Gram) {
        self.gram = gram
        problem = NonnegativeQuadratic(gram.balanced)
        added = [Double](repeating: 0, count: gram.rows.count)
    }

    /// Fills ``added``, for a target as in ``Gram/dualConeCorrection(_:)``.
    public func correct(_ target: [Double]) throws {
        var unit = 0.0
        for row in added.indices {
            unit = max(unit, abs(target[row]) * gram.units[row])
            added[row] = 0
        }
        guard unit > 0 else { return }
        for row in added.indices {
            var sum = DoubleDouble(0)
            for other in added.indices where target[other] != 0 {
                sum += DoubleDouble(
                    product: gram.balanced[row, other], target[other] * gram.units[other] / unit)
            }
            problem.q[row] = sum
        }
        try correct(unit: unit, fixed: nil) { target[$0] * (gram.norms[$0] / unit) }
    }

    /// Fills ``added`` for the gradient `row` itself.
    public func correct(row: Int) throws {
        for other in added.indices {
            added[other] = 0
            problem.q[other] = DoubleDouble(gram.balanced[other, row])
        }
        // Its own inner product cannot become negative.
        try correct(unit: gram.units[row], fixed: row) { $0 == row ? gram.norms[row] / gram.units[row] : 0 }
    }

    private func correct(unit: Double, fixed: Int?, _ scaled: (Int) -> Double) throws {
        guard added.indices.contains(where: { $0 != fixed && problem.q[$0].high < -cosineTolerance }) else { return }
        if problem.solve(fixed: fixed) {
            for row in added.indices { added[row] = problem.y[row] * (unit / gram.units[row]) }
        } else {
            let raised = try dependent(added.indices.map(scaled), fixed)
            for row in added.indices { added[row] = raised[row] * (unit / gram.norms[row]) }
        }
    }

    /// Of gradients that depend on each other; in coefficients of unit gradients.
    private func dependent(_ t: [Double], _ fixed: Int?) throws -> [Double] {
        let (n, cosines) = (t.count, gram.cosines)
        let gradient = cosines.times(t)
        let candidates = (0..<n).filter { $0 != fixed }
        return try ActiveSet.solution(of: "the projection to a vector without conflicts", among: candidates) {
            support in
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
    }
}
