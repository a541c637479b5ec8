internal import Collectives
internal import Dispatch
internal import Formats
internal import Foundation
package import Models
package import PluginRuntime
package import Tensors

/// What is timed.
package struct BenchmarkSettings: Sendable {
    /// Folder with a config.json; the weights beside it are used when there are any, random ones otherwise.
    package var model = ""
    package var batchSize = 8
    /// Tokens of every prompt.
    package var promptTokens = 30
    package var threads = ProcessorMask.count
    package var learningRate = 2e-4
    /// Low-rank adapters instead of full fine-tuning.
    package var adapter: AdapterSettings?
    package var checkpointsActivations = false
    /// What passes leave out; without some, what those gain can be measured.
    package var shortcuts = Shortcuts.all
    package var matmulPrecision = RunSettings.MatmulPrecision.float32
    package var anchorPrecision: RunSettings.MatmulPrecision?
    package var seed: UInt64 = 0
    package var pluginPath: [String] = []
    package var clock = Clock.wall

    /// What times are taken with.
    package enum Clock: String, Sendable, CaseIterable {
        case wall
        /// Processor time of the process, all threads together: for machines that others use too.
        case cpu

        /// Milliseconds since some moment.
        var now: Double {
            var time = timespec()
            clock_gettime(self == .wall ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID, &time)
            return Double(time.tv_sec) * 1e3 + Double(time.tv_nsec) / 1e6
        }
    }

    package init() {}
}

