internal import Models
internal import PluginRuntime
internal import Tensors

extension TrainingStep {
    /// Runs the passes of a micro-batch, to find what they allocate and which parameters each objective reaches. Made for
    /// a ``Parallel`` that does no arithmetic; plugins are not called. The step is of no further use.
    ///
    /// - Returns: for each objective, by parameter id, whether its gradient arrives there.
    func dryRun(_ input: ModelInput) -> [[Bool]] {
        if let anchor {
            tape.reset(weights: anchor.table, recording: false)
            var bare = input
            bare.action?.runsPolicy = false
            _ = model.forward(bare, taps: taps, usesAdapters: anchor.usesAdapters, on: tape)
        }
        tape.reset(weights: currentWeights, recording: true)
        let output = model.forward(input, taps: taps, on: tape)
        var targets = zip(taps, output.features).map { ("feature.\($0.name)", $1.tensor) }
        if let actions = output.predictedActions { targets.append(("predicted_actions", actions)) }
        if let logits = output.answerLogits { targets.append(("answer_logits", logits)) }
        return zip(objectives, gradients).map { objective, gradient in
            let reached = targets.filter { composition.provider(of: "cotangent.\(objective).\($0.0)") != nil }.map(\.1)
            // A backward pass only asks whether a cotangent is there; its values are not read.
            tape.backward(seeds: reached.map { ($0, UnsafePointer($0.values)) }, scale: 1, into: gradient)
            return gradient.isReached
        }
    }
}
