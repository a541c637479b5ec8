internal import PluginRuntime

/// The two kinds of run, with what holds where nothing is said. Folders are the caller's to fill in.
extension RunSettings {
    /// Fine-tuning on demonstrations.
    package static let training = RunSettings()

    /// Training a vision-language model from scratch on questions.
    package static let pretraining: RunSettings = {
        var settings = RunSettings()
        settings.task = .questions
        settings.startsFresh = true
        settings.plugins = [PluginRequest(name: "AnswerLoss")]
        settings.steps = 5000
        settings.batchSize = 32
        settings.learningRate = 4e-4
        settings.schedule = .cosine
        settings.warmupSteps = 100
        settings.optimizer.weightDecay = 0.05
        settings.clipNorm = 1
        settings.logEvery = 10
        settings.holdOutEvery = 0
        return settings
    }()

    package static let defaultReadAhead = 2
    package static let defaultGate = 0.0
    package static let defaultProprioFactor = 1.0
    package static let defaultProprioDropout = 0.0

    /// Alpha of adapters of a rank, where none is given: twice the rank.
    package static func defaultAlpha(rank: Int) -> Double { Double(2 * max(0, min(rank, 1 << 20))) }

    /// With the values of keys that nothing is said about, but for those that the model folder decides.
    package var resolved: RunSettings {
        var settings = self
        settings.readAhead = readAhead ?? Self.defaultReadAhead
        settings.statistics = statistics ?? .all
        settings.reportTo = reportTargets
        settings.matmulPrecision = matmulPrecision ?? .float32
        settings.anchorPrecision = anchorPrecision ?? settings.matmulPrecision
        settings.gate = gate ?? Self.defaultGate
        settings.proprioGain = proprioGain ?? Self.defaultProprioFactor
        settings.proprioBandwidth = proprioBandwidth ?? Self.defaultProprioFactor
        settings.proprioDropout = proprioDropout ?? Self.defaultProprioDropout
        settings.learningRateScales = learningRateScales ?? LearningRateScales()
        return settings
    }
}
