internal import Foundation

/// How the learning rate changes over a run.
package struct LearningRateSchedule: Codable, Sendable, Equatable {
    package enum Kind: String, Codable, Sendable, CaseIterable {
        case constant
        /// A tenth of the rate from `decayStep` on, as the original script's MultiStepLR.
        case multistep
        /// Half a cosine from the base rate to zero at the last step.
        case cosine
    }

    package var kind: Kind
    package var base: Double
    /// Steps of linear warm-up from a tenth of the rate.
    package var warmupSteps: Int
    /// First step of the lower rate, for ``Kind/multistep``.
    package var decayStep: Int
    /// Length of the cosine.
    package var totalSteps: Int

    package init(kind: Kind = .constant, base: Double, warmupSteps: Int = 0, decayStep: Int = 100_000, totalSteps: Int)
    {
        self.kind = kind
        self.base = base
        self.warmupSteps = warmupSteps
        self.decayStep = decayStep
        self.totalSteps = totalSteps
    }

    /// The rate used by step `step`, counted from 0.
    package func rate(at step: Int) -> Double {
        if step < warmupSteps {
            return base * (0.1 + 0.9 * Double(step) / Double(warmupSteps))
        }
        switch kind {
        case .constant: return base
        case .multistep: return step >= decayStep ? base * 0.1 : base
        case .cosine:
            let span = max(1, totalSteps - warmupSteps)
            let progress = min(1, Double(step - warmupSteps) / Double(span))
            return base * 0.5 * (1 + cos(Double.pi * progress))
        }
    }
}
