public import PluginKit

/// Mean absolute error of action chunks `[B,H,A]`, summed in Double.
///
///     L = 1/n * sum |p - t|          dL/dp = sign(p - t) / n          n = B*H*A, sign(0) = 0
///
/// Fills the cotangent of the error over all steps. Throws ``PluginError`` when there are no actions.
///
/// - Returns: the error over all steps, over chunk step 0, and over the later steps (`nil` when there are none).
public func meanAbsoluteError(
    _ predicted: ArrayView<Float>, _ target: ArrayView<Float>, _ cotangent: MutableArrayView<Float>
) throws -> (all: Double, first: Double, rest: Double?) {
    let (batch, horizon, width) = (predicted.shape[0], predicted.shape[1], predicted.shape[2])
    guard predicted.count > 0 else { throw PluginError("the batch has no actions (shape \(predicted.shape))") }
    let scale = 1 / Float(predicted.count)
    var first = 0.0
    var rest = 0.0
    for sample in 0..<batch {
        for step in 0..<horizon {
            var sum = 0.0
            for index in ((sample * horizon + step) * width)..<((sample * horizon + step + 1) * width) {
                let difference = predicted.elements[index] - target.elements[index]
                sum += Double(difference.magnitude)
                cotangent.elements[index] = difference > 0 ? scale : difference < 0 ? -scale : 0
            }
            if step == 0 { first += sum } else { rest += sum }
        }
    }
    let perStep = Double(batch * width)
    return (
        (first + rest) / Double(predicted.count), first / perStep,
        horizon > 1 ? rest / (perStep * Double(horizon - 1)) : nil
    )
}

/// Mean squared error of arrays of one shape, summed in Double; fills its cotangent, `2 (p - t) / n`. Throws ``PluginError``
/// when they have no elements.
public func meanSquaredError(
    _ predicted: ArrayView<Float>, _ target: ArrayView<Float>, _ cotangent: MutableArrayView<Float>
) throws -> Double {
    guard predicted.count > 0 else { throw PluginError("the batch has no actions (shape \(predicted.shape))") }
    let scale = 2 / Float(predicted.count)
    var sum = 0.0
    for index in predicted.elements.indices {
        let difference = predicted.elements[index] - target.elements[index]
        sum += Double(difference) * Double(difference)
        cotangent.elements[index] = scale * difference
    }
    return sum / Double(predicted.count)
}
