internal import Glibc

/// Softmax cross-entropy of one row, in Double with the row's maximum subtracted first.
///
///     L = log sum_v exp z_v - z_y          dL/dz_v = softmax(z)_v - [v = y]
///
/// - Parameters:
///   - target: y, a position of the row.
///   - scale: what the derivative is multiplied by.
/// - Returns: the loss, and the position of the largest logit (the first, when several are equal).
public func crossEntropy(
    _ logits: UnsafeBufferPointer<Float>, target: Int, scale: Double, into derivative: UnsafeMutableBufferPointer<Float>
) -> (loss: Double, best: Int) {
    var best = 0
    for index in logits.indices where logits[index] > logits[best] { best = index }
    let maximum = Double(logits[best])
    var sum = 0.0
    for logit in logits { sum += exp(Double(logit) - maximum) }
    for index in logits.indices {
        let probability = exp(Double(logits[index]) - maximum) / sum
        derivative[index] = Float(scale * (probability - (index == target ? 1 : 0)))
    }
    // The difference of logits first: adding the maximum back would lose the logarithm beside a large one.
    return (log(sum) + (maximum - Double(logits[target])), best)
}
