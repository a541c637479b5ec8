import PluginKit

extension Gram {
    /// Weights `w > 0` of the gradients that are not zero with
    ///
    ///     (G w)_i = w_i^(-p)            p = 1: the Nash bargaining solution; p = 1/alpha: alpha-fairness
    ///
    /// exact but for rounding. `nil` when there is no solution: an objective has no gradient, or some positive combination
    /// of the gradients vanishes, so that no direction improves them all. Throws when the solution was not reached.
    public func alphaFairWeights(power p: Double) throws -> [Double]? {
        guard rows.count == size, try !isStationary() else { return nil }
        return try AlphaFair(self).weights(power: p)
    }
}

/// Newton's method for alpha-fair weights.
///
/// In the units `U` of the gradients, `b = U w`, `S = G / U U'` and `k_i = U_i^(p-1)`, the equations are
///
///     S b = r,      p log b_i + log r_i = log k_i
///
/// For `p = 1` they are the minimum of the self-concordant `1/2 b' S b - sum_i log b_i`, which Newton's method with a line
/// search finds from anywhere. From there `p` is halved or doubled until it has its value, each time with a few steps in the
/// logarithms of both `b` and `r`. Next to opposed gradients, and for large `p`, `S b` is what little is left of terms that
/// cancel: `b` has 106 bits, and so has the product.
private final class AlphaFair {
    private let n: Int
    private let matrix: SymmetricMatrix
    private let units: [Double]
    private let longest: Double
    private var b: [DoubleDouble]
    /// `S b`, as the logarithmic steps have it.
    private var r: [Double]
    /// `log b`, which may be below what `b` can hold.
    private var logarithms: [Double]
    /// The last step of `log b` and of `log r`.
    private var change: [Double]
    private var reaction: [Double]
    private var right: [Double]
    private let rough: CholeskyFactor<Double>

    /// The least `log b`: below it a weight is nothing beside the others.
    private static let floor = -600.0

    init(_ gram: Gram) {
        n = gram.rows.count
        matrix = gram.balanced
        units = gram.units
        longest = gram.units.max() ?? 1
        b = [DoubleDouble](repeating: DoubleDouble(1), count: n)
        r = [Double](repeating: 1, count: n)
        logarithms = [Double](repeating: 0, count: n)
        change = [Double](repeating: 0, count: n)
        reaction = change
        right = change
        rough = CholeskyFactor(capacity: n)
    }

    func weights(power p: Double) throws -> [Double] {
        try bargain()
        for row in 0..<n {
            r[row] = 1 / b[row].high
            logarithms[row] = logarithm(b[row].high)
        }
        // The last power is reached exactly: halves and doubles of one are, and the end is given.
        var current = 1.0
        while true {
            try settle(power: current, isLast: current == p)
            if current == p { break }
            current = p < current ? max(p, current / 2) : min(p, current * 2)
        }
        let unit = power(longest, (p - 1) / (1 + p))
        return (0..<n).map {
            (logarithms[$0] > Self.floor ? b[$0].high : exponential(logarithms[$0])) * unit / units[$0]
        }
    }

    /// `(S b)_i`
    private func product(_ row: Int) -> DoubleDouble {
        var sum = DoubleDouble(0)
        for other in 0..<n { sum += b[other] * DoubleDouble(matrix[row, other]) }
        return sum
    }

    // MARK: - p = 1

    /// The minimum of `1/2 b' S b - sum_i log b_i`, up to where Newton's method converges by itself.
    private func bargain() throws {
        var square = 0.0
        for row in 0..<n { square += product(row).high }
        if square > 0x1p-40 {
            let start = (Double(n) / square).squareRoot()
            for row in 0..<n { b[row] = DoubleDouble(start) }
        }
        for _ in 0..<200 {
            for row in 0..<n {
                r[row] = 1 / b[row].high
                right[row] = (DoubleDouble(1) - b[row] * product(row)).high
            }
            try solve(damping: 1)
            // The square of Newton's decrement.
            var decrement = 0.0
            for row in 0..<n { decrement += change[row] * right[row] }
            let length = decrement < 0x1p-7 ? 1 : lineSearch(decrement)
            for row in 0..<n { b[row] = b[row] * (DoubleDouble(1) + DoubleDouble(length * change[row])) }
            if decrement < 0x1p-7 { return }
        }
        throw notReached()
    }

