internal import Kernels
internal import Tensors

/// The gradients of the first half of a step's micro-batches, kept apart from the second's.
final class HalfGradients {
    /// By row: of the first half.
    let first: [GradientAccumulator]

    init(objectives: Int, parameters: ParameterSet) {
        first = (0..<objectives).map { _ in GradientAccumulator(parameters: parameters) }
    }

    /// Where micro-batch `micro` of `count` adds the gradient of a row that belongs into `whole`.
    func target(_ row: Int, micro: Int, of count: Int, whole: GradientAccumulator) -> GradientAccumulator {
        micro < count / 2 ? first[row] : whole
    }

    func zero() { for gradient in first { gradient.zero() } }

    /// [k, m, m]: inner products of the halves' means, and the whole in `second`, which holds the second half before.
    ///
    /// - Parameter rows: those that take part, in order of `second`.
    func join(
        _ rows: [Int], with second: [GradientAccumulator], _ pieces: BlockPieces, _ parallel: Parallel
    ) throws -> [Double] {
        let first = rows.map { self.first[$0] }
        // Each half is half of the step's mean.
        let cross = try GradientGram.products(first, with: second, pieces, parallel).map { 4 * $0 }
        for (half, whole) in zip(first, second) {
            parallel.ranges(pieces.pieces.count, grain: 1) { range in
                for piece in pieces.pieces[range] where half.isReached[piece.parameter] {
                    let target = whole.values.base + piece.offset
                    ck_add(target, half.values.base + piece.offset, piece.count, target)
                }
            }
            whole.reach(Set(half.isReached.indices.filter { half.isReached[$0] }))
        }
        return cross
    }
}
