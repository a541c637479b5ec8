internal import PluginRuntime
internal import Tensors

/// The objectives' gradients as one matrix, for the strategies that need coordinates: `grads` [m, n], the trainable
/// parameters of block 0, then block 1, and so on, end to end.
///
/// Takes (m + 1) n floats beside the accumulators: this matrix, and the combined gradient that a plugin gives back.
final class FullGradients {
    /// Values of a row: the sum of `numel`.
    let count: Int
    private let rows: FloatBuffer
    /// The plugin's result in the parameters' own layout, as the optimizer reads it.
    private let combined: GradientAccumulator
    /// Where each stretch of a row lies in the parameters' layout.
    private let pieces: [(column: Int, offset: Int, count: Int)]
    private static let pieceSize = 1 << 16

    init(blocks: ParameterBlocks, objectives: Int, parameters: ParameterSet) {
        var column = 0
        var pieces: [(column: Int, offset: Int, count: Int)] = []
        for parameter in blocks.blocks.flatMap(\.parameters) {
            for start in stride(from: 0, to: parameter.count, by: Self.pieceSize) {
                let size = min(Self.pieceSize, parameter.count - start)
                pieces.append((column: column + start, offset: parameter.offset + start, count: size))
            }
            column += parameter.count
        }
        self.pieces = pieces
        count = column
        rows = FloatBuffer(count: objectives * count)
        combined = GradientAccumulator(parameters: parameters)
    }

    /// `grads`, filled from the accumulators, at most as many as there are objectives. Valid until the next call.
    func gather(_ gradients: [GradientAccumulator], _ parallel: Parallel) -> ArrayView {
        parallel.ranges(pieces.count, grain: 1) { range in
            for piece in pieces[range] {
                for (row, gradient) in gradients.enumerated() {
                    (rows.base + row * count + piece.column).update(
                        from: gradient.values.base + piece.offset, count: piece.count)
                }
            }
        }
        return .floats(rows.base, [gradients.count, count])
    }

    /// The gradient that a plugin gave as `combined` [n], with its norm, taken in float64. A parameter counts as reached
    /// when some objective reached it.
    func scatter(
        _ result: UnsafePointer<Float>, like gradients: [GradientAccumulator], _ parallel: Parallel
    ) -> (gradient: GradientAccumulator, norm: Double) {
        combined.reach(like: gradients)
        var partial = [Double](repeating: 0, count: pieces.count)
        partial.withUnsafeMutableBufferPointer { partial in
            nonisolated(unsafe) let (partial, result) = (partial, result)
            parallel.ranges(pieces.count, grain: 1) { range in
                for index in range {
                    let piece = pieces[index]
                    let source = UnsafeBufferPointer(start: result + piece.column, count: piece.count)
                    partial[index] = source.reduce(0) { $0 + Double($1) * Double($1) }
                    (combined.values.base + piece.offset).update(from: result + piece.column, count: piece.count)
                }
            }
        }
        // A fixed order of addition, whichever thread did which piece.
        return (combined, partial.reduce(0, +).squareRoot())
    }
}
