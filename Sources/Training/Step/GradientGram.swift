internal import Kernels
internal import Tensors

/// Dot products of the objectives' gradients per block, `gram[b][i][j] = <G_i, G_j>`, accumulated in float64.
///
/// The matrix is enough for nearly every way of combining gradients, for their norms and for clipping, and costs one
/// pass over memory.
enum GradientGram {
    /// [blocks, m, m], row-major, of m gradients.
    static func products(
        _ gradients: [GradientAccumulator], _ pieces: BlockPieces, _ parallel: Parallel
    ) throws -> [Double] {
        let m = gradients.count
        return try pieces.sums(m * m, parallel) { piece, sums in
            withUnsafeTemporaryAllocation(of: UnsafePointer<Float>.self, capacity: m) { starts in
                guard let sources = starts.baseAddress else { return }
                for row in 0..<m {
                    starts.initializeElement(at: row, to: UnsafePointer(gradients[row].values.base + piece.offset))
                }
                ck_gram_f64(sources, m, piece.count, sums)
            }
        }
    }

    /// [blocks, m, m]: `<left_i, right_j>`.
    static func products(
        _ left: [GradientAccumulator], with right: [GradientAccumulator], _ pieces: BlockPieces, _ parallel: Parallel
    ) throws -> [Double] {
        let m = left.count
        return try pieces.sums(m * m, parallel) { piece, sums in
            for (row, gradient) in left.enumerated() {
                for (column, other) in right.enumerated() {
                    sums[row * m + column] = dot(
                        gradient.values.base + piece.offset, other.values.base + piece.offset, piece.count)
                }
            }
        }
    }

    /// In float64, by the kernel that makes Gram matrices.
    static func dot(_ left: UnsafePointer<Float>, _ right: UnsafePointer<Float>, _ count: Int) -> Double {
        withUnsafeTemporaryAllocation(of: UnsafePointer<Float>.self, capacity: 2) { starts in
            withUnsafeTemporaryAllocation(of: Double.self, capacity: 4) { products in
                guard let sources = starts.baseAddress, let results = products.baseAddress else { return 0 }
                starts.initializeElement(at: 0, to: left)
                starts.initializeElement(at: 1, to: right)
                ck_gram_f64(sources, 2, count, results)
                return results[1]
            }
        }
    }
}
