public import PluginKit

/// The inner products of one block's gradients, split into lengths and angles.
///
/// No scaling of a gradient changes the cosines, and ``balanced`` changes with it by a power of two at most; solvers work
/// on these and put the lengths back at the end. That is why results hold from 1e-12 to 1e12 and no threshold here is
/// absolute. Gradients that are exactly zero have no angle; they are in no solver's problem.
public struct Gram {
    /// Number of gradients, zero ones included.
    public let size: Int
    /// Rows of the gradients that are not zero, ascending.
    public let rows: [Int]
    /// Lengths of those gradients.
    public let norms: [Double]
    /// Cosines between them: `rows.count` by `rows.count`, ones on the diagonal.
    public let cosines: SymmetricMatrix
    /// Powers of two next below the lengths.
    public let units: [Double]
    /// Inner products of the gradients over their units: as given, without a rounding. Diagonal from 1 to 4.
    public let balanced: SymmetricMatrix

    /// - Parameters:
    ///   - gram: `[K,M,M]`.
    ///   - block: the block to read.
    public init(_ gram: ArrayView<Double>, block: Int) throws {
        let size = gram.shape[1]
        let offset = block * size * size
        for index in 0..<size * size where !gram[offset + index].isFinite {
            throw PluginError(
                "gram[\(block),\(index / size),\(index % size)] is \(gram[offset + index]): the gradients must be finite"
            )
        }
        self.init(size: size) { gram[offset + $0 * size + $1] }
    }

    /// - Parameter entry: the inner product of two gradients; read on and above the diagonal.
    public init(size: Int, entry: (Int, Int) -> Double) {
        self.size = size
        let rows = (0..<size).filter { entry($0, $0) > 0 }
        let norms = rows.map { entry($0, $0).squareRoot() }
        self.rows = rows
        self.norms = norms
        let units = norms.map { Double(sign: .plus, exponent: $0.exponent, significand: 1) }
        self.units = units
        balanced = SymmetricMatrix(size: rows.count) { entry(rows[$0], rows[$1]) / units[$0] / units[$1] }
        cosines = SymmetricMatrix(size: rows.count) { i, j in
            // Divided one after the other: the product of two tiny lengths may underflow.
            i == j ? 1 : min(max(entry(rows[i], rows[j]) / norms[i] / norms[j], -1), 1)
        }
    }

    /// `values` with those of the gradients that are not zero replaced.
    public func merging(_ solved: [Double], into values: [Double]) -> [Double] {
        var result = values
        for (position, row) in rows.enumerated() { result[row] = solved[position] }
        return result
    }

    /// `|sum_i w_i g_i|^2`, never negative.
    public func squaredNorm(_ weights: [Double]) -> Double {
        let scaled = rows.indices.map { weights[rows[$0]] * units[$0] }
        let unit = scaled.reduce(0) { max($0, abs($1)) }
        guard unit > 0, unit.isFinite else { return unit }
        return max(balanced.quadratic(scaled.map { DoubleDouble($0 / unit) }).double, 0) * unit * unit
    }
}

/// A small dense symmetric matrix.
public struct SymmetricMatrix {
    /// Rows and columns.
    public let size: Int
    var elements: [Double]

    /// - Parameter entry: read on and above the diagonal.
    public init(size: Int, entry: (Int, Int) -> Double) {
        self.size = size
        elements = [Double](repeating: 0, count: size * size)
        for i in 0..<size {
            for j in i..<size {
                let value = entry(i, j)
                elements[i * size + j] = value
                elements[j * size + i] = value
            }
        }
    }

    /// An entry. Unchecked beyond the array's own bounds.
    public subscript(i: Int, j: Int) -> Double { elements[i * size + j] }

    /// The matrix times a vector.
    public func times(_ vector: [Double]) -> [Double] {
        (0..<size).map { i in
            var sum = 0.0
            for j in 0..<size { sum += elements[i * size + j] * vector[j] }
            return sum
        }
    }

    /// The matrix times a vector, exact but for the rounding of the result.
    func times(_ vector: [DoubleDouble]) -> [DoubleDouble] {
        (0..<size).map { i in
            var sum = DoubleDouble(0)
            for j in 0..<size { sum += DoubleDouble(elements[i * size + j]) * vector[j] }
            return sum
        }
    }

    /// Sum of the diagonal.
    public var trace: Double { (0..<size).reduce(0) { $0 + elements[$1 * (size + 1)] } }

    /// `V f(L) V'` of a matrix `V L V'` without negative eigenvalues; those that are rounding beside the largest count as 0.
    public func spectral(_ f: (Double) -> Double) -> SymmetricMatrix {
        let eigen = SymmetricEigen<Double>(self)
        let least = 0x1p-52 * Double(size) * max(eigen.values.first ?? 0, 0)
        let factors = eigen.values.map { f($0 > least ? $0 : 0) }
        return SymmetricMatrix(size: size) { i, j in
            var sum = 0.0
            for (factor, vector) in zip(factors, eigen.vectors) { sum += factor * vector[i] * vector[j] }
            return sum
        }
    }

    /// `A B A` of a symmetric `B`.
    public func conjugating(_ other: SymmetricMatrix) -> SymmetricMatrix {
        var half = [Double](repeating: 0, count: size * size)
        for i in 0..<size {
            for k in 0..<size {
                let value = elements[i * size + k]
                for j in 0..<size { half[i * size + j] += value * other.elements[k * size + j] }
            }
        }
        return SymmetricMatrix(size: size) { i, j in
            (0..<size).reduce(0) { $0 + half[i * size + $1] * elements[$1 * size + j] }
        }
    }

    /// `x' A x` of a vector whose terms may cancel.
    func quadratic(_ vector: [DoubleDouble]) -> DoubleDouble {
        zip(times(vector), vector).reduce(DoubleDouble(0)) { $0 + $1.0 * $1.1 }
    }

    /// `x' A x`
    public func quadratic(_ vector: [Double]) -> Double {
        zip(times(vector), vector).reduce(0) { $0 + $1.0 * $1.1 }
    }
}

/// What cosines are compared with: below it two numbers differ by no more than their own rounding.
public let cosineTolerance = 0x1p-52
