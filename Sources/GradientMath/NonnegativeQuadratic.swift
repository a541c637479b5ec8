/// The minimum of `1/2 y' S y + q' y` over `y >= 0`, of a symmetric positive definite `S`:
///
///     y >= 0,    S y + q >= 0,    y' (S y + q) = 0
///
/// by principal pivoting: whatever violates a condition changes sides (Kostreva 1978; Judice and Pires 1994). The signs are
/// decided with 53 bits where they are clear and with 106 where they are not, so that the support is that of the numbers
/// given, and `y` is exact but for its own rounding. Memory is taken once, for any number of `q`.
final class NonnegativeQuadratic {
    let size: Int
    /// To be filled in before every call of ``solve(fixed:)``.
    let q: UnsafeMutablePointer<DoubleDouble>
    /// The solution.
    let y: UnsafeMutablePointer<Double>
    private let matrix: SymmetricMatrix
    private let rough: PrincipalPivoting<Double>
    private lazy var exact = PrincipalPivoting<DoubleDouble>(matrix)

    init(_ matrix: SymmetricMatrix) {
        self.matrix = matrix
        size = matrix.size
        q = .allocate(capacity: max(size, 1))
        q.initialize(repeating: DoubleDouble(0), count: size)
        y = .allocate(capacity: max(size, 1))
        y.initialize(repeating: 0, count: size)
        rough = PrincipalPivoting(matrix)
    }

    deinit {
        q.deallocate()
        y.deallocate()
    }

    /// - Parameter fixed: an element of `y` that is 0 whatever its condition says, or `nil`.
    /// - Returns: whether there is a solution: not when a matrix on the way is singular to its own rounding.
    func solve(fixed: Int? = nil) -> Bool {
        if rough.solve(q, fixed: fixed), rough.isClear {
            rough.refine(q)
            for i in 0..<size { y[i] = rough.y[i] }
            return true
        }
        guard exact.solve(q, fixed: fixed) else { return false }
        for i in 0..<size { y[i] = exact.y[i].double }
        return true
    }
}

/// Principal pivoting in one precision.
private final class PrincipalPivoting<Scalar: RealNumber> {
    private let size: Int
    private let matrix: UnsafeMutablePointer<Double>
    private let factor: CholeskyFactor<Scalar>
    /// Rows of the support, ascending, and how many.
    private let support: UnsafeMutablePointer<Int>
    private var count = 0
    private let solved: UnsafeMutablePointer<Scalar>
    let y: UnsafeMutablePointer<Scalar>
    /// `S y + q` off the support.
    private let slack: UnsafeMutablePointer<Scalar>
    private var leastPivot = 1.0
    /// Whether every sign is beyond what rounding may have done to it.
    private(set) var isClear = false

    init(_ matrix: SymmetricMatrix) {
        size = matrix.size
        let capacity = max(size, 1)
        self.matrix = .allocate(capacity: capacity * capacity)
        for i in 0..<size { for j in 0..<size { self.matrix[i * size + j] = matrix[i, j] } }
        factor = CholeskyFactor(capacity: capacity)
        support = .allocate(capacity: capacity)
        solved = .allocate(capacity: capacity)
        y = .allocate(capacity: capacity)
        slack = .allocate(capacity: capacity)
    }

    deinit {
        matrix.deallocate()
        support.deallocate()
        solved.deallocate()
        y.deallocate()
        slack.deallocate()
    }

    /// - Returns: `false` when a matrix is singular or the supports go in a circle.
    func solve(_ q: UnsafePointer<DoubleDouble>, fixed: Int?) -> Bool {
        var members: UInt64 = 0
        var fewest = size + 1
        var patience = 3
        // With one change at a time the end is certain; the bound is for signs that rounding decides.
        for _ in 0..<8 * size + 16 {
            guard stationary(members, q) else { return false }
            var wrong: UInt64 = 0
            for i in 0..<size where i != fixed {
                let value = members >> UInt64(i) & 1 == 1 ? y[i] : slack[i]
                if value < Scalar(0) { wrong |= 1 << UInt64(i) }
            }
            guard wrong != 0 else {
                isClear = areSignsClear(members, q, fixed)
                return true
            }
            if wrong.nonzeroBitCount < fewest {
                fewest = wrong.nonzeroBitCount
                patience = 3
                members ^= wrong
            } else if patience > 0 {
                patience -= 1
                members ^= wrong
            } else {
                members ^= 1 << UInt64(63 - wrong.leadingZeroBitCount)
            }
        }
        return false
    }

    /// `y` and the slacks on a support.
    private func stationary(_ members: UInt64, _ q: UnsafePointer<DoubleDouble>) -> Bool {
        count = 0
        for i in 0..<size where members >> UInt64(i) & 1 == 1 {
            support[count] = i
            count += 1
        }
        guard
            let pivot = factor.factor(
                count, least: Gram.dependence,
                { [support, matrix, size] in Scalar(matrix[support[$0] * size + support[$1]]) })
        else { return false }
        leastPivot = pivot
        for k in 0..<count { solved[k] = -Scalar(q[support[k]]) }
        factor.solve(solved)
        for i in 0..<size { y[i] = Scalar(0) }
        for k in 0..<count { y[support[k]] = solved[k] }
        for i in 0..<size where members >> UInt64(i) & 1 == 0 {
            var sum = Scalar(q[i])
            for k in 0..<count { sum += Scalar(matrix[i * size + support[k]]) * solved[k] }
            slack[i] = sum
        }
        return true
    }

    private func areSignsClear(_ members: UInt64, _ q: UnsafePointer<DoubleDouble>, _ fixed: Int?) -> Bool {
        guard leastPivot > 0x1p-16 else { return false }
        var largest = 0.0
        for k in 0..<count { largest = max(largest, solved[k].double) }
        for i in 0..<size where i != fixed {
            if members >> UInt64(i) & 1 == 1 {
                guard y[i].double > 0x1p-20 * largest else { return false }
            } else {
                guard slack[i].double > 0x1p-20 * max(abs(q[i].high), largest) else { return false }
            }
        }
        return true
    }

    /// One step of iterative refinement.
    func refine(_ q: UnsafePointer<DoubleDouble>) {
        for k in 0..<count {
            let row = support[k]
            var rest = -q[row]
            for other in 0..<count {
                rest -= DoubleDouble(product: matrix[row * size + support[other]], y[support[other]].double)
            }
            solved[k] = Scalar(rest)
        }
        factor.solve(solved)
        for k in 0..<count { y[support[k]] += solved[k] }
    }
}
