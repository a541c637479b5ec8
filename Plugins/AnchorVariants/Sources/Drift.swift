import PluginKit

/// Features of one tap, or of one layer of it, beside their anchors.
struct FeatureDrift {
    /// Elements that count: width times the positions whose mask is not zero.
    let count: Double
    /// `sum (f - f~)^2` over them.
    let squares: Double
    /// Population variance of the anchor's elements around their common mean.
    let variance: Double
    /// Positions that count, as rows of `width` elements.
    let positions: [Int]
    let width: Int

    let features: ArrayView<Float>
    let anchors: ArrayView<Float>
    let cotangent: MutableArrayView<Float>

    /// - Parameters:
    ///   - tap: the whole tap.
    ///   - layer: which of its layers.
    init(_ tap: AnchoredTap, layer: Int) throws {
        features = tap.features
        anchors = tap.anchors
        cotangent = tap.cotangent
        width = tap.features.shape[2]
        positions = tap.positions(layer: layer)
        var squares = 0.0
        var sum = 0.0
        for position in positions {
            for index in position * width..<(position + 1) * width {
                let difference = Double(features.elements[index]) - Double(anchors.elements[index])
                squares += difference * difference
                sum += Double(anchors.elements[index])
            }
        }
        count = Double(positions.count) * Double(width)
        guard count > 0 else {
            throw PluginError("the \(tap.name) tap has no tokens in this batch (shape \(features.shape))")
        }
        self.squares = squares
        // A second pass: the one-pass formula cancels when the mean is large beside the spread.
        let mean = sum / count
        var spread = 0.0
        for position in positions {
            for index in position * width..<(position + 1) * width {
                let deviation = Double(anchors.elements[index]) - mean
                spread += deviation * deviation
            }
        }
        variance = spread / count
    }

    /// Writes `scale * (f - f~)` to the cotangent.
    func addDifference(scale: Double) {
        for position in positions {
            for index in position * width..<(position + 1) * width {
                let difference = Double(features.elements[index]) - Double(anchors.elements[index])
                cotangent.elements[index] = Float(scale * difference)
            }
        }
    }

    /// `sum over positions (1 - cos(f, f~))`, and its derivative times `scale` in the cotangent.
    ///
    /// A position whose feature or anchor is zero has no angle: it counts 1, or 0 when both are, and has no derivative.
    func addCosine(scale: Double) -> Double {
        var total = 0.0
        var unit = [Double](repeating: 0, count: width)
        var target = [Double](repeating: 0, count: width)
        for position in positions {
            let start = position * width
            for column in 0..<width {
                unit[column] = Double(features.elements[start + column])
                target[column] = Double(anchors.elements[start + column])
            }
            let length = product(unit, unit).squareRoot()
            let targetLength = product(target, target).squareRoot()
            guard length > 0, targetLength > 0 else {
                total += length == targetLength ? 0 : 1
                continue
            }
            var halfSquare = 0.0
            for column in 0..<width {
                unit[column] /= length
                target[column] /= targetLength
                let difference = unit[column] - target[column]
                halfSquare += 0.5 * difference * difference
            }
            // |u - v|^2 / 2 is 1 - <u, v>, without the cancellation.
            total += halfSquare
            for column in 0..<width {
                cotangent.elements[start + column] = Float(
                    scale * ((1 - halfSquare) * unit[column] - target[column]) / length)
            }
        }
        return total
    }
}

/// What the host gives for one tap, and takes.
struct TapValues: HookValues {
    /// `[B,T,D]`; with several layers their tokens follow each other in T.
    @Input var features: ArrayView<Float>?
    @Input var anchors: ArrayView<Float>?
    /// `[B,T]`; without one every position counts.
    @Input var mask: ArrayView<Float>?
    @Output var cotangent: MutableArrayView<Float>?

    init(_ name: String, axes: String, width: String) {
        _features = Input("feature.{instance}.\(name)[\(axes),\(width)]")
        _anchors = Input("anchor.{instance}.\(name)[\(axes),\(width)]")
        _mask = Input("mask.{instance}.\(name)[\(axes)]")
        _cotangent = Output("cotangent.{objective}.feature.{instance}.\(name)[\(axes),\(width)]")
    }
}

/// A tap that is on.
struct AnchoredTap {
    let name: String
    let features: ArrayView<Float>
    let anchors: ArrayView<Float>
    let mask: ArrayView<Float>?
    let cotangent: MutableArrayView<Float>
    let layers: Int

    /// Sets the cotangent to zero.
    init(_ name: String, layers: Int, _ values: TapValues) throws {
        guard let features = values.features, let anchors = values.anchors, let cotangent = values.cotangent else {
            throw PluginError("the host gave no \(name) features, though the plan turned their tap on")
        }
        guard layers > 0, features.shape[1].isMultiple(of: layers) else {
            throw PluginError("the \(name) tap has shape \(features.shape), which is not that of \(layers) layers")
        }
        self.name = name
        self.features = features
        self.anchors = anchors
        mask = values.mask
        self.cotangent = cotangent
        self.layers = layers
        cotangent.elements.update(repeating: 0)
    }

    /// Rows of a layer whose mask is not zero.
    func positions(layer: Int) -> [Int] {
        let tokens = features.shape[1] / layers
        return (0..<features.shape[0]).flatMap { sample -> [Int] in
            let start = (sample * layers + layer) * tokens
            return (start..<start + tokens).filter { position in mask.map { $0[position] != 0 } ?? true }
        }
    }

    /// One drift per layer.
    func drifts() throws -> [FeatureDrift] { try (0..<layers).map { try FeatureDrift(self, layer: $0) } }
}

/// The drift of all taps and layers together.
struct Drift {
    private let parts: [FeatureDrift]
    private let count: Double

    init(_ parts: [FeatureDrift]) {
        self.parts = parts
        count = parts.reduce(0) { $0 + $1.count }
    }

    /// Variance of the anchors' elements, each part around its own mean.
    var variance: Double { parts.reduce(0) { $0 + $1.variance * $1.count } / count }

    /// `1/N * sum_parts squares / variance`: the same mean after each part was scaled to unit variance. `nil` when a
    /// part's anchors do not vary.
    var relative: Double? {
        guard parts.allSatisfy({ $0.variance > 0 }) else { return nil }
        return parts.reduce(0) { $0 + $1.squares / $1.variance } / count
    }

    /// Fills every tap's cotangent and returns the loss.
    func fillCotangents(_ distance: Distance) throws -> Double {
        switch distance {
        case .mse:
            for part in parts { part.addDifference(scale: 2 / count) }
            return parts.reduce(0) { $0 + $1.squares } / count
        case .relative:
            guard let relative else {
                throw PluginError(
                    "distance=relative_mse divides by the anchor features' variance, which is 0 in this batch")
            }
            for part in parts { part.addDifference(scale: 2 / (count * part.variance)) }
            return relative
        case .cosine:
            let positions = parts.reduce(0) { $0 + Double($1.positions.count) }
            return parts.reduce(0) { $0 + $1.addCosine(scale: 1 / positions) } / positions
        case .linearCKA:
            let share = 1 / Double(parts.count)
            return try parts.reduce(0) { $0 + share * (try $1.addLinearCKA(scale: share)) }
        }
    }
}

/// How features are compared with their anchors.
enum Distance: String, SettingChoice {
    case mse
    case relative = "relative_mse"
    case cosine
    case linearCKA = "linear_cka"
}
