internal import Foundation
public import Models
public import PluginRuntime
public import Tensors

/// What went wrong in training, in a sentence.
public struct TrainingError: Error, CustomStringConvertible, Sendable {
    public let description: String

    public init(_ description: String) { self.description = description }
}

/// Settings of the step itself.
public struct StepSettings: Codable, Sendable, Equatable {
    /// Micro-batches per step (K).
    public var accumulation = 1
    /// Largest norm of the combined gradient; 0 leaves it as it is.
    public var clipNorm = 0.0
    /// Whether a step with a non-finite loss or cotangent is skipped and counted instead of ending the run.
    public var skipsNonFinite = false
    /// Whether blocks of the model are run again in backward passes instead of keeping what they computed.
    public var checkpointsActivations = false
    public var seed: UInt64 = 0

    public init() {}
}

/// What one step did.
public struct StepReport {
    public var step: Int
    /// Metrics under their internal names: `loss.action`, `lambda.retention`, `conflict_ratio`, `gradient_norm`, ...
    public var metrics: [String: Double]
    /// Non-finite value that made the step be skipped.
    public var skipped: String?
    /// Milliseconds by phase: data, anchor, forward, objectives, backward, combine, update.
    public var milliseconds: [String: Double]
}

/// The training step: one shared forward pass per micro-batch, a cotangent per objective, gradients kept apart until
/// plugins have said how to combine them.
///
///     zero G_1 ... G_m
///     K times: anchor features; forward; pre_backward hooks; per objective backward, G_i += gradient / K
///     gram[b] = G_b G_bᵀ; gradient_combine hooks -> weights; clip; AdamW with Σ w_i G_i; post_step hooks
public final class TrainingStep {
    public let model: VLAModel
    public let composition: Composition
    public let objectives: [String]
    /// Feature taps that the plan asked for and some hook reads.
    public let taps: [FeatureTap]
    public let blocks: ParameterBlocks
    let optimizer: AdamW
    let settings: StepSettings
    let values: ValueStore
    private let schedule: LearningRateSchedule
    /// Free between steps for passes that record nothing.
    let tape: Tape
    private let parallel: Parallel
    let anchor: AnchorWeights?
    private var anchorFeatures: [FloatBuffer] = []
    let gradients: [GradientAccumulator]
    private let gram: GradientGram
    /// Whole gradients, when a hook reads or gives them.
    private let gradientMatrix: GradientMatrix?
    private var weights: [Double]
    private let blockSizes: [Int64]
    /// Metrics of pre_backward hooks, averaged over micro-batches, and those of hooks that run once a step.
    private let microBatchMetrics: [String]
    private let stepMetrics: [String]
    private let fixedMultipliers: [String: Double]
    let currentWeights: [WeightValues]
    /// Steps that were skipped for a non-finite value.
    var skippedSteps = 0

