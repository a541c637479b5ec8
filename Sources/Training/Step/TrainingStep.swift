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
    /// What matrix products of the anchors' forward pass are computed from; nil: as all others.
    public var anchorPrecision: RunSettings.MatmulPrecision?
    /// Factors on the learning rate by parameter group.
    public var learningRateScales = LearningRateScales()
    /// Probability, per sample, that the policy gets zeros in place of the normalised proprioception.
    public var proprioDropout = 0.0
    /// Steps in which it does; nil is all of them.
    public var proprioDropoutSteps: Int?
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
    /// Heap allocations by phase; empty unless they are counted (``AllocationCounter``).
    public var allocations: [String: Int]
}

/// The training step: one shared forward pass per micro-batch, a cotangent per objective, gradients kept apart until
/// plugins have said how to combine them.
///
///     zero G_1 ... G_m
///     K times: anchor features; forward; pre_backward hooks; per objective backward, G_i += gradient / K
///     gram[b] = G_b G_bᵀ; gradient_combine hooks -> weights; clip; AdamW with Σ w_i G_i; post_step hooks
///
/// Probes that are due run with the anchors and behind the forward pass. An objective that no micro-batch gives a loss
/// takes no part in the step: it has no row in the Gram matrix, and rules that need its loss are not called.
public final class TrainingStep {
    public let model: VLAModel
    public let composition: Composition
    public let objectives: [String]
    /// Feature taps that the plan asked for and some hook reads.
    public let taps: [FeatureTap]
    public let blocks: ParameterBlocks
    let probes: ProbePasses
    /// Factor on the learning rate of each parameter, by id.
    let rateScales: [Double]
    let optimizer: AdamW
    let settings: StepSettings
    let values: ValueStore
    private let schedule: LearningRateSchedule
    /// Free between steps for passes that record nothing.
    let tape: Tape
    private let parallel: Parallel
    let anchor: AnchorWeights?
    private var anchorFeatures: [FloatBuffer] = []
    /// What runs the anchors' forward pass.
    private let anchorParallel: Parallel
    /// Whether some hook reads anchor features of the batch itself.
    let readsAnchor: Bool
    let gradients: [GradientAccumulator]
    private let combination: GradientCombination
    /// Memory behind `answer_ids`.
    private var answerIDs: UnsafeMutableBufferPointer<Int64>
    /// Metrics of pre_backward hooks, averaged over micro-batches, and those of hooks that run once a step.
    private let microBatchMetrics: [String]
    private let stepMetrics: [String]
    private let fixedMultipliers: [String: Double]
    let currentWeights: [WeightValues]
    /// Steps that were skipped for a non-finite value.
    var skippedSteps = 0

