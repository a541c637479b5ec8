/// What a tensor holds in a model that nothing has been trained of, as the reference code draws it.
enum FreshValues: Sendable, Equatable {
    case constant(Float)
    /// N(0, deviation²).
    case normal(deviation: Float)
    /// Uniform within gain / sqrt(inputs): PyTorch's default for a linear layer's weight and bias alike.
    case uniform(inputs: Int, gain: Gain)
    /// The gate of an action head's block: 0, or what the caller of ``Initialiser`` says.
    case gate

    /// Factors that the caller of ``Initialiser`` may change.
    enum Gain: Sendable {
        /// Always 1.
        case one
        /// On the proprioception projector's first layer.
        case proprioBandwidth
        /// On its last.
        case proprioGain
    }

    static let zero = FreshValues.constant(0)
    static let one = FreshValues.constant(1)
    /// A scale on a residual branch of a vision transformer.
    static let layerScale = FreshValues.constant(0.1)
    /// Positions, class and register tokens of a vision transformer.
    static let table = FreshValues.normal(deviation: 0.02)
    /// The first factor of a low-rank update, N(0, 1/r²); the second is zero.
    static func lowRankA(rank: Int) -> FreshValues { .normal(deviation: 1 / Float(rank)) }
}

/// How the linear layers of a part are drawn.
enum LinearDraw: Sendable {
    /// N(0, 1/inputs) without bias: towers and projector.
    case fanIn
    /// N(0, deviation²) without bias: the decoder, by its `initializer_range`.
    case normal(deviation: Float)
    /// PyTorch's default: the action head and the proprioception projector.
    case uniform(FreshValues.Gain)

    func weight(inputs: Int) -> FreshValues {
        switch self {
        case .fanIn: .normal(deviation: 1 / Float(inputs).squareRoot())
        case .normal(let deviation): .normal(deviation: deviation)
        case .uniform(let gain): .uniform(inputs: inputs, gain: gain)
        }
    }

    func bias(inputs: Int) -> FreshValues {
        if case .uniform(let gain) = self { .uniform(inputs: inputs, gain: gain) } else { .zero }
    }
}
