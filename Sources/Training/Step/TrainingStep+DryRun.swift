internal import Models
internal import PluginRuntime
internal import Tensors

/// What the passes of a micro-batch would do.
struct DryRun {
    /// For each objective, by parameter id, whether its gradient arrives there.
    var reached: [[Bool]] = []
    /// Values of each tap's features.
    var featureCounts: [Int] = []
    /// Values of the predicted actions, and of the logits of answers.
    var actionCount = 0
    var answerCount = 0
    /// By probe that runs.
    var probes: [ProbeCost] = []
    /// By data stream that has batches.
    var streams: [StreamCost] = []
    /// Floating-point operations of matrix products: the anchors' forward pass, the main one, each objective's backward.
    var anchorFlops = 0.0
    var forwardFlops = 0.0
    var backwardFlops: [Double] = []
    /// Values of each parameter, by id.
    var parameterCounts: [Int] = []

    /// What a run of a probe takes.
    struct ProbeCost {
        let probe: Probe
        /// Floating-point operations of the forward passes under the initial and the current weights.
        var anchorFlops = 0.0
        var forwardFlops = 0.0
        /// Values that are kept of the initial weights' results.
        var anchorCount = 0
    }

    /// What a batch of a data stream takes.
    struct StreamCost {
        let stream: DataStream
        /// Floating-point operations of the forward passes under the initial and the current weights.
        var anchorFlops = 0.0
        var forwardFlops = 0.0
        /// Values that are kept of the initial weights' results.
        var anchorCount = 0
    }

    /// Bytes of an objective's accumulator.
    func reachedBytes(_ objective: Int) -> Int {
        zip(reached[objective], parameterCounts).reduce(0) { $0 + ($1.0 ? 4 * $1.1 : 0) }
    }
}

extension TrainingStep {
    /// Runs the passes of a micro-batch, to find what they allocate, compute and reach. Made for a ``Parallel`` that does
    /// no arithmetic; plugins are not called. The step is of no further use.
    func dryRun(_ input: ModelInput) throws -> DryRun {
        var run = DryRun()
        run.parameterCounts = model.parameters.parameters.map(\.count)
        let profile = OperationProfile()
        tape.profile = profile
        func flops() -> Double {
            profile.end("pass", .forward, from: profile.now)
            defer { profile.clear() }
            return profile.spans.reduce(0) { $0 + $1.flops }
        }
        let probed = probes.largestRuns(input)
        run.probes = probed.map { DryRun.ProbeCost(probe: $0.probe) }
        if let anchor {
            for (index, one) in probed.enumerated() where one.probe.readsAnchor {
                probes.runAnchors([one], anchor, on: tape)
                run.probes[index].anchorFlops = flops()
            }
        }
        let streamed = try streams.samples()
        run.streams = streamed.map { DryRun.StreamCost(stream: $0.stream) }
        if let anchor {
            for (index, one) in streamed.enumerated() where one.stream.passes.readsAnchor {
                streams.runAnchors([one], anchor, on: tape)
                run.streams[index].anchorFlops = flops()
                run.streams[index].anchorCount = one.stream.passes.keptCount
            }
        }
        if let anchor, passes.readsAnchor {
            tape.reset(weights: anchor.table, recording: false)
            var bare = input
            bare.action?.runsPolicy = passes.readsAnchorActions
            _ = model.forward(bare, taps: taps, usesAdapters: anchor.usesAdapters, on: tape)
            run.anchorFlops = flops()
        }
        tape.reset(weights: currentWeights, recording: true)
        let output = model.forward(input, taps: taps, on: tape)
        run.forwardFlops = flops()
        var targets: [BatchPasses.Target] = []
        for (index, one) in probed.enumerated() {
            let probed = probes.forward([one], values: session.values, on: tape)
            run.probes[index].forwardFlops = flops()
            if one.probe.readsAnchor { run.probes[index].anchorCount = probed.reduce(0) { $0 + $1.tensor.count } }
            targets += probed
        }
        for (index, one) in streamed.enumerated() {
            targets += streams.forward([one], values: session.values, on: tape)
            run.streams[index].forwardFlops = flops()
        }
        run.actionCount = output.predictedActions?.count ?? 0
        run.answerCount = output.answerLogits?.count ?? 0
        run.featureCounts = output.features.map(\.tensor.count)
        targets += zip(taps, output.features).map { (ValueName("feature.\($0.name)"), $1.tensor) }
        if let actions = output.predictedActions { targets.append((ValueName("predicted_actions"), actions)) }
        if let logits = output.answerLogits {
            targets += ["answer_logits", "text_logits"].map { (ValueName($0), logits) }
        }
        for (row, gradient) in gradients.enumerated() {
            let reached = targets.filter { session.givesCotangent(ofRow: row, on: $0.name) }.map(\.tensor)
            // A backward pass only asks whether a cotangent is there; its values are not read.
            tape.backward(
                seeds: reached.map { ($0, UnsafePointer($0.values)) }, scale: 1, into: gradient,
                route: routes.routes[row])
            run.backwardFlops.append(flops())
            run.reached.append(gradient.isReached)
        }
        tape.profile = nil
        return run
    }
}
