public import Models
public import PluginRuntime
public import Tensors

/// What tools and tests look at between steps.
extension TrainingStep {
    public var composition: Composition { session.composition }

    /// The objectives of the run, in list order.
    public var objectives: [String] { session.objectives }

    /// Feature taps that the plan asked for and some hook reads.
    public var taps: [FeatureTap] { passes.taps }

    /// Where phases and operations are recorded; nil records nothing.
    public var profile: OperationProfile? {
        get { tape.profile }
        set { tape.profile = newValue }
    }

    /// Bytes of memory taken so far for activations and cotangents.
    public var activationBytes: Int { tape.bytes }

    /// Bytes of anchor weights that had to be copied.
    public var anchorBytes: Int { anchor?.residentBytes ?? 0 }

    /// Where anchor features come from; nil when no hook reads any.
    public var anchorSource: AnchorWeights.Source? { anchor?.source }

    /// Multipliers by objective, as the next step will use them.
    public var multipliers: [String: Double] {
        Dictionary(uniqueKeysWithValues: zip(objectives, session.multipliers))
    }

    /// The gradient of an objective after the last step, before combination.
    public func gradient(of objective: String) -> GradientAccumulator? {
        objectives.firstIndex(of: objective).map { gradients[$0] }
    }
}

extension PluginFailure {
    /// Whether a plugin produced a value that is not a finite number, as opposed to reporting an error.
    var isNonFinite: Bool { if case .nonFinite = kind { true } else { false } }
}
