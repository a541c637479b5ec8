import Data
import Formats
import Foundation
import Models
import PluginRuntime
import Tensors
import TestSupport
import Testing
import Training

/// A random model of odd sizes, with random batches, for tests of the step alone.
struct StepFixture {
    static let configuration = """
        {
          "text_config": {
            "model_type": "qwen2", "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4,
            "num_key_value_heads": 2, "intermediate_size": 40, "vocab_size": 50, "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0, "tie_word_embeddings": true
          },
          "craft_small": {
            "image_size": 12, "patch_size": 4, "cameras": 2,
            "towers": [{
              "kind": "siglip", "prefix": "featurizer", "dim": 18, "depth": 2, "heads": 3, "mlp": 28,
              "class_token": false, "register_tokens": 0, "layer_scale": false, "attn_pool": false,
              "output_block": 1, "layer_norm_eps": 1e-6
            }],
            "projector_dims": [18, 30, 24], "num_queries": 5, "action_dim": 7, "chunk": 8, "proprio_dim": 8,
            "policy": {"pro": false, "dim": 24, "heads": 3, "blocks": 3, "layer_norm_eps": 1e-5}
          }
        }
        """

    let folder: TemporaryFolder
    let model: VLAModel
    let parallel = Parallel(threads: 2)

    init(adapter: AdapterSettings? = nil, seed: UInt64 = 3) throws {
        folder = try TemporaryFolder()
        try Foundation.Data(Self.configuration.utf8).write(to: folder.url.appendingPathComponent("config.json"))
        let config = try ModelConfig(folder: folder.url.path)
        model = VLAModel(config: config, fineTuning: adapter.map(FineTuning.lowRank) ?? .full)
        model.initialise(seed: seed)
    }

    func step(
        _ plugins: String, settings: StepSettings = StepSettings(), learningRate: Double = 1e-2,
        anchor: AnchorWeights.Source = .copy, weightDecay: Double = 0.01, batchSize: Int = 4,
        optimizer: AdamWSettings? = nil, streams: StreamSources = .none
    ) throws -> TrainingStep {
        let composition = try Composition(
            try PluginRequest.parseList(plugins), search: PluginSearch(paths: [BuildFolder.url.path]),
            registry: .training)
        var adamW = optimizer ?? AdamWSettings()
        if optimizer == nil { adamW.weightDecay = weightDecay }
        let model = model
        return try TrainingStep(
            model: model, composition: composition, settings: settings, optimizer: adamW,
            schedule: LearningRateSchedule(base: learningRate, totalSteps: 100), parallel: parallel,
            batchSize: batchSize, steps: 100, streams: streams,
            encodePrompt: { text, _ in text.utf8.map { Int32($0 % 50) } },
            makeAnchor: { try AnchorWeights(model: model, source: anchor, folder: nil, initial: nil) })
    }

    /// Along the gradient of an objective, its loss changes as fast as the gradient is long.
    ///
    /// - Parameter run: runs a step that changes no parameter, and gives its metrics.
    func expectDerivative(
        of objective: String, in step: TrainingStep, _ run: () throws -> [String: Double]
    ) throws {
        let values = model.parameters.trainable
        let count = model.parameters.trainableCount
        var random = RandomGenerator(seed: 8)
        for index in 0..<count { values[index] += Float(0.03 * random.normal()) }
        func loss() throws -> Double { try run()["loss.\(objective)"] ?? .nan }
        let base = try loss()
        #expect(base > 0)
        let accumulator = try #require(step.gradient(of: objective))
        let gradient = (0..<count).map { Double(accumulator.values.base[$0]) }
        let length = gradient.reduce(0) { $0 + $1 * $1 }.squareRoot()
        try #require(length > 0)
        let start = allValues
        // Far enough that rounding does not matter, near enough that curvature does not.
        let reach = 0.02 * base / length
        func moved(_ distance: Double) throws -> Double {
            for index in 0..<count { values[index] = start[index] + Float(distance * gradient[index] / length) }
            return try loss()
        }
        let slope = (try moved(reach) - moved(-reach)) / (2 * reach)
        #expect(abs(slope / length - 1) < 0.01, "\(objective): slope \(slope), gradient \(length)")
    }

    /// Current values of a parameter.
    func values(_ name: String) -> [Float] {
        guard let id = model.parameters.id(of: name) else { return [] }
        return Array(UnsafeBufferPointer(start: model.parameters.values(id), count: model.parameters[id].count))
    }

    /// Values of every trainable parameter.
    var allValues: [Float] {
        Array(UnsafeBufferPointer(start: model.parameters.trainable, count: model.parameters.trainableCount))
    }

    func gradient(_ step: TrainingStep, _ objective: String, _ name: String) -> [Float] {
        guard let id = model.parameters.id(of: name), let gradient = step.gradient(of: objective) else { return [] }
        let parameter = model.parameters[id]
        return Array(UnsafeBufferPointer(start: gradient.values.base + parameter.offset, count: parameter.count))
    }
}

/// Random batches, a fixed sequence for a seed. A batch of B·K samples can be drawn as K batches of B.
final class RandomBatches: BatchSource {
    private let config: ModelConfig
    private let batchSize: Int
    private var index = 0
    private let seed: UInt64
    /// Whether the policy's noise is left out, so that different splits of a batch see the same input.
    private let isQuiet: Bool

    init(_ config: ModelConfig, batchSize: Int, seed: UInt64 = 1, isQuiet: Bool = true) {
        self.config = config
        self.batchSize = batchSize
        self.seed = seed
        self.isQuiet = isQuiet
    }

    func next() throws -> TrainingBatch {
        var pixels: [UInt8] = []
        var prompts: [[Int32]] = []
        var proprio: [Float] = []
        var actions: [Float] = []
        for _ in 0..<batchSize {
            var generator = RandomGenerator(seed: seed, stream: UInt64(index))
            index += 1
            let count = config.cameras * config.imageSize * config.imageSize * 3
            pixels += (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
            let length = 2 + Int(generator.next() % 4)
            prompts.append(
                (0..<length).map { _ in Int32(generator.next() % UInt64(config.decoder.vocabularySize)) })
            proprio += (0..<config.proprioDim).map { _ in Float(generator.normal()) }
            actions += (0..<config.chunk * config.actionDim).map { _ in Float(generator.uniform() * 2 - 1) }
        }
        return TrainingBatch(
            input: ModelInput(
                images: .rgb(pixels), cameras: config.cameras, prompts: prompts,
                action: .init(proprio: proprio, policyInput: isQuiet ? [] : nil)),
            targetActions: actions)
    }

    var cursor: DataCursor { DataCursor(seed: 0, position: index) }
    func restore(cursor: DataCursor) throws { index = cursor.position }
}
