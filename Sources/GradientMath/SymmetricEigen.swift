/// Eigenvalues and eigenvectors of a small symmetric matrix, by cyclic Jacobi rotations.
///
/// Rotations go on until every off-diagonal entry is below the rounding of its own diagonal pair, which keeps small
/// eigenvalues of badly scaled positive matrices relatively accurate (Demmel and Veselic 1992).
struct SymmetricEigen<Scalar: RealNumber> {
    /// Descending.
    let values: [Scalar]
    /// `vectors[k]` belongs to `values[k]`; orthonormal.
    let vectors: [[Scalar]]

    init(_ matrix: SymmetricMatrix) {
        let n = matrix.size
        var a = matrix.elements.map { Scalar($0) }
        var v = (0..<n * n).map { Scalar($0 % (n + 1) == 0 ? 1 : 0) }
        // Quadratic convergence: a handful of sweeps. What goes on turning after that are the vectors of eigenvalues that are
        // zero, whose diagonal is rounding and no measure of anything.
        for _ in 0..<20 {
            var isDiagonal = true
            for p in 0..<n {
                for q in p + 1..<max(n, p + 1) {
                    let off = a[p * n + q]
                    let bound =
                        Scalar.roundOff
                        * (abs(a[p * n + p].double).squareRoot() * abs(a[q * n + q].double).squareRoot())
                    guard abs(off.double) > bound else { continue }
                    isDiagonal = false
                    let theta = (a[q * n + q] - a[p * n + p]) / (off + off)
                    // Beyond the bound the angle is nothing beside 1, and its square no number.
                    let t =
                        abs(theta.double) < 0x1p500
                        ? Scalar(theta.double < 0 ? -1 : 1)
                            / ((theta < Scalar(0) ? -theta : theta) + (theta * theta + Scalar(1)).squareRoot())
                        : Scalar(0)
                    let c = Scalar(1) / (t * t + Scalar(1)).squareRoot()
                    let s = t * c
                    a[p * n + p] -= t * off
                    a[q * n + q] += t * off
                    a[p * n + q] = Scalar(0)
                    a[q * n + p] = Scalar(0)
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

    /// Number of eigenvalues that are not rounding, of a matrix of cosines given with 53 bits.
    var rank: Int { values.count { $0.double > Double(values.count) * Gram.dependence } }

    /// `sum_k f_k v_k v_k' x` over as many of the largest eigenvalues as there are factors.
    func apply(_ x: [Double], factors: [Double]) -> [Double] {
        var result = x.map { _ in Scalar(0) }
        for (k, factor) in factors.enumerated() {
            let scale = zip(vectors[k], x).reduce(Scalar(0)) { $0 + $1.0 * Scalar($1.1) } * Scalar(factor)
            for i in result.indices { result[i] += scale * vectors[k][i] }
        }
        return result.map(\.double)
    }
}

extension Gram {
    /// Dimension of what the gradients span; judged by their angles, so that a short gradient counts as much as a long one.
    public var rank: Int {
        // A decomposition without a small pivot is the quicker answer.
        let factor = CholeskyFactor<Double>(capacity: max(rows.count, 1))
        if factor.factor(rows.count, least: 0x1p-24, { cosines[$0, $1] }) != nil { return rows.count }
        return SymmetricEigen<Double>(cosines).rank
    }

    /// `V f(L) V' x` of the Gram matrix `G = V L V'`, over the eigenvalues that are not zero.
    ///
    /// - Parameters:
    ///   - x: one number per gradient that is not zero.
    ///   - f: the factor of every eigenvalue, which are given descending and in units of the square of a power of two next
    ///     below the longest gradient's length.
    public func applySpectrum(to x: [Double], _ f: ([Double]) -> [Double]) -> [Double] {
        guard !rows.isEmpty else { return [] }
        let longest = units.max() ?? 1
        let scaled = SymmetricMatrix(size: rows.count) {
            balanced[$0, $1] * (units[$0] / longest) * (units[$1] / longest)
        }
        let rank = self.rank
        let eigen = SymmetricEigen<Double>(scaled)
        if rank == 0 || eigen.values[0] < 0x1p12 * eigen.values[rank - 1] {
            return eigen.apply(x, factors: f(Array(eigen.values[..<rank])))
        }
        // The small eigenvalues have lost digits to the large ones.
        let exact = SymmetricEigen<DoubleDouble>(scaled)
        return exact.apply(x, factors: f(exact.values[..<rank].map { max($0.double, .leastNormalMagnitude) }))
    }

    /// `U C^-1 w` of the matrix `C` of cosines, `U` the units over the lengths: the direction whose cosines with the
    /// gradients are in proportion to `w`, in weights of the gradients over their units. `nil` for gradients that depend on
    /// each other.
    ///
    /// - Parameter wanted: `w`, for the gradients that are not zero.
    public func direction(withCosines wanted: [Double]) -> [DoubleDouble]? {
        let n = rows.count
        guard n > 0, rank == n else { return nil }
        let factor = CholeskyFactor<DoubleDouble>(capacity: n)
        guard factor.factor(n, least: 0, { DoubleDouble(balanced[$0, $1]) }) != nil else { return nil }
        var x = (0..<n).map { DoubleDouble(balanced[$0, $0]).squareRoot() * DoubleDouble(wanted[$0]) }
        x.withUnsafeMutableBufferPointer { buffer in buffer.baseAddress.map { factor.solve($0) } ?? () }
        return x
    }
}
