internal import Kernels
internal import Tensors

/// Dot products of the objectives' gradients per block, `gram[b][i][j] = <G_i, G_j>`, accumulated in float64.
///
/// The matrix is enough for nearly every way of combining gradients, for their norms and for clipping, and costs one
/// pass over memory.
final class GradientGram {
    /// [blocks, m, m], row major.
    private(set) var values: [Double]
    let objectives: Int
    private let blocks: ParameterBlocks
    /// (block, first value, count): parameters cut into pieces, so that threads share large ones.
    private let pieces: [(block: Int, offset: Int, count: Int)]
    /// [pieces, m, m].
    private let partial: UnsafeMutableBufferPointer<Double>
    private static let pieceSize = 1 << 16

    init(blocks: ParameterBlocks, objectives: Int) {
        self.blocks = blocks
        self.objectives = objectives
        values = Array(repeating: 0, count: blocks.blocks.count * objectives * objectives)
        pieces = blocks.blocks.enumerated().flatMap { index, block in
            block.parameters.flatMap { parameter in
                stride(from: 0, to: parameter.count, by: Self.pieceSize).map {
                    (block: index, offset: parameter.offset + $0, count: min(Self.pieceSize, parameter.count - $0))
                }
            }
        }
        partial = .allocate(capacity: pieces.count * objectives * objectives)
        partial.initialize(repeating: 0)
    }

    deinit { partial.deallocate() }

    func compute(_ gradients: [GradientAccumulator], _ parallel: Parallel) {
        let m = objectives
        parallel.ranges(pieces.count, grain: 1) { range in
            withUnsafeTemporaryAllocation(of: UnsafePointer<Float>.self, capacity: m) { starts in
                guard let sources = starts.baseAddress, let results = partial.baseAddress else { return }
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
        for index in values.indices { values[index] = 0 }
        // A fixed order of addition, whichever thread did which piece.
        for (index, piece) in pieces.enumerated() {
            for entry in 0..<m * m { values[piece.block * m * m + entry] += partial[index * m * m + entry] }
        }
    }

    /// Norm of one objective's gradient over all blocks.
    func norm(of objective: Int) -> Double {
        let m = objectives
        return blocks.blocks.indices.reduce(0) { $0 + values[($1 * m + objective) * m + objective] }.squareRoot()
    }

    /// `w' gram w` summed over blocks: the squared norm of the combined gradient.
    ///
    /// - `weights`: [blocks, m].
    func squaredNorm(weights: [Double]) -> Double {
        let m = objectives
        var total = 0.0
        for block in blocks.blocks.indices {
            for i in 0..<m {
                for j in 0..<m {
                    total += weights[block * m + i] * values[(block * m + i) * m + j] * weights[block * m + j]
                }
            }
        }
        return max(0, total)
    }
}