    /// Runs the `plan` hooks and makes everything that lasts.
    ///
    /// - `makeAnchor`: called when some hook reads an anchor.
    public init(
        model: VLAModel, composition: Composition, settings: StepSettings, optimizer: AdamWSettings,
        schedule: LearningRateSchedule, parallel: Parallel, batchSize: Int, steps: Int,
        makeAnchor: () throws -> AnchorWeights
    ) throws {
        self.model = model
        self.composition = composition
        self.settings = settings
        self.schedule = schedule
        self.parallel = parallel
        objectives = composition.objectives
        guard !objectives.isEmpty else {
            throw TrainingError("no plugin in the list provides a loss; add one that does, BaselineL1 for instance")
        }
        guard objectives.count <= 8 else {
            throw TrainingError("\(objectives.count) objectives; a run can have at most 8")
        }
        values = ValueStore(remembering: composition.previousReads)
        microBatchMetrics = Self.metrics(of: composition, at: [.preBackward])
        stepMetrics = Self.metrics(of: composition, at: [.gradientCombine, .postStep])
        let stateCount = model.config.decoder.layers + 1
        values.set("hidden_states", Int64(stateCount))
        values.set("hidden_size", Int64(model.config.decoder.hiddenSize))
        values.set("visual_tokens", Int64(model.config.patchesPerImage * model.config.cameras))
        values.set("queries", Int64(model.config.queries))
        values.set("batch", Int64(batchSize))
        values.set("steps", Int64(steps))
        values.set("seed", Int64(bitPattern: settings.seed))
        try composition.run(.plan, values: values, step: 0)
        taps = try Self.plannedTaps(values, composition: composition, states: stateCount)
        let scope = values.integer("block_scope").flatMap { BlockScope(rawValue: Int($0)) } ?? .tensor
        blocks = ParameterBlocks(of: model.parameters, scope: scope)
        blockSizes = blocks.blocks.map { Int64($0.count) }
        gradients = objectives.map { _ in GradientAccumulator(parameters: model.parameters) }
        gram = GradientGram(blocks: blocks, objectives: objectives.count)
        gradientMatrix =
            composition.reads("grads", at: .gradientCombine)
            ? GradientMatrix(parameters: model.parameters, blocks: blocks, objectives: objectives.count) : nil
        weights = Array(repeating: 1, count: blocks.blocks.count * objectives.count)
        self.optimizer = AdamW(parameters: model.parameters, settings: optimizer)
        tape = Tape(parameters: model.parameters, parallel: parallel)
        tape.checkpointsSegments = settings.checkpointsActivations
        currentWeights = model.parameters.currentWeights()
        let tapNames = Set(taps.map(\.name))
        anchor = tapNames.contains { composition.reads("anchor.\($0)", at: .preBackward) } ? try makeAnchor() : nil
        var fixed: [String: Double] = [:]
        for objective in objectives {
            fixed[objective] = values.double("weight.\(objective)") ?? 1
            // A plan hook may have set the multiplier's first value; without one it is the objective's fixed weight.
            if values.double("lambda.\(objective)") == nil {
                values.set("lambda.\(objective)", fixed[objective] ?? 1)
            }
        }
        fixedMultipliers = fixed
        for (index, objective) in objectives.enumerated() { values.set("index.\(objective)", Int64(index)) }
    }

    /// Where phases and operations are recorded; nil records nothing.
    public var profile: OperationProfile? {
        get { tape.profile }
        set { tape.profile = newValue }
    }

    /// Bytes of memory taken so far for activations and cotangents.
    public var activationBytes: Int { tape.bytes }

    /// Bytes of anchor weights that had to be copied.
    public var anchorBytes: Int { anchor?.residentBytes ?? 0 }

    /// Where anchor features come from; nil when no hook reads any.
    public var anchorSource: AnchorWeights.Source? { anchor?.source }

    /// Multipliers by objective, as the next step will use them.
    public var multipliers: [String: Double] {
        get {
            Dictionary(uniqueKeysWithValues: objectives.map { ($0, values.double("lambda.\($0)") ?? 1) })
        }
        set {
            for (objective, value) in newValue { values.set("lambda.\(objective)", value) }
        }
    }

    /// The gradient of an objective after the last step, before combination. For tests and traces.
    public func gradient(of objective: String) -> GradientAccumulator? {
        objectives.firstIndex(of: objective).map { gradients[$0] }
    }

    /// Weights of the last combination, [blocks, objectives]. For tests and traces.
    public var combinationWeights: [Double] { weights }

