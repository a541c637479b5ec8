import Glibc
import GradientMath
import PluginKit

/// Logits of a probe, one row a sample.
struct Answers {
    let count: Int
    private let logits: ArrayView<Float>
    private let vocabulary: Int

    init(_ logits: ArrayView<Float>) {
        self.logits = logits
        (count, vocabulary) = (logits.shape[0], logits.shape[1])
    }

    /// Mean over the samples of `-log p(y)`, `y` drawn from `p`; fills the derivative.
    func drawnLikelihood(_ draws: inout RandomDraws, into cotangent: MutableArrayView<Float>) throws -> Double {
        var total = 0.0
        for row in 0..<count {
            let values = UnsafeBufferPointer(rebasing: logits.elements[row * vocabulary..<(row + 1) * vocabulary])
            let largest = Double(values.max() ?? 0)
            let weights = values.map { exp(Double($0) - largest) }
            let sum = weights.reduce(0, +)
            guard sum.isFinite, sum > 0 else { throw PluginError("the logits of sample \(row) are not finite") }
            let place = Double(draws.next() >> 11) * 0x1p-53 * sum
            var (answer, passed) = (0, weights[0])
            while passed <= place, answer < vocabulary - 1 {
                answer += 1
                passed += weights[answer]
            }
            total -= Double(values[answer]) - largest - log(sum)
            for (column, weight) in weights.enumerated() {
                let probability = weight / sum - (column == answer ? 1 : 0)
                cotangent[row, column] = Float(probability / Double(count))
            }
        }
        return total / Double(count)
    }

    /// Mean over the samples of `|z|^2`; fills the derivative.
    func squaredLength(into cotangent: MutableArrayView<Float>) throws -> Double {
        var total = 0.0
        for index in 0..<logits.count {
            let value = Double(logits[index])
            total += value * value
            cotangent[index] = Float(2 * value / Double(count))
        }
        guard total.isFinite else { throw PluginError("the logits are not finite") }
        return total / Double(count)
    }
}
