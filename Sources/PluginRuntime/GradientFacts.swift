/// What a host knows of the gradients of the objectives that take part in a step: m rows, in k blocks.
public struct GradientFacts {
    /// [k, m, m], row-major: inner products in each block, accumulated in float64.
    public var gram: [Double]
    /// Parameters in all blocks together, n.
    public var coordinates: Int
    /// The gradients in full, f32 [m, n], made when a hook asks for them.
    public var grads: (() throws -> ArrayView)?

    public init(gram: [Double], coordinates: Int = 0, grads: (() throws -> ArrayView)? = nil) {
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
    public func squaredNorm(weights: [Double]) -> Double {
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
public struct Combination {
    /// [k, m]: factor of each gradient in each block.
    public var weights: [Double]
    /// A gradient that a plugin gave itself, f32 [n]; it stands in place of the weighted sum.
    public var combined: ArrayView?
}

/// What came of a step.
public struct StepOutcome {
    /// `loss.X`, `lambda.X` (the next step's), `lambda.X@prev` (this step's), and plugins' metrics by their names.
    public var metrics: [String: Double]
}