    /// The length of step at which the minimum along `change` lies, roughly.
    private func lineSearch(_ decrement: Double) -> Double {
        // Along b + t db the function is t db'Sb + t^2/2 db'S db - sum_i log(1 + t change_i).
        var (linear, quadratic, steepest) = (0.0, 0.0, 0.0)
        for row in 0..<n {
            let step = change[row] * b[row].high
            for other in 0..<n { quadratic += step * matrix[row, other] * change[other] * b[other].high }
            linear += change[row] * (1 - right[row])
            steepest = max(steepest, -change[row])
        }
        var t = 1 / (1 + decrement.squareRoot())
        for _ in 0..<20 {
            var (slope, curvature) = (linear + t * quadratic, quadratic)
            for row in 0..<n {
                let share = change[row] / (1 + t * change[row])
                slope -= share
                curvature += share * share
            }
            var next = t - slope / curvature
            if !(next > 0) { next = t / 2 }
            // No weight may vanish.
            if next * steepest >= 1 { next = (t + 1 / steepest) / 2 }
            let isClose = abs(next - t) < 0x1p-6 * t
            t = next
            if isClose { break }
        }
        return t
    }

    // MARK: - Any p

    /// Steps in the logarithms until they are rounding, or, for a `p` on the way, until they are small.
    private func settle(power p: Double, isLast: Bool) throws {
        var last = Double.infinity
        for _ in 0..<100 {
            for row in 0..<n {
                let rest = distance(row, p)
                right[row] = b[row].high * ((DoubleDouble(r[row]) - product(row)).high + r[row] * rest)
            }
            try solve(damping: p)
            var (largest, furthest) = (0.0, 0.0)
            for row in 0..<n {
                reaction[row] = distance(row, p) - p * change[row]
                largest = max(largest, abs(change[row]), abs(reaction[row]))
                furthest = max(furthest, change[row], abs(reaction[row]))
            }
            guard largest.isFinite else { break }
            // A weight may fall as far as it likes: it is only ever nothing beside the others.
            let length = furthest > 4 ? 4 / furthest : 1
            for row in 0..<n { move(row, by: length) }
            if !isLast, largest < 0.1 { return }
            if largest < 0x1p-50 || (largest < 0x1p-33 && largest >= last) { return }
            last = largest
        }
        throw notReached()
    }

    /// How far `p log b + log r` is from what it should be.
    private func distance(_ row: Int, _ p: Double) -> Double {
        (p - 1) * logarithm(units[row] / longest) - p * logarithms[row] - logarithm(r[row])
    }

    private func move(_ row: Int, by length: Double) {
        let step = length * change[row]
        let wasHeld = logarithms[row] > Self.floor
        logarithms[row] += step
        r[row] *= exponential(length * reaction[row])
        guard logarithms[row] > Self.floor else {
            b[row] = DoubleDouble(exponential(Self.floor))
            return
        }
        if wasHeld, abs(step) < 1 {
            b[row] = b[row] * (DoubleDouble(1) + DoubleDouble(exponentialMinusOne(step)))
            logarithms[row] = logarithm(b[row].high)
        } else {
            b[row] = DoubleDouble(exponential(logarithms[row]))
        }
    }

    /// Newton's system for the relative change: `(B S B + p B R) change = right`.
    private func solve(damping p: Double) throws {
        func diagonal(_ row: Int) -> Double {
            let own = b[row].high
            return own * own * matrix[row, row] + p * own * r[row]
        }
        for row in 0..<n { reaction[row] = 1 / diagonal(row).squareRoot() }
        // With the diagonal divided out, which is what varies most, pivots compare with one.
        let pivot = rough.factor(n, least: 0x1p-30) { [self] i, j in
            i == j ? 1 : (reaction[i] * b[i].high) * (reaction[j] * b[j].high) * matrix[i, j]
        }
        if pivot != nil {
            for row in 0..<n { change[row] = reaction[row] * right[row] }
            change.withUnsafeMutableBufferPointer { buffer in buffer.baseAddress.map { rough.solve($0) } ?? () }
            for row in 0..<n { change[row] *= reaction[row] }
            return
        }
        let exact = CholeskyFactor<DoubleDouble>(capacity: n)
        let scale = reaction.map { DoubleDouble($0) }
        let isSolvable = exact.factor(n, least: 0) { [self] i, j in
            let entry = (scale[i] * b[i]) * (scale[j] * b[j]) * DoubleDouble(matrix[i, j])
            return i == j ? entry + scale[i] * scale[i] * DoubleDouble(product: p * b[i].high, r[i]) : entry
        }
        guard isSolvable != nil else { throw notReached() }
        var solved = (0..<n).map { scale[$0] * DoubleDouble(right[$0]) }
        solved.withUnsafeMutableBufferPointer { buffer in buffer.baseAddress.map { exact.solve($0) } ?? () }
        for row in 0..<n { change[row] = (scale[row] * solved[row]).high }
    }

    private func notReached() -> PluginError {
        PluginError(
            "the weights' equations were not solved: the gradients are too close to opposing each other. Use another scope, "
                + "or another strategy")
    }
}
