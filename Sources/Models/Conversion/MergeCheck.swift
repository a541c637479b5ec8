internal import Tensors

/// Runs a model with its adapter, and the folder it was merged into, on the same random batch.
struct MergeCheck {
    let original: ModelFolder
    /// Folder of the merged weights.
    let merged: String
    let parallel: Parallel

    /// Largest difference of any hidden state and of the actions, relative to the largest value of each.
    func difference() throws -> Double {
        let settings = original.adapterSettings ?? AdapterSettings(rank: 1, alpha: 1)
        let expected = try states(of: original, .lowRank(settings))
        var choices = ModelFolder.Choices()
        choices.cameras = original.config.cameras
        choices.proPolicy = original.config.policy.pro
        let found = try states(of: try ModelFolder(path: merged, choices: choices), .frozen)
        return zip(expected, found).reduce(0.0) { worst, pair in
            let scale = pair.0.reduce(Float(1e-12)) { max($0, abs($1)) }
            let error = zip(pair.0, pair.1).reduce(Float(0)) { max($0, $1.0.isFinite ? abs($1.0 - $1.1) : .infinity) }
            return max(worst, Double(error / scale))
        }
    }

    private func states(of folder: ModelFolder, _ fineTuning: FineTuning) throws -> [[Float]] {
        let model = VLAModel(config: folder.config, fineTuning: fineTuning)
        let absent = try folder.load(into: model)
        if let name = absent.first(where: { !model.isHeadParameter($0) }) {
            throw ModelError("\(folder.path): no file has the tensor \(name)")
        }
        let tape = Tape(parameters: model.parameters, parallel: parallel)
        tape.reset(weights: model.parameters.currentWeights(), recording: false)
        let output = model.forward(input(folder.config, runsPolicy: absent.isEmpty), on: tape)
        return (output.hiddenStates + (output.predictedActions.map { [$0] } ?? [])).map { tensor in
            Array(UnsafeBufferPointer(start: tensor.values, count: tensor.count))
        }
    }

    private func input(_ config: ModelConfig, runsPolicy: Bool) -> ModelInput {
        var generator = RandomGenerator(seed: 0, stream: RandomGenerator.stream("merge check"))
        let pixels = 3 * config.towers.count * config.cameras * config.imageSize * config.imageSize
        let tokens = min(16, config.decoder.vocabularySize)
        return ModelInput(
            images: .normalised((0..<pixels).map { _ in Float(generator.normal()) }), cameras: config.cameras,
            prompts: [(0..<tokens).map { _ in Int32(generator.next() % UInt64(config.decoder.vocabularySize)) }],
            action: .init(
                proprio: (0..<config.proprioDim).map { _ in Float(generator.normal()) }, runsPolicy: runsPolicy))
    }
}
