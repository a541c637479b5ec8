internal import PluginRuntime
internal import Tensors

/// The objectives' whole gradients side by side, for strategies that decide coordinate by coordinate, and the combined
/// gradient such a strategy gives back. Made only when a hook asks: m + 1 further copies of the trainable values.
final class GradientMatrix {
    /// A gradient that takes the place of `Σ_i w_i G_i`.
    let combined: GradientAccumulator
    private let rows: FloatBuffer
    private let objectives: Int
    /// Values of a row, padding between tensors (always zero) included.
    let columns: Int
    private let gram: GradientGram

    init(parameters: ParameterSet, blocks: ParameterBlocks, objectives: Int) {
        self.objectives = objectives
        columns = parameters.trainableCount
        rows = FloatBuffer(count: objectives * columns)
        combined = GradientAccumulator(parameters: parameters)
        gram = GradientGram(blocks: blocks, objectives: 1)
    }

    /// Copies the gradients; returns them as `[m, n]`.
    func gather(_ gradients: [GradientAccumulator], _ parallel: Parallel) -> ArrayView {
        let n = columns
        for (row, gradient) in gradients.enumerated() {
            let target = rows.base + row * n
            parallel.ranges(n, grain: 65_536) { range in
                (target + range.lowerBound).update(from: gradient.values.base + range.lowerBound, count: range.count)
            }
        }
        return .floats(rows.base, [objectives, n])
    }

    /// Takes over what a hook gave as `[n]`. It reaches the parameters that some objective reached.
    func take(_ result: ArrayView, reachedBy gradients: [GradientAccumulator], _ parallel: Parallel) {
        let source = UnsafePointer(result.pointer.assumingMemoryBound(to: Float.self))
        combined.isReached = combined.isReached.indices.map { id in gradients.contains { $0.isReached[id] } }
        parallel.ranges(columns, grain: 65_536) { range in
            (combined.values.base + range.lowerBound).update(from: source + range.lowerBound, count: range.count)
        }
    }

    /// Norm of the combined gradient, accumulated in float64.
    func norm(blocks: Int, _ parallel: Parallel) -> Double {
        gram.compute([combined], parallel)
        return gram.squaredNorm(weights: Array(repeating: 1, count: blocks)).squareRoot()
    }
}
