internal import Kernels
internal import Tensors

/// Dot products of the objectives' gradients per block, `gram[b][i][j] = <G_i, G_j>`, accumulated in float64.
///
/// The matrix is enough for nearly every way of combining gradients, for their norms and for clipping, and costs one
/// pass over memory.
final class GradientGram {
    private let blocks: ParameterBlocks
    /// (block, first value, count): parameters cut into pieces, so that threads share large ones.
    private let pieces: [(block: Int, offset: Int, count: Int)]
    /// [pieces, m, m].
    private var partial: [Double] = []
    private static let pieceSize = 1 << 16

    init(blocks: ParameterBlocks) {
        self.blocks = blocks
        pieces = blocks.blocks.enumerated().flatMap { index, block in
            block.parameters.flatMap { parameter in
                stride(from: 0, to: parameter.count, by: Self.pieceSize).map {
                    (block: index, offset: parameter.offset + $0, count: min(Self.pieceSize, parameter.count - $0))
                }
            }
        }
    }

    /// [blocks, m, m], row-major, of m gradients.
    func compute(_ gradients: [GradientAccumulator], _ parallel: Parallel) -> [Double] {
        let m = gradients.count
        guard m > 0 else { return [] }
        if partial.count != pieces.count * m * m { partial = Array(repeating: 0, count: pieces.count * m * m) }
        partial.withUnsafeMutableBufferPointer { partial in
            guard let results = partial.baseAddress else { return }
            parallel.ranges(pieces.count, grain: 1) { range in
                withUnsafeTemporaryAllocation(of: UnsafePointer<Float>.self, capacity: m) { starts in
                    guard let sources = starts.baseAddress else { return }
                    for index in range {
                        let piece = pieces[index]
                        for row in 0..<m {
                            starts.initializeElement(
                                at: row, to: UnsafePointer(gradients[row].values.base + piece.offset))
                        }
                        ck_gram_f64(sources, m, piece.count, results + index * m * m)
                    }
                }
            }
        }
        var gram = [Double](repeating: 0, count: blocks.blocks.count * m * m)
        // A fixed order of addition, whichever thread did which piece.
        for (index, piece) in pieces.enumerated() {
            for entry in 0..<m * m { gram[piece.block * m * m + entry] += partial[index * m * m + entry] }
        }
        return gram
    }
}