    /// Runs the `plan` hooks and makes everything that lasts.
    ///
    /// - `encodePrompt`: turns a probe's text, in the question prompt, the action prompt or none (template 0, 1, 2), into
    ///   token ids; nil refuses probes.
    /// - `makeAnchor`: called when some hook reads an anchor.
    public init(
        model: VLAModel, composition: Composition, settings: StepSettings, optimizer: AdamWSettings,
        schedule: LearningRateSchedule, parallel: Parallel, batchSize: Int, steps: Int,
        encodePrompt: ((_ text: String, _ template: Int) throws -> [Int32])? = nil,
        makeAnchor: () throws -> AnchorWeights
    ) throws {
        self.model = model
        self.composition = composition
        self.settings = settings
        self.schedule = schedule
        self.parallel = parallel
        anchorParallel =
            try settings.anchorPrecision.map { precision in
                Parallel(
                    threads: parallel.threads, executes: parallel.executes,
                    products: precision == .bf16 ? try BFloat16Products() : nil)
            } ?? parallel
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
        values.set("objectives", Int64(objectives.count))
        values.set("seed", Int64(bitPattern: settings.seed))
        try composition.run(.plan, values: values, step: 0)
        taps = try FeatureTap.planned(values, composition: composition, states: stateCount)
        probes = ProbePasses(
            try Probe.planned(
                values, composition: composition, states: stateCount, cameras: model.config.cameras,
                encode: { text, template in
                    guard let encodePrompt else { throw TrainingError("probes need the model's tokenizer.json") }
                    return try encodePrompt(text, Int(template.rawValue))
                }),
            model: model, seed: settings.seed)
        var scales = settings.learningRateScales
        for group in composition.provided(matching: "lr_scale.{group}", capture: "group") {
            if let factor = values.double("lr_scale.\(group)") { scales.scale(group, by: factor) }
        }
        try scales.check("lr_scale (from --lr-scale and plugins)")
        rateScales = scales.byParameter(of: model.parameters)
        let scope = try values.code("block_scope", as: BlockScope.self) ?? .tensor
        blocks = ParameterBlocks(of: model.parameters, scope: scope)
        gradients = objectives.map { _ in GradientAccumulator(parameters: model.parameters) }
        combination = try GradientCombination(blocks: blocks, composition: composition, parameters: model.parameters)
        answerIDs = .allocate(capacity: max(batchSize, 1))
        self.optimizer = AdamW(parameters: model.parameters, settings: optimizer)
        tape = Tape(parameters: model.parameters, parallel: parallel)
        tape.checkpointsSegments = settings.checkpointsActivations
        currentWeights = model.parameters.currentWeights()
        readsAnchor = taps.contains { composition.reads("anchor.\($0.name)", at: .preBackward) }
        anchor = readsAnchor || probes.readsAnchor ? try makeAnchor() : nil
        var fixed: [String: Double] = [:]
        for objective in objectives {
            fixed[objective] = values.double("weight.\(objective)") ?? 1
            // A plan hook may have set the multiplier's first value; without one it is the objective's fixed weight.
            if values.double("lambda.\(objective)") == nil {
                values.set("lambda.\(objective)", fixed[objective] ?? 1)
            }
        }
        fixedMultipliers = fixed
    }

    deinit { answerIDs.deallocate() }

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
    public var combinationWeights: [Double] { combination.weights }

