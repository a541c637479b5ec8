internal import Kernels
internal import Tensors

/// Settings of the optimizer, as `torch.optim.AdamW` has them.
package struct AdamWSettings: Codable, Sendable, Equatable {
    /// Decay of the first moment, the mean of gradients, per step.
    package var beta1 = 0.9
    /// Decay of the second moment, the mean of their squares.
    package var beta2 = 0.999
    /// Added to the root of the second moment.
    package var epsilon = 1e-8
    /// Share of a parameter that a step takes away, times the learning rate.
    package var weightDecay = 0.01

    package init() {}

    func check(_ problems: inout SettingProblems) {
        // The kernel's float32 must stay below 1 too, or nothing would ever enter the moment.
        for (key, beta) in [("optimizer.beta1", beta1), ("optimizer.beta2", beta2)] {
            problems.need(key, beta, "0 or more and below 1 (0.9999999 at most)") { $0 >= 0 && Float($0) < 1 }
        }
        problems.need("optimizer.epsilon", epsilon, "a number above 0 (1e-30 or more) and at most 1") {
            $0 >= 1e-30 && $0 <= 1
        }
        problems.need("optimizer.weightDecay", weightDecay, "0 to 1") { $0 >= 0 && $0 <= 1 }
    }
}

/// AdamW (Loshchilov & Hutter 2019) with the combination of gradients folded into its pass over memory: the combined
/// gradient of a block, `Σ_i w_i G_i`, exists in registers only.
///
/// Parameters that no objective reached, or whose rate is 0, are left alone, moments and weight decay included; the bias
/// correction counts a parameter's own updates, as PyTorch's does.
final class AdamW {
    let settings: AdamWSettings
    /// First and second moments, laid out as the trainable parameters.
    let firstMoment: FloatBuffer
    let secondMoment: FloatBuffer
    /// Updates made so far.
    var updates = 0
    /// Updates of each parameter (t), by id.
    var parameterUpdates: [Int]
    private let parameters: ParameterSet
    /// Learning rates of the step, by parameter id.
    private var rates: [Double]

    init(parameters: ParameterSet, settings: AdamWSettings) {
        self.parameters = parameters
        self.settings = settings
        firstMoment = parameters.makeTrainableBuffer()
        secondMoment = parameters.makeTrainableBuffer()
        rates = Array(repeating: 0, count: parameters.parameters.count)
        parameterUpdates = Array(repeating: 0, count: parameters.parameters.count)
    }

    /// One update.
    ///
    /// - `pieces`: those of `blocks`; this process's own are updated. `weights`: [blocks, gradients.count], float64.
    /// - `scale`: factor on all of them (gradient clipping).
    /// - `rate`: learning rate of a parameter. `blockRates`: [blocks], a factor on it; nil: 1.
    func update(
        _ gradients: [GradientAccumulator], blocks: ParameterBlocks, pieces: BlockPieces, weights: [Double],
        scale: Double, rate: (Parameter) -> Double, blockRates: [Double]? = nil, _ parallel: Parallel
    ) {
        updates += 1
        let m = gradients.count
        for (index, block) in blocks.blocks.enumerated() {
            for parameter in block.parameters {
                let isReached = gradients.contains { $0.isReached[parameter.id] }
                rates[parameter.id] = isReached ? rate(parameter) * (blockRates?[index] ?? 1) : 0
                if rates[parameter.id] != 0 { parameterUpdates[parameter.id] += 1 }
            }
        }
        let corrections = corrections()
        parallel.ranges(pieces.own.count, grain: 1) { range in
            withUnsafeTemporaryAllocation(of: UnsafePointer<Float>.self, capacity: m) { starts in
                withUnsafeTemporaryAllocation(of: Float.self, capacity: m) { factors in
                    guard let sources = starts.baseAddress, let factor = factors.baseAddress else { return }
                    for piece in pieces.own[range] where rates[piece.parameter] != 0 {
                        for row in 0..<m {
                            starts.initializeElement(
                                at: row, to: UnsafePointer(gradients[row].values.base + piece.offset))
                            factors.initializeElement(at: row, to: Float(weights[piece.block * m + row] * scale))
                        }
                        var constants = corrections[piece.parameter]
                        constants.lr = Float(rates[piece.parameter])
                        ck_adamw(
                            parameters.trainable + piece.offset, firstMoment.base + piece.offset,
                            secondMoment.base + piece.offset, sources, factor, m, piece.count, &constants)
                    }
                }
            }
        }
    }

    /// The kernel's settings by parameter id; most have seen equally many updates.
    private func corrections() -> [ck_adamw_settings] {
        var last: (updates: Int, settings: ck_adamw_settings)?
        return parameterUpdates.map { count in
            if let last, last.updates == count { return last.settings }
            // From the float32 betas that the kernel multiplies with: 0.999 and Float(0.999) differ enough to show early on.
            let settings = ck_adamw_settings(
                lr: 0, beta1: Float(settings.beta1), beta2: Float(settings.beta2), eps: Float(settings.epsilon),
                weight_decay: Float(settings.weightDecay),
                bias_correction1: Float(1 - pow(Double(Float(settings.beta1)), count)),
                bias_correction2: Float(1 - pow(Double(Float(settings.beta2)), count)))
            last = (count, settings)
            return settings
        }
    }

    /// Updates of the parameters that have seen fewer than `updates`, by name; nil when there are none.
    var unevenUpdates: [String: Int]? {
        let uneven = parameters.parameters.filter { $0.isTrainable && parameterUpdates[$0.id] != updates }
        return uneven.isEmpty
            ? nil : Dictionary(uniqueKeysWithValues: uneven.map { ($0.name, parameterUpdates[$0.id]) })
    }

    /// Goes on after `updates` updates, `uneven` by name for parameters that have seen fewer.
    func resume(updates: Int, uneven: [String: Int]) {
        self.updates = updates
        for parameter in parameters.parameters {
            parameterUpdates[parameter.id] = uneven[parameter.name] ?? updates
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
