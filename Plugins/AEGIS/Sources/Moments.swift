import GradientMath
import PluginKit

/// What is known of a Gaussian's covariance.
enum Covariance: String, SettingChoice { case diagonal, full }

/// Mean and scatter of points, which can be merged (Chan, Golub and LeVeque 1979).
struct Moments {
    let covariance: Covariance
    private(set) var count: Double
    private(set) var mean: [Double]
    /// Sums of squared deviations, or of their products, row-major.
    private(set) var scatter: [Double]
    var width: Int { mean.count }

    /// - Parameter point: values of a point, by number.
    init(count: Int, width: Int, _ covariance: Covariance, point: (Int) -> UnsafeBufferPointer<Float>) {
        self.covariance = covariance
        self.count = Double(count)
        mean = [Double](repeating: 0, count: width)
        for index in 0..<count {
            let values = point(index)
            for column in 0..<width { mean[column] += Double(values[column]) }
        }
        for column in 0..<width { mean[column] /= max(Double(count), 1) }
        scatter = [Double](repeating: 0, count: covariance == .full ? width * width : width)
        var deviation = mean
        for index in 0..<count {
            let values = point(index)
            for column in 0..<width { deviation[column] = Double(values[column]) - mean[column] }
            addSquares(of: deviation, times: 1)
        }
    }

    mutating func merge(_ other: Moments) {
        let total = count + other.count
        guard total > 0 else { return }
        let step = zip(other.mean, mean).map { $0 - $1 }
        for index in scatter.indices { scatter[index] += other.scatter[index] }
        addSquares(of: step, times: count * other.count / total)
        for column in mean.indices { mean[column] += step[column] * (other.count / total) }
        count = total
    }

    private mutating func addSquares(of deviation: [Double], times factor: Double) {
        let width = deviation.count
        guard covariance == .full else {
            for column in 0..<width { scatter[column] += factor * deviation[column] * deviation[column] }
            return
        }
        for row in 0..<width {
            let value = factor * deviation[row]
            for column in 0..<width { scatter[row * width + column] += value * deviation[column] }
        }
    }

    /// Of the population. `[D]`, diagonal alone.
    var deviations: [Double] { scatter.map { ($0 / max(count, 1)).squareRoot() } }

    /// Of the population.
    var matrix: SymmetricMatrix {
        SymmetricMatrix(size: width) { scatter[$0 * width + $1] / max(count, 1) }
    }

    // MARK: - State

    func save(to output: inout StateWriter) throws {
        try output.write(Int64(covariance == .full ? 1 : 0))
        try output.write(count)
        try output.write(mean)
        try output.write(scatter)
    }

    init(from input: inout StateReader) throws {
        covariance = try input.integer() == 1 ? .full : .diagonal
        count = try input.double()
        mean = try input.doubles()
        scatter = try input.doubles(limit: 1 << 28)
        let expected = covariance == .full ? mean.count * mean.count : mean.count
        guard count > 0, count.isFinite, scatter.count == expected, (mean + scatter).allSatisfy(\.isFinite) else {
            throw PluginError(
                "the saved state is damaged: moments of \(count) points, \(mean.count) and \(scatter.count) values")
        }
    }
}

/// The two parts of a squared Wasserstein-2 distance between Gaussians: of means, and of covariances.
struct TransportCost {
    var mean = 0.0
    var spread = 0.0
}

/// How points move to become the anchor's: `x -> mu~ + T (x - mu)`, and what it costs.
struct Transport {
    let cost: TransportCost
    /// `mu - mu~`
    let shift: [Double]
    /// `I - T`: its diagonal, or all of it row-major.
    let stretch: [Double]
}

/// The Gaussian that a layer's features should keep to.
struct GaussianAnchor {
    private let mean: [Double]
    /// Standard deviations, of a diagonal one.
    private let deviations: [Double]
    /// Root of the covariance and its trace, of a full one.
    private let root: SymmetricMatrix?
    private let trace: Double
    var width: Int { mean.count }

