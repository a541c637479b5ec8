import PluginKit

/// `1/N * sum (f - f~)^2 / Var(f~)` over tokens that are not padding, and `share` times its derivative in the cotangent.
///
/// - Parameters:
///   - features: [B,T,D].
///   - anchors: [B,T,D].
///   - mask: [B,T].
///   - cotangent: [B,T,D]; zero where the mask is.
func relativeDrift(
    _ name: String, _ features: ArrayView<Float>, _ anchors: ArrayView<Float>, _ mask: ArrayView<Float>, share: Double,
    cotangent: MutableArrayView<Float>
) throws -> Double {
    let width = features.shape[2]
    let rows = mask.elements.indices.filter { mask.elements[$0] != 0 }
    let count = Double(rows.count) * Double(width)
    guard count > 0 else { throw PluginError("the probe has no \(name) tokens (shape \(features.shape))") }
    var sum = 0.0
    for row in rows {
        for index in row * width..<(row + 1) * width { sum += Double(anchors.elements[index]) }
    }
    // A second pass for the variance: the one-pass formula cancels when the mean is large beside the spread.
    let mean = sum / count
    var squares = 0.0
    var spread = 0.0
    for row in rows {
        for index in row * width..<(row + 1) * width {
            let anchor = Double(anchors.elements[index])
            let difference = Double(features.elements[index]) - anchor
            squares += difference * difference
            spread += (anchor - mean) * (anchor - mean)
        }
    }
    cotangent.elements.update(repeating: 0)
    if squares == 0 { return 0 }
    guard spread > 0 else {
        throw PluginError(
            "the initial \(name) tokens of this probe are all alike, so drift has no unit to be measured in")
    }
    let scale = 2 * share / spread
    for row in rows {
        for index in row * width..<(row + 1) * width {
            cotangent.elements[index] = Float(
                scale * (Double(features.elements[index]) - Double(anchors.elements[index])))
        }
    }
    return squares / spread
}
