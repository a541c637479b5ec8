import PluginKit

/// Features of one tap beside their anchors.
struct FeatureDrift {
    /// Elements that count: width times the positions whose mask is not zero.
    let count: Double
    /// `sum (f - f~)^2` over them.
    let squares: Double
    /// Population variance of the anchor's elements around their common mean.
    let variance: Double

    private let features: ArrayView<Float>
    private let anchors: ArrayView<Float>
    private let mask: ArrayView<Float>?
    private let cotangent: MutableArrayView<Float>

    /// - Parameters:
    ///   - features: `[B,T,D]`.
    ///   - anchors: `[B,T,D]`.
    ///   - mask: `[B,T]`; without one every position counts.
    ///   - cotangent: `[B,T,D]`.
    init(
        _ name: String, _ features: ArrayView<Float>?, _ anchors: ArrayView<Float>?, _ mask: ArrayView<Float>?,
        _ cotangent: MutableArrayView<Float>?
    ) throws {
        guard let features, let anchors, let cotangent else {
            throw PluginError("the host gave no \(name) features, though the plan turned their tap on")
        }
        self.features = features
        self.anchors = anchors
        self.mask = mask
        self.cotangent = cotangent
        let width = features.shape[2]
        var positions = 0.0
        var squares = 0.0
        var sum = 0.0
        for position in 0..<features.shape[0] * features.shape[1] where mask.map({ $0[position] != 0 }) ?? true {
            positions += 1
            for index in position * width..<(position + 1) * width {
                let difference = Double(features.elements[index]) - Double(anchors.elements[index])
                squares += difference * difference
                sum += Double(anchors.elements[index])
            }
        }
        count = positions * Double(width)
        guard count > 0 else {
            throw PluginError("the \(name) tap has no tokens in this batch (shape \(features.shape))")
        }
        self.squares = squares
        // A second pass: the one-pass formula cancels when the mean is large beside the spread.
        let mean = sum / count
        var spread = 0.0
        for position in 0..<features.shape[0] * features.shape[1] where mask.map({ $0[position] != 0 }) ?? true {
            for index in position * width..<(position + 1) * width {
                let deviation = Double(anchors.elements[index]) - mean
                spread += deviation * deviation
            }
        }
        variance = spread / count
    }

    /// Writes `scale * (f - f~)`; 0 where the mask is 0.
    func fillCotangent(scale: Double) {
        let width = features.shape[2]
        for position in 0..<features.shape[0] * features.shape[1] {
            let counts = mask.map { $0[position] != 0 } ?? true
            for index in position * width..<(position + 1) * width {
                let difference = Double(features.elements[index]) - Double(anchors.elements[index])
                cotangent.elements[index] = counts ? Float(scale * difference) : 0
            }
        }
    }
}

/// The drift of all taps together, as of one concatenated feature.
struct Drift {
    private let parts: [FeatureDrift]
    private let count: Double

    init(_ parts: [FeatureDrift]) {
        self.parts = parts
        count = parts.reduce(0) { $0 + $1.count }
    }

    /// `1/N * sum_parts squares / variance`: the same mean after each tap was scaled to unit variance. `nil` when a tap's
    /// anchors do not vary.
    var relative: Double? {
        guard parts.allSatisfy({ $0.variance > 0 }) else { return nil }
        return parts.reduce(0) { $0 + $1.squares / $1.variance } / count
    }

    /// Fills every tap's cotangent and returns the loss: `1/N * sum squares`, or ``relative``.
    func fillCotangents(isRelative: Bool) throws -> Double {
        guard isRelative else {
            for part in parts { part.fillCotangent(scale: 2 / count) }
            return parts.reduce(0) { $0 + $1.squares } / count
        }
        guard let relative else {
            throw PluginError(
                "distance=relative_mse divides by the anchor features' variance, which is 0 in this batch")
        }
        for part in parts { part.fillCotangent(scale: 2 / (count * part.variance)) }
        return relative
    }
}