    init(_ moments: Moments) {
        mean = moments.mean
        guard moments.covariance == .full else {
            (deviations, root, trace) = (moments.deviations, nil, 0)
            return
        }
        let matrix = moments.matrix
        deviations = []
        root = matrix.spectral { $0.squareRoot() }
        trace = matrix.trace
    }

    /// From a micro-batch's Gaussian to this one.
    func transport(from moments: Moments) -> Transport {
        let shift = zip(moments.mean, mean).map { $0 - $1 }
        var cost = TransportCost(mean: shift.reduce(0) { $0 + $1 * $1 })
        guard let root else {
            let own = moments.deviations
            for (own, target) in zip(own, deviations) { cost.spread += (own - target) * (own - target) }
            // Where nothing varies there is no direction to stretch.
            return Transport(cost: cost, shift: shift, stretch: zip(own, deviations).map { $0 > 0 ? 1 - $1 / $0 : 0 })
        }
        // W2^2 of the covariances: tr S + tr S~ - 2 tr (S~^1/2 S S~^1/2)^1/2; its derivative is I - T.
        let covariance = moments.matrix
        let inner = root.conjugating(covariance)
        let map = root.conjugating(inner.spectral { $0 > 0 ? 1 / $0.squareRoot() : 0 })
        cost.spread = max(0, covariance.trace + trace - 2 * inner.spectral { $0.squareRoot() }.trace)
        let size = shift.count
        return Transport(
            cost: cost, shift: shift,
            stretch: (0..<size * size).map { ($0 % (size + 1) == 0 ? 1 : 0) - map[$0 / size, $0 % size] })
    }
}

/// A tap with the features of all layers.
struct LayerFeatures {
    private let features: ArrayView<Float>
    private let mask: ArrayView<Float>
    private let layers: Int
    private let tokens: Int
    let width: Int

    init(_ features: ArrayView<Float>, mask: ArrayView<Float>, layers: Int) throws {
        guard layers > 0, features.shape[1].isMultiple(of: layers) else {
            throw PluginError("the features have shape \(features.shape), which is not that of \(layers) layers")
        }
        if let bad = features.elements.first(where: { !$0.isFinite }) { throw PluginError("a feature is \(bad)") }
        (self.features, self.mask, self.layers) = (features, mask, layers)
        tokens = features.shape[1] / layers
        width = features.shape[2]
    }

    /// Rows of a layer that hold a token.
    private func positions(_ layer: Int) -> [Int] {
        (0..<features.shape[0]).flatMap { sample -> [Int] in
            let start = (sample * layers + layer) * tokens
            return (start..<start + tokens).filter { mask[$0] != 0 }
        }
    }

    private func point(_ position: Int) -> UnsafeBufferPointer<Float> {
        UnsafeBufferPointer(rebasing: features.elements[position * width..<(position + 1) * width])
    }

    func moments(ofLayer layer: Int, _ covariance: Covariance) throws -> Moments {
        let positions = positions(layer)
        guard !positions.isEmpty else { throw PluginError("layer \(layer) has no tokens in this batch") }
        return Moments(count: positions.count, width: width, covariance) { point(positions[$0]) }
    }

    /// `dL/dx_i = 2 scale / N ((mu - mu~) + (I - T) (x_i - mu))`
    func addCotangents(
        _ transport: Transport, _ moments: Moments, layer: Int, scale: Double, to cotangent: MutableArrayView<Float>
    ) {
        let positions = positions(layer)
        let factor = 2 * scale / Double(positions.count)
        let isFull = moments.covariance == .full
        var deviation = moments.mean
        for position in positions {
            let values = point(position)
            for column in 0..<width { deviation[column] = Double(values[column]) - moments.mean[column] }
            for column in 0..<width {
                var sum = transport.shift[column]
                if isFull {
                    for other in 0..<width { sum += transport.stretch[column * width + other] * deviation[other] }
                } else {
                    sum += transport.stretch[column] * deviation[column]
                }
                cotangent.elements[position * width + column] = Float(factor * sum)
            }
        }
    }
}
