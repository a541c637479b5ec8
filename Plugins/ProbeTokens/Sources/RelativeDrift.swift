import PluginKit

/// What the host gives for one tap of the probe, and takes.
struct TapValues: HookValues {
    /// `[B,T,D]`
    @Input var features: ArrayView<Float>
    @Input var anchors: ArrayView<Float>
    /// `[B,T]`
    @Input var mask: ArrayView<Float>
    @Output var cotangent: MutableArrayView<Float>

    init(_ name: String, axes: String, width: String) {
        _features = Input("probe.{instance}.feature.\(name)[\(axes),\(width)]")
        _anchors = Input("probe.{instance}.anchor.\(name)[\(axes),\(width)]")
        _mask = Input("probe.{instance}.mask.\(name)[\(axes)]")
        _cotangent = Output("cotangent.{objective}.probe.{instance}.feature.\(name)[\(axes),\(width)]")
    }
}

/// `1/N * sum (f - f~)^2 / Var(f~)` over tokens that are not padding, and `share` times its derivative in the cotangent,
/// which is zero where the mask is.
func relativeDrift(_ name: String, _ values: TapValues, share: Double) throws -> Double {
    let (features, anchors, mask) = (values.features, values.anchors, values.mask)
    let cotangent = values.cotangent
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
