import Tensors

/// Fresh values as the reference code draws them: linear layers of head and proprioception by PyTorch's default, decoder
/// and queries N(0, `initializer_range`), towers and projector by their fan-in, low-rank A N(0, 1/r) and B zero, norms at
/// identity, gates at `gate`.
///
/// Each tensor has a generator of its own, keyed by seed and name, so leaving one out does not change the others.
struct Initialiser {
    let seed: UInt64
    /// Standard deviation of the decoder's weights and the queries.
    let range: Float
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
    /// Shape of a tensor by name, for biases, whose bound is that of their weight.
    let shape: (String) -> [Int]?

    func fill(_ name: String, shape: [Int], _ values: UnsafeMutablePointer<Float>) {
        var generator = RandomGenerator(seed: seed, stream: RandomGenerator.stream(name))
        let draw = draw(name, shape)
        for index in 0..<shape.reduce(1, *) { values[index] = draw(&generator) }
    }

    private func draw(_ name: String, _ shape: [Int]) -> (inout RandomGenerator) -> Float {
        let fanIn = Float(shape.dropFirst().reduce(1, *))
        func normal(_ deviation: Float) -> (inout RandomGenerator) -> Float {
            { Float($0.normal()) * deviation }
        }
        func uniform(_ bound: Float) -> (inout RandomGenerator) -> Float {
            { Float($0.uniform() * 2 - 1) * bound }
        }
        if name.hasSuffix("lora_B.weight") { return { _ in 0 } }
        if name.hasSuffix("gating_factor") { return { _ in gate } }
        if name.hasSuffix("lora_A.weight") { return normal(1 / Float(shape[0])) }
        if name.hasSuffix("scale_factor") { return { _ in 0.1 } }
        if name.hasPrefix("action_head.") || name.hasPrefix("proprio_projector.") {
            let gain = gain(name)
            if name.hasSuffix(".bias") && !Self.isNorm(name) {
                let weight = self.shape(name.dropLast("bias".count) + "weight")
                let inputs = weight.map { $0.dropFirst().reduce(1, *) } ?? 1
                return uniform(gain / Float(inputs).squareRoot())
            }
            if shape.count > 1 { return uniform(gain / fanIn.squareRoot()) }
        }
        if Self.isNorm(name) { return { _ in name.hasSuffix(".weight") ? 1 : 0 } }
        if name.hasSuffix(".bias") { return { _ in 0 } }
        if name.hasPrefix("vision_backbone.") || name.hasPrefix("projector.") {
            let isTable = name.hasSuffix("pos_embed") || name.hasSuffix("_token") || name.hasSuffix("latent")
            return shape.count > 1 && !isTable ? normal(1 / fanIn.squareRoot()) : normal(0.02)
        }
        return normal(range)
    }

    private func gain(_ name: String) -> Float {
        if name.hasPrefix("proprio_projector.fc1.") { return proprioBandwidth }
        return name.hasPrefix("proprio_projector.fc2.") ? proprioGain : 1
    }

    private static func isNorm(_ name: String) -> Bool { name.contains("norm") || name.contains("ffn.0.") }
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
        let range = Float(config.decoder.initializerRange)
        let initialiser = Initialiser(
            seed: seed, range: range, gate: gate, proprioGain: proprioGain, proprioBandwidth: proprioBandwidth
        ) { name in
            self.parameters.id(of: name).map { self.parameters[$0].shape }
        }
        for parameter in parameters.parameters where select(parameter.name) {
            initialiser.fill(parameter.name, shape: parameter.shape, parameters.values(parameter.id))
        }
    }
}
