package import Collectives
internal import Formats
package import Models
package import PluginRuntime
package import Tensors

/// The training step: one shared forward pass per micro-batch, a cotangent per objective, gradients kept apart until
/// plugins have said how to combine them.
///
///     zero G_1 ... G_m
///     K times: anchor features; forward; pre_backward hooks; per objective backward, G_i += gradient / K
///     gram[b] = G_b G_bᵀ; gradient_combine hooks -> weights, rates; clip; AdamW with Σ w_i G_i; post_step hooks; pull
///
/// Probes and data streams that are due run with the anchors and behind the forward pass. An objective that no micro-batch gives a loss
/// takes no part in the step: it has no row in the Gram matrix, and rules that need its loss are not called. What plugins
/// are told and decide is ``HookSession``'s.
package final class TrainingStep {
    package let model: VLAModel
    package let session: HookSession
    package let blocks: ParameterBlocks
    let settings: StepSettings
    let passes: BatchPasses
    let probes: ProbePasses
    let streams: StreamPasses
    let anchor: AnchorWeights?
    let gradients: [GradientAccumulator]
    let optimizer: AdamW
    /// Factor on the learning rate of each parameter, by id.
    private(set) var rateScales: [Double]
    private var groupScales: [String: Double]
    let currentWeights: [WeightValues]
    /// Free between steps for passes that record nothing.
    let tape: Tape
    let pieces: BlockPieces
    let routes: ObjectiveRoutes
    /// What some hook asked for; nil where none did.
    private let fullGradients: FullGradients?
    private let halves: HalfGradients?
    let drift: ParameterDrift?
    private let noise: InputNoise
    /// The other processes that take the step; nil: there are none.
    private let ranks: StepRanks?
    private let schedule: LearningRateSchedule
    private let parallel: Parallel
    /// What runs the anchors' forward pass.
    private let anchorParallel: Parallel
    /// Steps that were skipped for a non-finite value.
    var skippedSteps = 0
    /// Weights of the last combination, [blocks, objectives that took part]. For tests and traces.
    package private(set) var combinationWeights: [Double] = []

    /// Runs the `plan` hooks and makes everything that lasts.
    ///
    /// - Parameters:
    ///   - absent: values that this run never has, by name, each with the reason and what to do.
    ///   - streams: the data that plugins may ask for beside the run's own.
    ///   - ranks: the processes that divide the step's micro-batches.
    ///   - encodePrompt: turns a probe's text, in one of the model's prompts, into token ids; nil refuses probes.
    ///   - makeAnchor: called when some hook reads an anchor.
    package init(
        model: VLAModel, composition: Composition, settings: StepSettings, optimizer: AdamWSettings,
        schedule: LearningRateSchedule, parallel: Parallel, batchSize: Int, steps: Int, absent: [String: String] = [:],
        streams given: StreamSources = .none, ranks: any Collective = OneRank(), encodePrompt: PromptEncoding? = nil,
        makeAnchor: () throws -> AnchorWeights
    ) throws {
        guard !composition.objectives.isEmpty else {
            throw TrainingError(
                .settings, "no plugin in the list provides a loss; add one that does, BaselineL1 for instance")
        }
        guard composition.objectives.count <= 8 else {
            throw TrainingError(.settings, "\(composition.objectives.count) objectives; a run can have at most 8")
        }
        self.model = model
        self.settings = settings
        self.schedule = schedule
        self.parallel = parallel
        anchorParallel =
            try settings.anchorPrecision.map { precision in
                Parallel(
                    threads: parallel.threads, executes: parallel.executes,
                    products: precision == .bf16 ? try BFloat16Products() : nil)
            } ?? parallel
        session = HookSession(composition)
        let plan = try StepPlan(
            session, model: model, settings: settings, batchSize: batchSize, steps: steps, absent: absent,
            streams: given, encodePrompt: encodePrompt)
        blocks = plan.blocks
        routes = plan.routes
        groupScales = session.decisions.rateScales
        rateScales = try settings.learningRateScales.byParameter(of: model.parameters, times: groupScales)
        passes = BatchPasses(plan.taps, model: model, composition: composition)
        probes = ProbePasses(plan.probes, model: model, seed: settings.seed)
        streams = try StreamPasses(
            plan.streams, from: given, model: model, composition: composition, batchSize: batchSize)
        gradients = composition.objectives.map { _ in GradientAccumulator(parameters: model.parameters) }
        pieces = BlockPieces(blocks, ranks: ranks)
        let needs = session.needs
        fullGradients =
            needs.grads || needs.combined || needs.parameters || needs.initial
            ? FullGradients(pieces, objectives: gradients.count, parameters: model.parameters) : nil
        halves = needs.gramCross ? HalfGradients(objectives: gradients.count, parameters: model.parameters) : nil
        drift = needs.drift ? ParameterDrift(model.parameters, pieces, parallel) : nil
        noise = InputNoise(settings)
        self.ranks = pieces.owners.map { StepRanks(ranks, accumulation: settings.accumulation, owners: $0) }
        self.optimizer = AdamW(parameters: model.parameters, settings: optimizer)
        tape = Tape(parameters: model.parameters, parallel: parallel)
        tape.checkpointsSegments = settings.checkpointsActivations
        currentWeights = model.parameters.currentWeights()
        anchor = passes.readsAnchor || probes.readsAnchor || streams.readsAnchor ? try makeAnchor() : nil
        if passes.readsAnchorActions || streams.readsAnchorActions { anchor?.keepHead(of: model) }
    }

    /// Runs step `step`, counted from 0.
    ///
    /// - Parameter shouldStop: asked where there are other ranks, which get to know it.
    package func run(
        step: Int, from source: any BatchSource, shouldStop: () -> Bool = { false }
    ) throws -> StepReport {
        var clock = PhaseClock(profile: profile)
        let rate = schedule.rate(at: step)
        for gradient in gradients { gradient.zero() }
        halves?.zero()
        ranks?.begin(step)
        session.begin(step: step, rate: rate, drift2: session.needs.drift2 ? try drift?.squares() : nil)
        probes.begin(step: step, values: session.values)
        streams.begin(step: step, values: session.values)
        let cursors = ranks == nil || !settings.skipsNonFinite ? nil : (source.cursor, streams.cursors)
        var failure = try runMicroBatches(step: step, from: source, clock: &clock)
        var isInterrupted = false
        if let ranks {
            let outcome = try ranks.join(
                step: step, session, gradients + (halves?.first ?? []), failure: failure, isInterrupted: shouldStop())
            (failure, isInterrupted) = (outcome.failure, outcome.isInterrupted)
            clock.lap("wait")
        }
        if let failure {
            if let cursors {
                // To where a process alone would have stopped drawing.
                try source.restore(cursor: cursors.0)
                try streams.restore(cursors.1)
                try source.pass(failure.micro + 1)
                try streams.pass(failure.micro + 1, step: step)
            }
            session.abandon()
            skippedSteps += 1
            var report = StepReport(
                step: step, metrics: ["skipped_steps": Double(skippedSteps)], skipped: failure.sentence, clock)
            report.isInterrupted = isInterrupted
            return report
        }
        let rows = session.closeBatch()
        if let owners = pieces.owners {
            for row in rows {
                try owners.reduce(gradients[row])
                if let first = halves?.first[row] { try owners.reduce(first) }
            }
            clock.lap("reduce")
        }
        let facts = try gradientFacts(of: rows)
        let combination = try session.combine(facts)
        clock.lap("combine")
        try refreshRates()
        let norm = try combination.map { try update(with: $0, of: rows.map { gradients[$0] }, facts, rate: rate) }
        clock.lap("update")
        let outcome = try session.finish()
        if let pull = outcome.pull { drift?.pull(pull) }
        var report = StepReport(step: step, metrics: outcome.metrics, clock)
        report.metrics["gradient_norm"] = norm
        report.metrics["learning_rate"] = rate
        if settings.skipsNonFinite { report.metrics["skipped_steps"] = Double(skippedSteps) }
        report.blockMetrics = outcome.blockMetrics
        report.stop = outcome.stop
        report.isInterrupted = isInterrupted
        return report
    }

    /// This process's micro-batches of a step.
    ///
    /// - Returns: what was not finite, and where, if that is to be skipped; the rest is left out then.
    private func runMicroBatches(
        step: Int, from source: any BatchSource, clock: inout PhaseClock
    ) throws -> (micro: Int, sentence: String)? {
        for micro in ranks?.micros ?? 0..<settings.accumulation {
            do {
                try runMicroBatch(step: step, micro: micro, from: source, clock: &clock)
            } catch let failure as PluginFailure where failure.isNonFinite && settings.skipsNonFinite {
                return (micro, failure.description)
            }
        }
        return nil
    }

    private func runMicroBatch(
        step: Int, micro: Int, from source: any BatchSource, clock: inout PhaseClock
    ) throws {
        var batch = try source.next()
        noise.fillPolicyInput(of: &batch.input, count: model.policyInputCount, step: step, micro: micro)
        noise.dropProprioception(of: &batch.input, width: model.config.proprioDim, step: step, micro: micro)
        let probed = try probes.runs(step: step, micro: micro, batch: batch.input, parallel)
        let streamed = try streams.batches(step: step, micro: micro, noise)
        clock.lap("data")
        if let anchor {
            tape.parallel = anchorParallel
            passes.runAnchor(anchor, on: batch, tape: tape)
            tape.parallel = parallel
            probes.runAnchors(probed, anchor, on: tape)
            streams.runAnchors(streamed, anchor, on: tape)
        }
        clock.lap("anchor")
        tape.reset(weights: currentWeights, recording: true)
        let output = passes.forward(batch, on: tape)
        var targets = probes.forward(probed, values: session.values, on: tape)
        targets += streams.forward(streamed, values: session.values, on: tape)
        clock.lap("forward")
        targets += passes.offer(output, of: batch, to: session.values, on: tape)
        try session.microBatch()
        clock.lap("objectives")
        for (row, gradient) in gradients.enumerated() {
            let seeds = targets.compactMap { target in
                session.cotangent(ofRow: row, on: target.name).map { (tensor: target.tensor, cotangent: $0.cotangent) }
            }
            guard !seeds.isEmpty else { continue }
            tape.backward(
                seeds: seeds, scale: 1 / Float(settings.accumulation),
                into: halves?.target(row, micro: micro, of: settings.accumulation, whole: gradient) ?? gradient,
                route: routes.routes[row])
        }
        clock.lap("backward")
    }

    /// The gradients of a step as they are combined, and what hooks learn of them.
    private func gradientFacts(of rows: [Int]) throws -> GradientFacts {
        let present = rows.map { gradients[$0] }
        for row in rows {
            routes.scale(gradients[row], row: row, parallel)
            if let first = halves?.first[row] { routes.scale(first, row: row, parallel) }
        }
        let cross = try halves?.join(rows, with: present, pieces, parallel)
        for (row, gradient) in zip(rows, present) {
            if let factors = session.driftFactors(ofRow: row) { drift?.add(factors, to: gradient) }
        }
        var facts = GradientFacts(gram: try GradientGram.products(present, pieces, parallel), coordinates: pieces.count)
        facts.gramCross = cross
        facts.driftDot = session.needs.driftDot ? try drift?.products(with: present) : nil
        guard let fullGradients else { return facts }
        if let owners = pieces.owners, session.needs.grads || session.needs.combined {
            for gradient in present { try owners.complete(gradient) }
        }
        facts.grads = { [self] in fullGradients.gather(present, parallel) }
        facts.weightedSum = { [self] in fullGradients.weightedSum(present, $0, parallel) }
        facts.parameters = { [self] in fullGradients.parameters(model.parameters.trainable, parallel) }
        facts.initial = drift.map { drift in { [self] in fullGradients.initial(drift.initial.base, parallel) } }
        return facts
    }

    /// Rates that `post_step` hooks have changed since.
    private func refreshRates() throws {
        guard session.decisions.rateScales != groupScales else { return }
        groupScales = session.decisions.rateScales
        rateScales = try settings.learningRateScales.byParameter(of: model.parameters, times: groupScales)
    }

    /// AdamW along the combined gradient, clipped; returns the gradient's norm before clipping.
    private func update(
        with combination: Combination, of present: [GradientAccumulator], _ facts: GradientFacts, rate: Double
    ) throws -> Double {
        var (gradients, weights) = (present, combination.weights)
        var norm = facts.squaredNorm(weights: weights).squareRoot()
        combinationWeights = weights
        if let combined = combination.combined, let fullGradients {
            let (gradient, length) = fullGradients.scatter(combined.cotangent, like: present, parallel)
            (gradients, weights, norm) = ([gradient], Array(repeating: 1, count: blocks.blocks.count), length)
        }
        optimizer.update(
            gradients, blocks: blocks, pieces: pieces, weights: weights,
            scale: settings.clipNorm > 0 && norm > settings.clipNorm ? settings.clipNorm / norm : 1,
            rate: { rate * rateScales[$0.id] }, blockRates: combination.rates, parallel)
        if let owners = pieces.owners {
            let segments = owners.segments { id in gradients.contains { $0.isReached[id] } }
            try owners.collective.share(model.parameters.trainable, segments, phase: owners.phase)
        }
        return norm
    }
}