    /// Runs step `step`, counted from 0.
    public func run(step: Int, from source: any BatchSource) throws -> StepReport {
        var clock = PhaseClock(profile: profile)
        let multipliersBefore = multipliers
        for gradient in gradients { gradient.zero() }
        let rate = schedule.rate(at: step)
        values.set("step", Int64(step))
        values.set("lr", rate)
        var sums: [String: Double] = [:]
        do {
            for micro in 0..<settings.accumulation {
                try runMicroBatch(step: step, micro: micro, from: source, sums: &sums, clock: &clock)
            }
        } catch let failure as PluginFailure where failure.isNonFinite && settings.skipsNonFinite {
            skippedSteps += 1
            values.advanceStep()
            return StepReport(
                step: step, metrics: ["skipped_steps": Double(skippedSteps)], skipped: failure.description,
                milliseconds: clock.milliseconds)
        }
        var metrics = sums.mapValues { $0 / Double(settings.accumulation) }
        for objective in objectives {
            if let loss = metrics["loss.\(objective)"] { values.set("loss.\(objective)", loss) }
        }
        for name in microBatchMetrics {
            if let mean = metrics[Self.metric(name)] { values.set(name, mean) }
        }

        gram.compute(gradients, parallel)
        let combined = try combine(step: step)
        let norm =
            combined?.norm(blocks: blocks.blocks.count, parallel) ?? gram.squaredNorm(weights: weights).squareRoot()
        let scale = settings.clipNorm > 0 && norm > settings.clipNorm ? settings.clipNorm / norm : 1
        clock.lap("combine")
        optimizer.update(
            combined.map { [$0.combined] } ?? gradients, blocks: blocks,
            weights: combined == nil ? weights : Array(repeating: 1, count: blocks.blocks.count), scale: scale,
            rate: { _ in rate }, parallel)
        clock.lap("update")
        try composition.run(.postStep, values: values, step: step)

        for name in stepMetrics {
            if let value = values.double(name) { metrics[Self.metric(name)] = value }
        }
        for objective in objectives {
            metrics["lambda.\(objective)"] = multipliers[objective]
            metrics["lambda.\(objective)@prev"] = multipliersBefore[objective]
            metrics["lambda.\(objective)@next"] = multipliers[objective]
        }
        metrics["gradient_norm"] = norm
        metrics["learning_rate"] = rate
        if settings.skipsNonFinite { metrics["skipped_steps"] = Double(skippedSteps) }
        values.advanceStep()
        return StepReport(step: step, metrics: metrics, skipped: nil, milliseconds: clock.milliseconds)
    }

    // MARK: - Micro-batch

    private func runMicroBatch(
        step: Int, micro: Int, from source: any BatchSource, sums: inout [String: Double], clock: inout PhaseClock
    ) throws {
        let batch = try source.next(policyInput: policyNoise(step: step, micro: micro))
        let count = batch.input.prompts.count
        clock.lap("data")
        if let anchor { try runAnchor(anchor, on: batch.input) }
        clock.lap("anchor")
        var input = batch.input
        input.action?.runsPolicy = composition.reads("predicted_actions", at: .preBackward)
        input.wantsAnswer = !batch.answerIDs.isEmpty && composition.reads("answer_logits", at: .preBackward)
        tape.reset(weights: currentWeights, recording: true)
        let output = model.forward(input, taps: taps, on: tape)
        clock.lap("forward")

        var targets: [(name: String, tensor: Tensor)] = []
        for (index, tap) in taps.enumerated() {
            let feature = output.features[index]
            let shape = [count, feature.tokens, feature.tensor.columns]
            values.set("feature.\(tap.name)", .floats(feature.tensor.values, shape))
            values.set("mask.\(tap.name)", .floats(feature.mask.values, [count, feature.tokens]))
            if anchor != nil { values.set("anchor.\(tap.name)", .floats(anchorFeatures[index].base, shape)) }
            targets.append(("feature.\(tap.name)", feature.tensor))
        }
        if let predicted = output.predictedActions {
            let target = tape.constant(rows: predicted.rows, columns: predicted.columns)
            precondition(batch.targetActions.count == target.count, "a batch with actions has a target for each")
            target.values.update(from: batch.targetActions, count: target.count)
            let shape = [count, model.config.chunk, model.config.actionDim]
            values.set("predicted_actions", .floats(predicted.values, shape))
            values.set("target_actions", .floats(target.values, shape))
            targets.append(("predicted_actions", predicted))
        }
        if let logits = output.answerLogits {
            values.set("answer_logits", .floats(logits.values, [logits.rows, logits.columns]))
            targets.append(("answer_logits", logits))
        }
        var answers = batch.answerIDs
        try answers.withUnsafeMutableBytes { answers in
            if output.answerLogits != nil, let start = answers.baseAddress {
                values.set(
                    "answer_ids", ArrayView(pointer: start, element: .i64, shape: [count], isReadOnly: true))
            }
            try composition.run(.preBackward, values: values, step: step)
        }
        clock.lap("objectives")
        for (index, objective) in objectives.enumerated() {
            var seeds: [(tensor: Tensor, cotangent: UnsafePointer<Float>)] = []
            for target in targets {
                guard let view = values.array("cotangent.\(objective).\(target.name)") else { continue }
                guard view.count == target.tensor.count else { continue }
                seeds.append((target.tensor, UnsafePointer(view.pointer.assumingMemoryBound(to: Float.self))))
            }
            if !seeds.isEmpty {
                tape.backward(seeds: seeds, scale: 1 / Float(settings.accumulation), into: gradients[index])
            }
            if let loss = values.double("loss.\(objective)") { sums["loss.\(objective)", default: 0] += loss }
        }
        for name in microBatchMetrics {
            if let value = values.double(name) { sums[Self.metric(name), default: 0] += value }
        }
        clock.lap("backward")
    }

