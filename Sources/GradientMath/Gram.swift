public import PluginKit

/// The inner products of one block's gradients, split into lengths and angles.
///
/// Every solver works on the cosines, which no scaling of a gradient changes, and puts the lengths back at the end: that
/// is why results hold from 1e-12 to 1e12 and no threshold here is absolute. Gradients that are exactly zero have no
/// angle; they are in no solver's problem.
public struct Gram {
    /// Number of gradients, zero ones included.
    public let size: Int
    /// Rows of the gradients that are not zero, ascending.
    public let rows: [Int]
    /// Lengths of those gradients.
    public let norms: [Double]
    /// Cosines between them: `rows.count` by `rows.count`, ones on the diagonal.
    public let cosines: SymmetricMatrix

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
        cosines = SymmetricMatrix(size: rows.count) { i, j in
            // Divided one after the other: the product of two tiny lengths may underflow.
            i == j ? 1 : min(max(entry(rows[i], rows[j]) / norms[i] / norms[j], -1), 1)
        }
    }

    /// The inner products with the longest gradient's length as the unit.
    public var scaled: SymmetricMatrix {
        let longest = norms.max() ?? 1
        return SymmetricMatrix(size: rows.count) { (norms[$0] / longest) * (norms[$1] / longest) * cosines[$0, $1] }
    }

    /// `values` with those of the gradients that are not zero replaced.
    public func merging(_ solved: [Double], into values: [Double]) -> [Double] {
        var result = values
        for (position, row) in rows.enumerated() { result[row] = solved[position] }
        return result
    }

    /// `|sum_i w_i g_i|^2`, never negative.
    public func squaredNorm(_ weights: [Double]) -> Double {
        let lengths = rows.indices.map { weights[rows[$0]] * norms[$0] }
        return max(cosines.quadratic(lengths), 0)
    }
}

/// A small dense symmetric matrix.
public struct SymmetricMatrix {
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

    public subscript(i: Int, j: Int) -> Double { elements[i * size + j] }

    /// The matrix times a vector.
    public func times(_ vector: [Double]) -> [Double] {
        (0..<size).map { i in
            var sum = 0.0
            for j in 0..<size { sum += elements[i * size + j] * vector[j] }
            return sum
        }
    }

    /// `x' A x`
    public func quadratic(_ vector: [Double]) -> Double {
        zip(times(vector), vector).reduce(0) { $0 + $1.0 * $1.1 }
    }
}

/// What cosines are compared with: below it two numbers differ by no more than their own rounding.
public let cosineTolerance = 0x1p-52
