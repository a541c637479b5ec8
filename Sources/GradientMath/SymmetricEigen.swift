/// Eigenvalues and eigenvectors of a small symmetric matrix, by cyclic Jacobi rotations.
///
/// Rotations go on until every off-diagonal entry is below the rounding of its own diagonal pair, which keeps small
/// eigenvalues of badly scaled positive matrices relatively accurate (Demmel and Veselic 1992).
public struct SymmetricEigen {
    /// Descending.
    public let values: [Double]
    /// `vectors[k]` belongs to `values[k]`; orthonormal.
    public let vectors: [[Double]]

    public init(_ matrix: SymmetricMatrix) {
        let n = matrix.size
        var a = matrix.elements
        var v = SymmetricMatrix(size: n) { $0 == $1 ? 1 : 0 }.elements
        // Quadratic convergence: a handful of sweeps; the bound only guards against a matrix that is not finite.
        for _ in 0..<60 {
            var isDiagonal = true
            for p in 0..<n {
                for q in p + 1..<max(n, p + 1) {
                    let off = a[p * n + q]
                    let bound = 0x1p-53 * (abs(a[p * n + p]).squareRoot() * abs(a[q * n + q]).squareRoot())
                    guard abs(off) > bound else { continue }
                    isDiagonal = false
                    let theta = (a[q * n + q] - a[p * n + p]) / (2 * off)
                    let t =
                        theta.isFinite
                        ? (theta < 0 ? -1 : 1) / (abs(theta) + (theta * theta + 1).squareRoot()) : 0
                    let c = 1 / (t * t + 1).squareRoot()
                    let s = t * c
                    a[p * n + p] -= t * off
                    a[q * n + q] += t * off
                    a[p * n + q] = 0
                    a[q * n + p] = 0
                    for k in 0..<n where k != p && k != q {
                        let (x, y) = (a[k * n + p], a[k * n + q])
                        a[k * n + p] = c * x - s * y
                        a[p * n + k] = a[k * n + p]
                        a[k * n + q] = s * x + c * y
                        a[q * n + k] = a[k * n + q]
                    }
                    for k in 0..<n {
                        let (x, y) = (v[k * n + p], v[k * n + q])
                        v[k * n + p] = c * x - s * y
                        v[k * n + q] = s * x + c * y
                    }
                }
            }
            if isDiagonal { break }
        }
        let order = (0..<n).sorted { a[$0 * n + $0] > a[$1 * n + $1] }
        values = order.map { a[$0 * n + $0] }
        vectors = order.map { column in (0..<n).map { v[$0 * n + column] } }
    }

    /// Number of eigenvalues that are not rounding beside the largest.
    public var rank: Int {
        guard let largest = values.first, largest > 0 else { return 0 }
        return values.count { $0 > Double(values.count) * 0x1p-48 * largest }
    }

    /// `sum_k f(value_k) v_k v_k' x` over the `rank` largest eigenvalues.
    public func apply(_ x: [Double], rank: Int, _ f: (Double) -> Double) -> [Double] {
        var result = [Double](repeating: 0, count: x.count)
        for k in 0..<min(rank, values.count) {
            let scale = f(values[k]) * zip(vectors[k], x).reduce(0) { $0 + $1.0 * $1.1 }
            for i in result.indices { result[i] += scale * vectors[k][i] }
        }
        return result
    }
}

extension Gram {
    /// Dimension of what the gradients span; judged by their angles, so that a short gradient counts as much as a long one.
    public var rank: Int { SymmetricEigen(cosines).rank }

    /// `G^+ x` in units of the squared length of the longest gradient, `x` given for the gradients that are not zero.
    public func pseudoInverse(times x: [Double]) -> [Double] {
        let longest = norms.max() ?? 1
        let rank = self.rank
        if rank == rows.count,
            let solved = LinearSystem.solve(
                cosines, support: Array(rows.indices), rows.indices.map { x[$0] / (norms[$0] / longest) })
        {
            return rows.indices.map { solved[$0] / (norms[$0] / longest) }
        }
        return SymmetricEigen(scaled).apply(x, rank: rank) { 1 / $0 }
    }
}
