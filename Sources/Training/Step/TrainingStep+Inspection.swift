package import Models
package import PluginRuntime
package import Tensors

/// What tools and tests look at between steps.
extension TrainingStep {
    package var composition: Composition { session.composition }

    /// The objectives of the run, in list order.
    package var objectives: [String] { session.objectives }

    /// Feature taps that the plan asked for and some hook reads.
    package var taps: [FeatureTap] { passes.taps }

    /// Where phases and operations are recorded; nil records nothing.
    package var profile: OperationProfile? {
        get { tape.profile }
        set { tape.profile = newValue }
    }

    /// Bytes of memory taken so far for activations and cotangents.
    package var activationBytes: Int { tape.bytes }

    /// Bytes of anchor weights that had to be copied.
    package var anchorBytes: Int { anchor?.residentBytes ?? 0 }

    /// Where anchor features come from; nil when no hook reads any.
    package var anchorSource: AnchorWeights.Source? { anchor?.source }

    /// Multipliers by objective, as the next step will use them.
    package var multipliers: [String: Double] {
        Dictionary(uniqueKeysWithValues: zip(objectives, session.multipliers))
    }

    /// The gradient of an objective after the last step, before combination.
    package func gradient(of objective: String) -> GradientAccumulator? {
        objectives.firstIndex(of: objective).map { gradients[$0] }
    }
}

extension PluginFailure {
    /// Whether a plugin produced a value that is not a finite number, as opposed to reporting an error.
    var isNonFinite: Bool { if case .nonFinite = kind { true } else { false } }
}
