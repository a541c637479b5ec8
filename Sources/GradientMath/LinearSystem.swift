/// Solves small dense systems; `nil` for a matrix that is singular to working precision.
public enum LinearSystem {
    /// A pivot below this, among entries of order one, is rounding.
    static let leastPivot = 0x1p-47

    /// Symmetric positive definite `A[S,S] x = b`, by Cholesky's method without square roots.
    public static func solve(_ matrix: SymmetricMatrix, support: [Int], _ right: [Double]) -> [Double]? {
        let n = support.count
        var lower = [Double](repeating: 0, count: n * n)
        var pivots = [Double](repeating: 0, count: n)
        for i in 0..<n {
            for j in 0...i {
                var sum = matrix[support[i], support[j]]
                for k in 0..<j { sum -= lower[i * n + k] * lower[j * n + k] * pivots[k] }
                if i == j {
                    guard sum > leastPivot * matrix[support[i], support[i]] else { return nil }
                    pivots[i] = sum
                } else {
                    lower[i * n + j] = sum / pivots[j]
                }
            }
        }
        var x = right
        for i in 0..<n { for k in 0..<i { x[i] -= lower[i * n + k] * x[k] } }
        for i in 0..<n { x[i] /= pivots[i] }
        for i in (0..<n).reversed() { for k in i + 1..<max(n, i + 1) { x[i] -= lower[k * n + i] * x[k] } }
        return x
    }

    /// General `n` by `n`, by elimination with row exchanges.
    public static func solve(_ rows: [[Double]], _ right: [Double]) -> [Double]? {
        let n = right.count
        var a = rows
        var b = right
        for column in 0..<n {
            guard let pivot = (column..<n).max(by: { abs(a[$0][column]) < abs(a[$1][column]) }),
                abs(a[pivot][column]) > leastPivot
            else { return nil }
            a.swapAt(column, pivot)
            b.swapAt(column, pivot)
            for row in column + 1..<max(n, column + 1) {
                let factor = a[row][column] / a[column][column]
                guard factor != 0 else { continue }
                for k in column..<n { a[row][k] -= factor * a[column][k] }
                b[row] -= factor * b[column]
            }
        }
        for row in (0..<n).reversed() {
            for k in row + 1..<max(n, row + 1) { b[row] -= a[row][k] * b[k] }
            b[row] /= a[row][row]
        }
        return b
    }
}