/// The training step of one plugin list on a fixed random batch, with a model of its own.
package final class StepBenchmark {
    /// Times of one round.
    package struct Round: Sendable {
        /// Milliseconds of each step.
        package var milliseconds: [Double]
        /// Median milliseconds by phase.
        package var phases: [String: Double]
        /// Median heap allocations of a step by phase; empty unless they are counted.
        package var allocations: [String: Double]
        /// Loss of every objective at each step.
        package var losses: [[String: Double]]
    }

    package let plugins: [PluginRequest]
    package let objectives: [String]
    /// Trainable values.
    package let trainableCount: Int
    /// All values.
    package let parameterCount: Int
    /// Tokens of a sequence.
    package let sequenceTokens: Int
    /// Floating-point operations of a step's matrix products, from the first step on; 0 before.
    package private(set) var flopsPerStep = 0.0
    private let model: VLAModel
    private let step: TrainingStep
    private let source: RandomBatch
    private let parallel: Parallel
    private let clock: BenchmarkSettings.Clock
    private var stepsDone = 0

    package init(_ settings: BenchmarkSettings, plugins: [PluginRequest]) throws {
        self.plugins = plugins
        clock = settings.clock
        let folder = try ModelFolder(path: settings.model)
        guard (1...4096).contains(settings.promptTokens) else {
            throw TrainingError(.settings, "`promptTokens` is \(settings.promptTokens); expected 1 to 4096")
        }
        let composition = try Composition(
            plugins, search: PluginSearch(paths: settings.pluginPath), registry: .training)
        parallel = Parallel(
            threads: settings.threads, products: settings.matmulPrecision == .bf16 ? try BFloat16Products() : nil)
        let model = VLAModel(
            config: folder.config, fineTuning: settings.adapter.map(FineTuning.lowRank) ?? .full)
        self.model = model
        let absent = folder.backbone == nil ? nil : Set(try folder.load(into: model))
        model.initialise(seed: settings.seed) { absent?.contains($0) ?? true }
        source = RandomBatch(
            folder.config, count: settings.batchSize, promptTokens: settings.promptTokens,
            policyInputCount: model.policyInputCount, seed: settings.seed)
        var stepSettings = StepSettings()
        stepSettings.checkpointsActivations = settings.checkpointsActivations
        stepSettings.anchorPrecision = settings.anchorPrecision
        stepSettings.seed = settings.seed
        step = try TrainingStep(
            model: model, composition: composition, settings: stepSettings, optimizer: AdamWSettings(),
            schedule: LearningRateSchedule(base: settings.learningRate, totalSteps: .max), parallel: parallel,
            batchSize: settings.batchSize, steps: .max,
            makeAnchor: {
                try AnchorWeights(
                    model: model, source: settings.adapter == nil ? .mapped : .adaptersOff,
                    folder: folder.backbone == nil ? nil : folder, initial: nil)
            })
        step.tape.shortcuts = settings.shortcuts
        objectives = step.objectives
        trainableCount = model.parameters.trainableCount
        parameterCount = model.parameters.parameters.reduce(0) { $0 + $1.count }
        let config = folder.config
        sequenceTokens = config.patchesPerImage * config.cameras + settings.promptTokens + config.queries
    }

    /// Runs `steps` training steps.
    package func run(steps: Int) throws -> Round {
        var round = Round(milliseconds: [], phases: [:], allocations: [:], losses: [])
        var (phases, allocations): ([String: [Double]], [String: [Double]]) = ([:], [:])
        for _ in 0..<steps {
            // The first step counts operations and is slow for other reasons too.
            let profile = stepsDone == 0 ? OperationProfile() : nil
            step.profile = profile
            let start = clock.now
            let report = try step.run(step: stepsDone, from: source)
            round.milliseconds.append(clock.now - start)
            step.profile = nil
            if let profile { flopsPerStep = profile.spans.reduce(0) { $0 + $1.flops } }
            stepsDone += 1
            for (phase, value) in report.milliseconds { phases[phase, default: []].append(value) }
            for (phase, count) in report.allocations { allocations[phase, default: []].append(Double(count)) }
            round.losses.append(
                Dictionary(uniqueKeysWithValues: objectives.map { ($0, report.metrics["loss.\($0)"] ?? .nan) }))
        }
        round.phases = phases.mapValues(Self.median)
        round.allocations = allocations.mapValues(Self.median)
        return round
    }

    /// Milliseconds of a forward pass as at inference, nothing recorded, for `count` samples of the batch (at most B).
    package func forward(samples count: Int) -> Double {
        var input = source.batch.input
        if count < input.prompts.count, case .normalised(let pixels) = input.images {
            let perSample = pixels.count / input.prompts.count
            input.images = .normalised(Array(pixels.prefix(count * perSample)))
            input.prompts = Array(input.prompts.prefix(count))
            input.action?.proprio.removeLast((source.batch.input.prompts.count - count) * model.config.proprioDim)
        }
        let start = clock.now
        step.tape.reset(weights: step.currentWeights, recording: false)
        _ = model.forward(input, on: step.tape)
        return clock.now - start
    }

    /// Writes the model's values and the batch, so that another program can do the same work: tensors under their
    /// checkpoint names, without those that are read in place from the model's folder, and `batch.pixels`, `batch.ids`, `batch.proprio`, `batch.policy_input`, `batch.actions`.
    package func save(to path: String) throws {
        let parameters = model.parameters
        var tensors: [SafetensorsWriter.Tensor] = parameters.parameters.compactMap {
            guard !parameters.isMapped($0.id) else { return nil }
            return .init($0.name, shape: $0.shape, pointer: parameters.values($0.id))
        }
        let (config, input) = (model.config, source.batch.input)
        let count = input.prompts.count
        guard case .normalised(let pixels) = input.images, let action = input.action else { return }
        tensors += [
            .init(
                "batch.pixels",
                shape: [count, 3 * config.towers.count * config.cameras, config.imageSize, config.imageSize],
                floats: pixels),
            .init(
                "batch.ids", shape: [count, source.promptTokens], integers: input.prompts.flatMap { $0.map(Int64.init) }
            ),
            .init("batch.proprio", shape: [count, config.proprioDim], floats: action.proprio),
            .init(
                "batch.policy_input", shape: [config.chunk, model.policyInputCount / config.chunk],
                floats: action.policyInput ?? []),
            .init(
                "batch.actions", shape: [count, config.chunk, config.actionDim], floats: source.batch.targetActions),
        ]
        try SafetensorsWriter.write(tensors, metadata: ["format": "pt"], to: path)
    }

    /// Milliseconds that one pass over gradients, moments and values would take at `bandwidth` (10^9 bytes a second):
    /// 4 bytes read per objective, two moments and the value read and written.
    package func updateBound(bandwidth: Double) -> Double {
        Double(trainableCount * (4 * objectives.count + 24)) / (bandwidth * 1e6)
    }

    static func median(_ values: [Double]) -> Double {
        guard !values.isEmpty else { return .nan }
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }
}

/// How fast batches of demonstrations are made ready, decoding and augmentation included.
package enum LoadingBenchmark {
    /// Samples a second over `batches` batches, after one to warm up.
    package static func samplesPerSecond(_ settings: RunSettings, batches: Int) throws -> Double {
        let parts = try RunParts(settings: settings, resuming: nil)
        _ = try parts.source.next()
        let start = DispatchTime.now().uptimeNanoseconds
        for _ in 0..<batches { _ = try parts.source.next() }
        let seconds = Double(DispatchTime.now().uptimeNanoseconds - start) / 1e9
        return Double(batches * settings.batchSize) / seconds
    }
}
