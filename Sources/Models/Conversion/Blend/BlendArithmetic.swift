internal import Formats

/// How the values of one tensor of several models become one.
///
/// Sums are in float64; a task vector θ_i - θ_0 is rounded to float32 once, as a subtraction of float32 values gives it.
enum BlendArithmetic {
    /// Σ w_i θ_i. A weight of 1 beside zeros gives that model's bits.
    case mean(weights: [Double])
    /// θ_0 + Σ c_i (θ_i - θ_0).
    case taskArithmetic(scales: [Double])
    /// TIES (Yadav et al. 2023, arXiv 2306.01708): task vectors trimmed to their largest elements; per element the sign of
    /// Σ w_i τ_i, and α times the mean, by weight, of those with that sign.
    case ties(weights: [Double], alpha: Double, trims: [Trim])

    /// - `base`: θ_0, [count]. `others`: [model][count]; for a mean all that take part, the base included.
    mutating func combine(
        base: UnsafePointer<Float>, others: [UnsafeMutablePointer<Float>], count: Int,
        into result: UnsafeMutablePointer<Float>
    ) {
        switch self {
        case .mean(let weights):
            for i in 0..<count {
                var sum = 0.0
                for (weight, values) in zip(weights, others) { sum += weight * Double(values[i]) }
                result[i] = Float(sum)
            }
        case .taskArithmetic(let scales):
            for i in 0..<count {
                var sum = Double(base[i])
                for (scale, values) in zip(scales, others) { sum += scale * Double(values[i] - base[i]) }
                result[i] = Float(sum)
            }
        case .ties(let weights, let alpha, var trims):
            var terms = [Double](repeating: 0, count: others.count)
            for i in 0..<count {
                var sum = 0.0
                for model in others.indices {
                    let task = others[model][i] - base[i]
                    terms[model] = trims[model].keeps(abs(task)) ? weights[model] * Double(task) : 0
                    sum += terms[model]
                }
                // A sum of 0 counts as positive, as in mergekit.
                let isPositive = sum >= 0
                var (total, weight) = (0.0, 0.0)
                for model in others.indices where terms[model] != 0 && (terms[model] > 0) == isPositive {
                    total += terms[model]
                    weight += weights[model]
                }
                result[i] = weight == 0 ? base[i] : Float(Double(base[i]) + alpha * total / weight)
            }
            self = .ties(weights: weights, alpha: alpha, trims: trims)
        }
    }
}

/// Keeps the `count` largest of a tensor's magnitudes; of equal ones at the border, the first.
struct Trim {
    /// Magnitudes above it stay, as many equal ones as `left` says too.
    private let threshold: Float
    private var left: Int

    /// Finds the border in two passes: by the upper and by the lower half of the bits, which order magnitudes as integers.
    ///
    /// - Parameter visit: calls its argument with every magnitude, in order; called twice.
    init(keeping count: Int, visit: ((Float) -> Void) throws(FileError) -> Void) throws(FileError) {
        var upper = [Int](repeating: 0, count: 1 << 16)
        try visit { upper[Int($0.bitPattern >> 16)] += 1 }
        var (high, above) = (upper.count - 1, 0)
        while high > 0, above + upper[high] < count {
            above += upper[high]
            high -= 1
        }
        var lower = [Int](repeating: 0, count: 1 << 16)
        try visit { if Int($0.bitPattern >> 16) == high { lower[Int($0.bitPattern & 0xFFFF)] += 1 } }
        var low = lower.count - 1
        while low > 0, above + lower[low] < count {
            above += lower[low]
            low -= 1
        }
        threshold = Float(bitPattern: UInt32(high) << 16 | UInt32(low))
        left = count - above
    }

    mutating func keeps(_ magnitude: Float) -> Bool {
        if magnitude > threshold { return true }
        guard magnitude == threshold, left > 0 else { return false }
        left -= 1
        return true
    }
}
