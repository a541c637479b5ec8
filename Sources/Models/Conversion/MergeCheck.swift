internal import Formats
internal import Tensors

/// Compares merged weights with what they should be: the definition of LoRA in float64, from the files as they are, and the model
/// with its adapter on a random batch.
struct MergeCheck {
    let original: ModelFolder
    /// Folder of the merged weights.
    let merged: String
    let parallel: Parallel

    /// Rows of a weight that are worked out anew.
    private static let rows = 8

    /// Largest difference of a merged weight to W + scale B A, evaluated in float64 for some rows of every adapted module, relative
    /// to the largest weight of the row. Rank and scale are taken from the files again, not from what merging used.
    func definitionDifference(folder: String) throws -> Double {
        guard let adapter = original.adapter, let written = try TensorFiles.open(in: merged) else { return 0 }
        let configuration = try AdapterConfiguration(folder + "/lora_adapter/adapter_config.json")
        var worst = 0.0
        for name in adapter.file.names {
            guard let key = AdapterKey(name), key.factor == .a else { continue }
            let weight = key.module + ".weight"
            guard let target = written.file(of: weight), let base = original.backbone?.file(of: weight) else {
                continue
            }
            let (a, b) = (
                try adapter.file.floats(name),
                try adapter.file.floats(AdapterKey.name(of: key.module, .b))
            )
            let (w, found) = (try base.floats(weight), try target.floats(weight))
            let rank = try adapter.file.requiredEntry(name).shape[0]
            let scale =
                configuration.alpha / (configuration.isRankStabilised ? Double(rank).squareRoot() : Double(rank))
            guard rank > 0, a.count % rank == 0, b.count % rank == 0 else { continue }
            let (outputs, inputs) = (b.count / rank, a.count / rank)
            guard w.count == outputs * inputs, found.count == w.count else {
                throw ModelError(
                    .mismatched, "\(merged): \(weight) has \(found.count) values, expected \(outputs * inputs)")
            }
            for row in stride(from: 0, to: outputs, by: max(1, outputs / Self.rows)) {
                var (error, size) = (0.0, 1e-12)
                for column in 0..<inputs {
                    var update = 0.0
                    for k in 0..<rank { update += Double(b[row * rank + k]) * Double(a[k * inputs + column]) }
                    let expected = Double(w[row * inputs + column]) + scale * update
                    error = max(error, abs(Double(found[row * inputs + column]) - expected))
                    size = max(size, abs(expected))
                }
                worst = max(worst, error / size)
            }
        }
        return worst
    }

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
            throw ModelError(.missing, "\(folder.path): no file has the tensor \(name)")
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
