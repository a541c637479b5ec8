/// Settings of the step itself.
package struct StepSettings: Codable, Sendable, Equatable {
    /// Micro-batches per step (K).
    package var accumulation = 1
    /// Largest norm of the combined gradient; 0 leaves it as it is.
    package var clipNorm = 0.0
    /// Whether a step with a non-finite loss or cotangent is skipped and counted instead of ending the run.
    package var skipsNonFinite = false
    /// Whether blocks of the model are run again in backward passes instead of keeping what they computed.
    package var checkpointsActivations = false
    /// What matrix products of the anchors' forward pass are computed from; nil: as all others.
    package var anchorPrecision: RunSettings.MatmulPrecision?
    /// Factors on the learning rate by parameter group.
    package var learningRateScales = LearningRateScales()
    /// Probability, per sample, that the policy gets zeros in place of the normalised proprioception.
    package var proprioDropout = 0.0
    /// Steps in which it does; nil is all of them.
    package var proprioDropoutSteps: Int?
    package var seed: UInt64 = 0

    package init() {}

    init(_ settings: RunSettings) {
        accumulation = settings.accumulation
        clipNorm = settings.clipNorm
        skipsNonFinite = settings.skipsNonFinite
        checkpointsActivations = settings.checkpointsActivations
        anchorPrecision = settings.anchorPrecision
        learningRateScales = settings.learningRateScales ?? LearningRateScales()
        proprioDropout = settings.proprioDropout ?? RunSettings.defaultProprioDropout
        proprioDropoutSteps = settings.proprioDropoutSteps
        seed = settings.seed
    }
}
