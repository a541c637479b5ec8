internal import Kernels
internal import Tensors

/// Settings of the optimizer.
public struct AdamWSettings: Codable, Sendable, Equatable {
    public var beta1 = 0.9
    public var beta2 = 0.999
    public var epsilon = 1e-8
    public var weightDecay = 0.01

    public init() {}
}

/// AdamW (Loshchilov & Hutter 2019) with the combination of gradients folded into its pass over memory: the combined
/// gradient of a block, `Σ_i w_i G_i`, exists in registers only.
///
/// Parameters that no objective reached are left alone, weight decay included.
final class AdamW {
    let settings: AdamWSettings
    /// First and second moments, laid out as the trainable parameters.
    let firstMoment: FloatBuffer
    let secondMoment: FloatBuffer
    /// Updates made so far (t).
    var updates = 0
    private let parameters: ParameterSet
    private static let pieceSize = 1 << 16

    init(parameters: ParameterSet, settings: AdamWSettings) {
        self.parameters = parameters
        self.settings = settings
        firstMoment = parameters.makeTrainableBuffer()
        secondMoment = parameters.makeTrainableBuffer()
    }

    /// One update.
    ///
    /// - `weights`: [blocks, gradients.count], float64. `scale`: factor on all of them (gradient clipping).
    /// - `rate`: learning rate of a parameter.
    func update(
        _ gradients: [GradientAccumulator], blocks: ParameterBlocks, weights: [Double], scale: Double,
        rate: (Parameter) -> Double, _ parallel: Parallel
    ) {
        updates += 1
        let m = gradients.count
        // From the float32 betas that the kernel multiplies with: 0.999 and Float(0.999) differ enough to show early on.
        let correction1 = 1 - pow(Double(Float(settings.beta1)), updates)
        let correction2 = 1 - pow(Double(Float(settings.beta2)), updates)
        struct Piece {
            let offset: Int
            let count: Int
            let block: Int
            let rate: Double
        }
        var pieces: [Piece] = []
        for (index, block) in blocks.blocks.enumerated() {
            for parameter in block.parameters where gradients.contains(where: { $0.isReached[parameter.id] }) {
                let rate = rate(parameter)
                for start in stride(from: 0, to: parameter.count, by: Self.pieceSize) {
                    pieces.append(
                        Piece(
                            offset: parameter.offset + start, count: min(Self.pieceSize, parameter.count - start),
                            block: index, rate: rate))
                }
            }
        }
        parallel.ranges(pieces.count, grain: 1) { range in
            for piece in pieces[range] {
                let starts: [UnsafePointer<Float>] = gradients.map { UnsafePointer($0.values.base + piece.offset) }
                let factors = (0..<m).map { Float(weights[piece.block * m + $0] * scale) }
                var constants = ck_adamw_settings(
                    lr: Float(piece.rate), beta1: Float(settings.beta1), beta2: Float(settings.beta2),
                    eps: Float(settings.epsilon), weight_decay: Float(settings.weightDecay),
                    bias_correction1: Float(correction1), bias_correction2: Float(correction2))
                ck_adamw(
                    parameters.trainable + piece.offset, firstMoment.base + piece.offset,
                    secondMoment.base + piece.offset, starts, factors, m, piece.count, &constants)
            }
        }
    }

    private func pow(_ base: Double, _ exponent: Int) -> Double {
        var result = 1.0
        var (factor, rest) = (base, exponent)
        while rest > 0 {
            if rest & 1 == 1 { result *= factor }
            factor *= factor
            rest >>= 1
        }
        return result
    }
}