    /// Features under the initial weights, kept apart from the tape, which the main forward pass reuses.
    private func runAnchor(_ anchor: AnchorWeights, on batch: ModelInput) throws {
        var input = batch
        input.action?.runsPolicy = false
        input.wantsAnswer = false
        tape.reset(weights: anchor.table, recording: false)
        let output = model.forward(input, taps: taps, usesAdapters: anchor.usesAdapters, on: tape)
        for (index, feature) in output.features.enumerated() {
            let count = feature.tensor.count
            if index >= anchorFeatures.count { anchorFeatures.append(FloatBuffer(count: count)) }
            if anchorFeatures[index].count < count { anchorFeatures[index] = FloatBuffer(count: count) }
            anchorFeatures[index].base.update(from: feature.tensor.values, count: count)
        }
    }

    /// The policy's training input, N(0, 0.02), the same for all samples of a micro-batch.
    private func policyNoise(step: Int, micro: Int) -> [Float] {
        var generator = RandomGenerator(
            seed: settings.seed, stream: RandomGenerator.stream("policy noise"), UInt64(step), UInt64(micro))
        return (0..<model.policyInputCount).map { _ in Float(generator.normal() * 0.02) }
    }

    // MARK: - Combination

    /// Runs the gradient_combine hooks; returns the gradient that one of them gave in place of a weighted sum.
    private func combine(step: Int) throws -> GradientMatrix? {
        let (k, m) = (blocks.blocks.count, objectives.count)
        for block in 0..<k {
            for (index, objective) in objectives.enumerated() {
                weights[block * m + index] = multipliers[objective] ?? fixedMultipliers[objective] ?? 1
            }
        }
        guard composition.plugins.contains(where: { $0.hooks.contains { $0.point == .gradientCombine } }) else {
            return nil
        }
        for (index, objective) in objectives.enumerated() {
            values.set("gradient_norm.\(objective)", gram.norm(of: index))
        }
        if let gradientMatrix { values.set("grads", gradientMatrix.gather(gradients, parallel)) }
        var matrix = gram.values
        var losses = objectives.map { values.double("loss.\($0)") ?? 0 }
        var isCombined = false
        var sizes = blockSizes
        try losses.withUnsafeMutableBytes { losses in
            guard let start = losses.baseAddress else { return }
            values.set("losses", ArrayView(pointer: start, element: .f64, shape: [m], isReadOnly: true))
            try weights.withUnsafeMutableBufferPointer { weights in
                try matrix.withUnsafeMutableBufferPointer { matrix in
                    try sizes.withUnsafeMutableBufferPointer { sizes in
                        guard let weight = weights.baseAddress, let gram = matrix.baseAddress,
                            let size = sizes.baseAddress
                        else { return }
                        values.set("gram", ArrayView(pointer: gram, element: .f64, shape: [k, m, m], isReadOnly: true))
                        values.set(
                            "weights", ArrayView(pointer: weight, element: .f64, shape: [k, m], isReadOnly: true))
                        values.set("numel", ArrayView(pointer: size, element: .i64, shape: [k], isReadOnly: true))
                        try composition.run(.gradientCombine, values: values, step: step)
                        if let result = values.array("weights"), result.pointer != UnsafeMutableRawPointer(weight) {
                            weight.update(from: result.pointer.assumingMemoryBound(to: Double.self), count: k * m)
                        }
                        if let gradientMatrix, let result = values.array("combined") {
                            gradientMatrix.take(result, reachedBy: gradients, parallel)
                            isCombined = true
                        }
                        // These views end with this call.
                        for name in ["gram", "weights", "numel", "losses", "grads", "combined"] { values.remove(name) }
                    }
                }
            }
        }
        return isCombined ? gradientMatrix : nil
    }

