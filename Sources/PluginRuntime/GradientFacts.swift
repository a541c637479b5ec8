/// What a host knows of the gradients of the objectives that take part in a step: m rows, in k blocks.
package struct GradientFacts {
    /// [k, m, m], row-major: inner products in each block, accumulated in float64.
    package var gram: [Double]
    /// Parameters in all blocks together, n.
    package var coordinates: Int
    /// [k, m, m]: inner products of one half of the step's micro-batches with the other; `nil` when nobody asked.
    package var gramCross: [Double]?
    /// [k, m]: inner products of the gradients with the parameters' distance from their initial values.
    package var driftDot: [Double]?
    /// The gradients in full, f32 [m, n], made when a hook asks for them.
    package var grads: (() throws -> ArrayView)?
    /// The sum of weights times gradients, f32 [n], for weights [k, m]; made when a hook asks for it.
    package var weightedSum: (([Double]) throws -> ArrayView)?
    /// The parameters now and at the start, f32 [n] each; made when a hook asks for them.
    package var parameters: (() throws -> ArrayView)?
    package var initial: (() throws -> ArrayView)?

    package init(gram: [Double], coordinates: Int = 0, grads: (() throws -> ArrayView)? = nil) {
        self.gram = gram
        self.coordinates = coordinates
        self.grads = grads
    }

    /// Length of one row's gradient over all blocks. `m`: number of rows.
    func norm(of row: Int, of m: Int) -> Double {
        let start = row * (m + 1)
        return stride(from: start, to: gram.count, by: m * m).reduce(0) { $0 + gram[$1] }.squareRoot()
    }

    /// `w' gram w` summed over blocks: the squared length of the combined gradient.
    ///
    /// - Parameter weights: [k, m].
    package func squaredNorm(weights: [Double]) -> Double {
        guard !weights.isEmpty else { return 0 }
        let m = gram.count / weights.count
        var total = 0.0
        for start in stride(from: 0, to: weights.count, by: m) {
            for i in start..<start + m {
                for j in start..<start + m { total += weights[i] * gram[i * m + j - start] * weights[j] }
            }
        }
        return max(0, total)
    }
}

/// What the optimizer follows, as `gradient_combine` hooks decided it.
package struct Combination {
    /// [k, m]: factor of each gradient in each block.
    package var weights: [Double]
    /// A gradient that a plugin gave itself, f32 [n]; it stands in place of the weighted sum.
    package var combined: ArrayView?
    /// [k]: factor on each block's learning rate, 0 leaving the block alone; nil: 1.
    package var rates: [Double]?
}

/// What came of a step.
package struct StepOutcome {
    /// `loss.X`, `lambda.X` (the next step's), `lambda.X@prev` (this step's), and plugins' metrics by their names.
    package var metrics: [String: Double]
    /// [k] each, by name.
    package var blockMetrics: [String: [Double]] = [:]
    /// [k]: share of the way back to its initial values that each block goes; nil: none does.
    package var pull: [Double]?
    /// Why the run ends here; nil: it goes on.
    package var stop: StopRequest?
}

/// A plugin's wish to end the run.
package struct StopRequest: Sendable, Equatable, CustomStringConvertible {
    /// Instance name.
    package var plugin: String
    package var point: HookPoint
    package var step: Int
    /// What it gave as `stop`.
    package var value: Double

    package var description: String {
        "plugin \(plugin) ended the run at its \(point.rawValue) hook, step \(step) (stop = \(value))"
    }
}
