/// `A[S,S] = L D L'` of a symmetric positive definite matrix, for one support `S` after the other in the same memory.
final class CholeskyFactor<Scalar: RealNumber> {
    private let lower: UnsafeMutablePointer<Scalar>
    private let pivots: UnsafeMutablePointer<Scalar>
    private let capacity: Int
    private var size = 0

    /// - Parameter capacity: rows of the largest support.
    init(capacity: Int) {
        self.capacity = capacity
        lower = .allocate(capacity: capacity * capacity)
        pivots = .allocate(capacity: capacity)
    }

    deinit {
        lower.deallocate()
        pivots.deallocate()
    }

    /// The least pivot over its diagonal entry: about one over the square of how much a solution can be off. `nil` when a
    /// pivot is not above `least`: the matrix is singular, as far as its own rounding tells.
    ///
    /// - Parameter entry: read on and below the diagonal, by position in the support.
    func factor(_ count: Int, least: Double, _ entry: (Int, Int) -> Scalar) -> Double? {
        size = count
        var smallest = 1.0
        for i in 0..<count {
            for j in 0..<i {
                var sum = entry(i, j)
                for k in 0..<j { sum -= lower[i * capacity + k] * lower[j * capacity + k] * pivots[k] }
                lower[i * capacity + j] = sum / pivots[j]
            }
            let diagonal = entry(i, i)
            var pivot = diagonal
            for k in 0..<i { pivot -= lower[i * capacity + k] * lower[i * capacity + k] * pivots[k] }
            let share = (pivot / diagonal).double
            guard share > least else { return nil }
            smallest = min(smallest, share)
            pivots[i] = pivot
        }
        return smallest
    }

    /// Replaces the right-hand side by the solution.
    func solve(_ x: UnsafeMutablePointer<Scalar>) {
        for i in 0..<size { for k in 0..<i { x[i] -= lower[i * capacity + k] * x[k] } }
        for i in 0..<size { x[i] = x[i] / pivots[i] }
        for i in (0..<size).reversed() {
            var k = i + 1
            while k < size {
                x[i] -= lower[k * capacity + i] * x[k]
                k += 1
            }
        }
    }
}
