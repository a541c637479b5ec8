internal import Models
internal import PluginRuntime
internal import Tensors

/// What the passes of a micro-batch would do.
struct DryRun {
    /// For each objective, by parameter id, whether its gradient arrives there.
    var reached: [[Bool]] = []
    /// Values of each tap's features.
    var featureCounts: [Int] = []
    /// Floating-point operations of matrix products: the anchors' forward pass, the main one, each objective's backward.
    var anchorFlops = 0.0
    var forwardFlops = 0.0
    var backwardFlops: [Double] = []
    /// Values of each parameter, by id.
    var parameterCounts: [Int] = []

    /// Bytes of an objective's accumulator.
    func reachedBytes(_ objective: Int) -> Int {
        zip(reached[objective], parameterCounts).reduce(0) { $0 + ($1.0 ? 4 * $1.1 : 0) }
    }
}

extension TrainingStep {
    /// Runs the passes of a micro-batch, to find what they allocate, compute and reach. Made for a ``Parallel`` that does
    /// no arithmetic; plugins are not called. The step is of no further use.
    func dryRun(_ input: ModelInput) -> DryRun {
        var run = DryRun()
        run.parameterCounts = model.parameters.parameters.map(\.count)
        let profile = OperationProfile()
        tape.profile = profile
        func flops() -> Double {
            profile.end("pass", .forward, from: profile.now)
            defer { profile.clear() }
            return profile.spans.reduce(0) { $0 + $1.flops }
        }
        if let anchor {
            tape.reset(weights: anchor.table, recording: false)
            var bare = input
            bare.action?.runsPolicy = false
            _ = model.forward(bare, taps: taps, usesAdapters: anchor.usesAdapters, on: tape)
            run.anchorFlops = flops()
        }
        tape.reset(weights: currentWeights, recording: true)
        let output = model.forward(input, taps: taps, on: tape)
        run.forwardFlops = flops()
        run.featureCounts = output.features.map(\.tensor.count)
        var targets = zip(taps, output.features).map { ("feature.\($0.name)", $1.tensor) }
        if let actions = output.predictedActions { targets.append(("predicted_actions", actions)) }
        if let logits = output.answerLogits { targets.append(("answer_logits", logits)) }
        for (objective, gradient) in zip(objectives, gradients) {
            let reached = targets.filter { composition.provider(of: "cotangent.\(objective).\($0.0)") != nil }.map(\.1)
            // A backward pass only asks whether a cotangent is there; its values are not read.
            tape.backward(seeds: reached.map { ($0, UnsafePointer($0.values)) }, scale: 1, into: gradient)
            run.backwardFlops.append(flops())
            run.reached.append(gradient.isReached)
        }
        tape.profile = nil
        return run
    }
}
