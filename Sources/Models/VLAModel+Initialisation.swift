internal import Tensors

extension VLAModel {
    /// Draws fresh values for the tensors that `select` names, as the reference code would: linear layers of head and
    /// proprioception by PyTorch's default, decoder and queries
    /// N(0, `initializer_range`), towers and projector by their fan-in,
    /// low-rank A N(0, 1/r) and B zero, norms at identity, gates at zero.
    ///
    /// Each tensor has a generator of its own, keyed by seed and name, so leaving one out does not change the others.
    public func initialise(seed: UInt64, where select: (String) -> Bool = { _ in true }) {
        for parameter in parameters.parameters where select(parameter.name) {
            var generator = RandomGenerator(seed: seed, stream: RandomGenerator.stream(parameter.name))
            let values = parameters.values(parameter.id)
            let draw = initialiser(of: parameter)
            for index in 0..<parameter.count { values[index] = draw(&generator) }
        }
    }

    private func initialiser(of parameter: Parameter) -> (inout RandomGenerator) -> Float {
        let name = parameter.name
        let fanIn = Float(parameter.shape.dropFirst().reduce(1, *))
        func normal(_ deviation: Float) -> (inout RandomGenerator) -> Float {
            { Float($0.normal()) * deviation }
        }
        func uniform(_ bound: Float) -> (inout RandomGenerator) -> Float {
            { Float($0.uniform() * 2 - 1) * bound }
        }
        if name.hasSuffix("lora_B.weight") || name.hasSuffix("gating_factor") { return { _ in 0 } }
        if name.hasSuffix("lora_A.weight") { return normal(1 / Float(parameter.shape[0])) }
        if name.hasSuffix("scale_factor") { return { _ in 0.1 } }
        if isHead(name) {
            if name.hasSuffix(".bias") && !isNorm(name) {
                let weight = parameters.id(of: name.replacingSuffix(".bias", with: ".weight"))
                let inputs = weight.map { parameters[$0].shape.dropFirst().reduce(1, *) } ?? 1
                return uniform(1 / Float(inputs).squareRoot())
            }
            if parameter.shape.count > 1 { return uniform(1 / fanIn.squareRoot()) }
        }
        if isNorm(name) { return { _ in name.hasSuffix(".weight") ? 1 : 0 } }
        if name.hasSuffix(".bias") { return { _ in 0 } }
        if name.hasPrefix("vision_backbone.") || name.hasPrefix("projector.") {
            return parameter.shape.count > 1 && !name.hasSuffix("pos_embed") && !name.hasSuffix("_token")
                ? normal(1 / fanIn.squareRoot()) : normal(0.02)
        }
        return normal(Float(config.decoder.initializerRange))
    }

    private func isNorm(_ name: String) -> Bool {
        name.contains("norm") || name.contains("ffn.0.")
    }
}

extension String {
    fileprivate func replacingSuffix(_ suffix: String, with replacement: String) -> String {
        hasSuffix(suffix) ? dropLast(suffix.count) + replacement : self
    }
}