    /// Runs step `step`, counted from 0.
    public func run(step: Int, from source: any BatchSource) throws -> StepReport {
        var clock = PhaseClock(profile: profile)
        let multipliersBefore = multipliers
        for gradient in gradients { gradient.zero() }
        let rate = schedule.rate(at: step)
        values.set("step", Int64(step))
        values.set("lr", rate)
        probes.begin(step: step, values: values)
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
                milliseconds: clock.milliseconds,
                allocations: clock.allocations)
        }
        var metrics = sums.mapValues { $0 / Double(settings.accumulation) }
        for objective in objectives {
            if let loss = metrics["loss.\(objective)"] { values.set("loss.\(objective)", loss) }
        }
        for name in microBatchMetrics {
            if let mean = metrics[Self.metric(name)] { values.set(name, mean) }
        }

        let present = objectives.indices.filter { metrics["loss.\(objectives[$0])"] != nil }
        let combined = try combination.run(
            gradients, present: present,
            multipliers: objectives.map { multipliersBefore[$0] ?? fixedMultipliers[$0] ?? 1 }, values: values,
            step: step, parallel)
        clock.lap("combine")
        if let combined {
            let norm = combined.norm
            metrics["gradient_norm"] = norm
            optimizer.update(
                combined.gradients, blocks: blocks, weights: combined.weights,
                scale: settings.clipNorm > 0 && norm > settings.clipNorm ? settings.clipNorm / norm : 1,
                rate: { rate * rateScales[$0.id] }, parallel)
        }
        clock.lap("update")
        try composition.run(.postStep, values: values, step: step)
        // A rule that says nothing, as one does in a step without its objective's loss, leaves its multiplier alone.
        for objective in objectives where values.double("lambda.\(objective)") == nil {
            values.set("lambda.\(objective)", multipliersBefore[objective] ?? 1)
        }

        for name in stepMetrics {
            if let value = values.double(name) { metrics[Self.metric(name)] = value }
        }
        for objective in objectives {
            metrics["lambda.\(objective)"] = multipliers[objective]
            metrics["lambda.\(objective)@prev"] = multipliersBefore[objective]
            metrics["lambda.\(objective)@next"] = multipliers[objective]
        }
        metrics["learning_rate"] = rate
        if settings.skipsNonFinite { metrics["skipped_steps"] = Double(skippedSteps) }
        values.advanceStep()
        return StepReport(
            step: step, metrics: metrics, skipped: nil, milliseconds: clock.milliseconds, allocations: clock.allocations
        )
    }

    // MARK: - Micro-batch

    private func runMicroBatch(
        step: Int, micro: Int, from source: any BatchSource, sums: inout [String: Double], clock: inout PhaseClock
    ) throws {
        let batch = try source.next(policyInput: policyNoise(step: step, micro: micro))
        let count = batch.input.prompts.count
        let probed = try probes.runs(step: step, micro: micro, batch: batch.input, parallel)
        clock.lap("data")
        if let anchor {
            if readsAnchor { runAnchor(anchor, on: batch.input) }
            probes.runAnchors(probed, anchor, on: tape)
        }
        clock.lap("anchor")
        var input = batch.input
        if settings.proprioDropout > 0, step < settings.proprioDropoutSteps ?? .max {
            dropProprioception(of: &input, step: step, micro: micro)
        }
        input.action?.runsPolicy = composition.reads("predicted_actions", at: .preBackward)
        input.wantsAnswer = !batch.answerIDs.isEmpty && composition.reads("answer_logits", at: .preBackward)
        tape.reset(weights: currentWeights, recording: true)
        let output = model.forward(input, taps: taps, on: tape)
        var targets = probes.forward(probed, values: values, on: tape)
        clock.lap("forward")

        for (index, tap) in taps.enumerated() {
            let feature = output.features[index]
            let shape = [count, feature.tokens, feature.tensor.columns]
            values.set("feature.\(tap.name)", .floats(feature.tensor.values, shape))
            values.set("mask.\(tap.name)", .floats(feature.mask.values, [count, feature.tokens]))
            if readsAnchor { values.set("anchor.\(tap.name)", .floats(anchorFeatures[index].base, shape)) }
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
        if output.answerLogits != nil { setAnswers(batch.answerIDs) }
        try composition.run(.preBackward, values: values, step: step)
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

    /// Memory that lasts beyond the micro-batch, as that of every other array does.
    private func setAnswers(_ answers: [Int64]) {
        if answerIDs.count < answers.count {
            answerIDs.deallocate()
            answerIDs = .allocate(capacity: answers.count)
        }
        guard let start = answerIDs.baseAddress else { return }
        _ = answerIDs.update(fromContentsOf: answers)
        values.set("answer_ids", ArrayView(pointer: start, element: .i64, shape: [answers.count]))
    }

    /// Features under the initial weights, kept apart from the tape, which the main forward pass reuses.
    private func runAnchor(_ anchor: AnchorWeights, on batch: ModelInput) {
        var input = batch
        input.action?.runsPolicy = false
        input.wantsAnswer = false
        tape.parallel = anchorParallel
        defer { tape.parallel = parallel }
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

    /// Zeroes the proprioception of samples drawn with probability `proprioDropout`. Kept values are not scaled up, as those
    /// of dropped activations are: they are what the policy gets at inference.
    private func dropProprioception(of input: inout ModelInput, step: Int, micro: Int) {
        guard input.action != nil else { return }
        var generator = RandomGenerator(
            seed: settings.seed, stream: RandomGenerator.stream("proprioception dropout"), UInt64(step), UInt64(micro))
        let width = model.config.proprioDim
        for sample in input.prompts.indices where generator.uniform() < settings.proprioDropout {
            for index in sample * width..<(sample + 1) * width { input.action?.proprio[index] = 0 }
        }
    }

    // MARK: - Helpers

    private static func metrics(of composition: Composition, at points: Set<HookPoint>) -> [String] {
        composition.plugins.flatMap(\.hooks).filter { points.contains($0.point) }.flatMap(\.provides)
            .filter { $0.hasPrefix("metric.") }
    }

    private static func metric(_ name: String) -> String { String(name.dropFirst("metric.".count)) }
}

extension ArrayView {
    /// A read-only view of float32 values.
    static func floats(_ pointer: UnsafeMutablePointer<Float>, _ shape: [Int]) -> ArrayView {
        ArrayView(pointer: UnsafeMutableRawPointer(pointer), element: .f32, shape: shape, isReadOnly: true)
    }
}

extension PluginFailure {
    /// Whether a plugin produced a value that is not a finite number, as opposed to reporting an error.
    var isNonFinite: Bool { if case .nonFinite = kind { true } else { false } }
}