    // MARK: - Helpers

    private static func metrics(of composition: Composition, at points: Set<HookPoint>) -> [String] {
        composition.plugins.flatMap(\.hooks).filter { points.contains($0.point) }.flatMap(\.provides)
            .filter { $0.hasPrefix("metric.") }
    }

    private static func metric(_ name: String) -> String { String(name.dropFirst("metric.".count)) }

    private static func plannedTaps(
        _ values: ValueStore, composition: Composition, states: Int
    ) throws -> [FeatureTap] {
        var taps: [FeatureTap] = []
        for id in composition.provided(matching: "tap.{id}.layer", capture: "id") {
            guard let layer = values.integer("tap.\(id).layer"), layer != -1 else { continue }
            guard (0..<Int64(states)).contains(layer) || layer == Int64(FeatureTap.allLayers) else {
                throw TrainingError(
                    "tap \(id) asks for hidden state \(layer); the model has 0 to \(states - 1), "
                        + "\(FeatureTap.allLayers) is all layers and -1 none")
            }
            guard composition.reads("feature.\(id)", at: .preBackward) else { continue }
            let tokens = values.integer("tap.\(id).tokens") ?? 0
            guard let kind = FeatureTap.Tokens(rawValue: Int(tokens)) else {
                throw TrainingError("tap \(id) asks for token set \(tokens); there are 0 to 4")
            }
            let pooling = values.integer("tap.\(id).pooling") ?? 1
            guard (0...2).contains(pooling) else {
                throw TrainingError("tap \(id) asks for pooling \(pooling); there are 0 (none), 1 (mean) and 2 (max)")
            }
            taps.append(FeatureTap(name: id, layer: Int(layer), tokens: kind, pooling: Int(pooling)))
        }
        return taps
    }
}

extension ArrayView {
    /// A read-only view of float32 values.
    static func floats(_ pointer: UnsafeMutablePointer<Float>, _ shape: [Int]) -> ArrayView {
        ArrayView(pointer: UnsafeMutableRawPointer(pointer), element: .f32, shape: shape, isReadOnly: true)
    }
}

/// Wall-clock time by phase.
struct PhaseClock {
    private var last = DispatchTime.now().uptimeNanoseconds
    private(set) var milliseconds: [String: Double] = [:]
    private let profile: OperationProfile?
    private var profiledFrom: UInt64

    init(profile: OperationProfile? = nil) {
        self.profile = profile
        profiledFrom = profile?.now ?? 0
    }

    mutating func lap(_ phase: String) {
        if let profile {
            profile.end(phase, .phase, from: profiledFrom)
            profiledFrom = profile.now
        }
        let now = DispatchTime.now().uptimeNanoseconds
        milliseconds[phase, default: 0] += Double(now - last) / 1e6
        last = now
    }
}

extension PluginFailure {
    /// Whether a plugin produced a value that is not a finite number, as opposed to reporting an error.
    var isNonFinite: Bool { if case .nonFinite = kind { true } else { false } }
}
