internal import Kernels
internal import PluginRuntime
internal import Tensors

/// The objectives' gradients as one matrix, for the strategies that need coordinates: `grads` [m, n], the trainable
/// parameters of block 0, then block 1, and so on, end to end.
///
/// Takes up to (m + 4) n floats beside the accumulators, as far as hooks ask: this matrix, their weighted sum, the
/// parameters now and at the start, and the combined gradient that a plugin gives back.
final class FullGradients {
    private let pieces: BlockPieces
    private let rows: FloatBuffer
    private let sum: FloatBuffer
    private let current: FloatBuffer
    private let initial: FloatBuffer
    /// The plugin's result in the parameters' own layout, as the optimizer reads it.
    private let combined: GradientAccumulator

    /// Values of a row: the sum of `numel`.
    var count: Int { pieces.count }

    init(_ pieces: BlockPieces, objectives: Int, parameters: ParameterSet) {
        self.pieces = pieces
        rows = FloatBuffer(count: objectives * pieces.count)
        // Memory is taken where it is written: what nobody asks for costs nothing.
        sum = FloatBuffer(count: pieces.count)
        current = FloatBuffer(count: pieces.count)
        initial = FloatBuffer(count: pieces.count)
        combined = GradientAccumulator(parameters: parameters)
    }

    /// The trainable parameters in block order, f32 [n]. Valid until the next call.
    func parameters(_ values: UnsafePointer<Float>, _ parallel: Parallel) -> ArrayView {
        vector(values, into: current, parallel)
    }

    /// The same of the start of the run.
    func initial(_ values: UnsafePointer<Float>, _ parallel: Parallel) -> ArrayView {
        vector(values, into: initial, parallel)
    }

    private func vector(_ values: UnsafePointer<Float>, into buffer: FloatBuffer, _ parallel: Parallel) -> ArrayView {
        parallel.ranges(pieces.pieces.count, grain: 1) { range in
            for piece in pieces.pieces[range] {
                (buffer.base + piece.column).update(from: values + piece.offset, count: piece.count)
            }
        }
        return .floats(buffer.base, [count])
    }

    /// The sum of weights [k, m] times gradients, f32 [n]. Valid until the next call.
    func weightedSum(_ gradients: [GradientAccumulator], _ weights: [Double], _ parallel: Parallel) -> ArrayView {
        let m = gradients.count
        parallel.ranges(pieces.pieces.count, grain: 1) { range in
            for piece in pieces.pieces[range] {
                let target = sum.base + piece.column
                ck_fill(0, piece.count, target)
                for (row, gradient) in gradients.enumerated() {
                    ck_axpy(
                        Float(weights[piece.block * m + row]), gradient.values.base + piece.offset, piece.count, target)
                }
            }
        }
        return .floats(sum.base, [count])
    }

    /// `grads`, filled from the accumulators, at most as many as there are objectives. Valid until the next call.
    func gather(_ gradients: [GradientAccumulator], _ parallel: Parallel) -> ArrayView {
        parallel.ranges(pieces.pieces.count, grain: 1) { range in
            for piece in pieces.pieces[range] {
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
        var partial = [Double](repeating: 0, count: pieces.pieces.count)
        partial.withUnsafeMutableBufferPointer { partial in
            nonisolated(unsafe) let (partial, result) = (partial, result)
            parallel.ranges(pieces.pieces.count, grain: 1) { range in
                for index in range {
                    let piece = pieces.pieces[index]
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
