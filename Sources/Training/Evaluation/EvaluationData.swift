internal import Data
internal import Models

/// Batches that measure a model, the same at every evaluation.
struct EvaluationData {
    /// Held-out samples that are kept.
    static let maximumDemonstrations = 256

    /// Questions asked at a time: as many pixels as 16 small images have.
    static func questionsPerBatch(imageSize: Int) -> Int {
        max(1, min(16, 16 * 64 * 64 / max(1, imageSize * imageSize)))
    }

    let demonstrations: [DemonstrationBatch]
    let questions: VQABatches?

    /// - Parameter sampler: of the run's demonstrations; nil where actions are not measured.
    init(_ settings: RunSettings, config: ModelConfig, demonstrations sampler: DemonstrationSampler?) throws {
        if settings.questions.isEmpty {
            questions = nil
        } else {
            let dataset = try VQADataset(path: settings.questions, split: "test")
            let batches = try dataset.batches(
                batchSize: Self.questionsPerBatch(imageSize: config.imageSize), imageSize: config.imageSize,
                maximumQuestions: settings.questionLimit)
            try batches.check()
            questions = batches
        }
        demonstrations =
            settings.holdOutEvery > 0
            ? try sampler?.heldOutBatches(maximumSamples: Self.maximumDemonstrations) ?? [] : []
    }
}

extension DemonstrationSampler {
    /// The sampler of a run.
    convenience init(_ parts: [MixturePart], _ settings: RunSettings, config: ModelConfig) throws {
        try self.init(
            parts,
            options: SamplingOptions(
                batchSize: settings.batchSize, imageSize: config.imageSize, cameras: settings.cameras,
                augment: settings.augments, seed: settings.seed, chunk: config.chunk,
                holdOutEvery: settings.holdOutEvery, shots: settings.shots, shotsSeed: settings.shotsSeed,
                threads: settings.threads))
    }
}
