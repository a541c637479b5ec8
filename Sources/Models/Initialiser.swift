internal import Formats
internal import Tensors

/// Draws the values that modules declare for a fresh model.
///
/// Each tensor has a generator of its own, keyed by seed and name, so leaving one out does not change the others.
struct Initialiser {
    let seed: UInt64
    /// Value of the action head's gates: 0 in the reference, with which the policy attends to all visual tokens alike at
    /// first and no gradient reaches what would tell them apart.
    var gate: Float = 0
    /// Factor on the values of the proprioception projector's last layer: 1 in the reference. Its token then has an RMS of
    /// 0.1 to 0.2, beside hidden states of 1 to 16 among which the policy's attention has to find it.
    var proprioGain: Float = 1
    /// Factor on those of its first layer: 1 in the reference. With more, its units bend at other places of the state's range
    /// and within less of it, as random features of a larger bandwidth do (Rahimi and Recht 2007): a network fits slow
    /// functions of its input first (Rahaman et al. 2019), and a centimetre decides whether fingers have to close.
    var proprioBandwidth: Float = 1

    func fill(_ name: String, count: Int, with fresh: FreshValues, _ values: UnsafeMutablePointer<Float>) {
        var generator = RandomGenerator(seed: seed, stream: RandomGenerator.stream(name))
        let draw = draw(fresh)
        for index in 0..<count { values[index] = draw(&generator) }
    }

    private func draw(_ fresh: FreshValues) -> (inout RandomGenerator) -> Float {
        switch fresh {
        case .constant(let value): return { _ in value }
        case .gate: return { [gate] _ in gate }
        case .normal(let deviation): return { Float($0.normal()) * deviation }
        case .uniform(let inputs, let gain):
            let bound = factor(gain) / Float(inputs).squareRoot()
            return { Float($0.uniform() * 2 - 1) * bound }
        }
    }

    private func factor(_ gain: FreshValues.Gain) -> Float {
        switch gain {
        case .one: 1
        case .proprioBandwidth: proprioBandwidth
        case .proprioGain: proprioGain
        }
    }
}

extension VLAModel {
    /// Draws fresh values for the tensors that `select` names (see ``Initialiser``).
    ///
    /// - `gate`: of the action head's gates.
    /// - `proprioGain`, `proprioBandwidth`: factors on the proprioception projector's last and first layer.
    package func initialise(
        seed: UInt64, gate: Float = 0, proprioGain: Float = 1, proprioBandwidth: Float = 1,
        where select: (String) -> Bool = { _ in true }
    ) {
        let initialiser = Initialiser(
            seed: seed, gate: gate, proprioGain: proprioGain, proprioBandwidth: proprioBandwidth)
        for parameter in parameters.parameters where select(parameter.name) {
            initialiser.fill(
                parameter.name, count: parameter.count, with: fresh[parameter.id], parameters.values(parameter.id))
        }
    }
}
