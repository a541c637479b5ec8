internal import Formats
internal import Models

/// A batch of random numbers in the shapes of a model, the same at every step: work without data.
final class RandomBatch: BatchSource {
    let batch: TrainingBatch
    /// Tokens of every prompt.
    let promptTokens: Int

    /// - `count`: samples (B).
    init(_ config: ModelConfig, count: Int, promptTokens: Int, policyInputCount: Int, seed: UInt64) {
        var generator = RandomGenerator(seed: seed, stream: RandomGenerator.stream("benchmark"))
        func values(_ count: Int, _ draw: (inout RandomGenerator) -> Double) -> [Float] {
            (0..<count).map { _ in Float(draw(&generator)) }
        }
        self.promptTokens = promptTokens
        let pixels = 3 * config.towers.count * config.cameras * config.imageSize * config.imageSize
        let vocabulary = config.decoder.vocabularySize
        let images = values(count * pixels) { $0.normal() }
        let prompts = (0..<count).map { _ in
            (0..<promptTokens).map { _ in Int32(generator.uniform() * Double(vocabulary)) }
        }
        let proprio = values(count * config.proprioDim) { $0.normal() }
        let noise = values(policyInputCount) { 0.02 * $0.normal() }
        let actions = values(count * config.chunk * config.actionDim) { 2 * $0.uniform() - 1 }
        batch = TrainingBatch(
            input: ModelInput(
                images: .normalised(images), cameras: config.cameras, prompts: prompts,
                action: .init(proprio: proprio, policyInput: noise)),
            targetActions: actions)
    }

    func next() throws -> TrainingBatch { batch }
}
