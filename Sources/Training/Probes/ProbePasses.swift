internal import Models
internal import PluginRuntime
internal import Tensors

/// Runs the probes of a training step: under the initial weights, whose results are kept aside, and under the current
/// ones, on the tape of the micro-batch behind the main forward pass.
final class ProbePasses {
    /// A probe that runs in this micro-batch.
    struct Run {
        let probe: Probe
        let input: ModelInput
        fileprivate let index: Int
    }

    let probes: [Probe]
    private let model: VLAModel
    private let seed: UInt64
    /// By probe: what the initial weights gave for its taps and, last, its logits.
    private var anchors: [KeptResults]

    init(_ probes: [Probe], model: VLAModel, seed: UInt64) {
        self.probes = probes
        self.model = model
        self.seed = seed
        anchors = probes.map { _ in KeptResults() }
    }

    var readsAnchor: Bool { probes.contains { $0.readsAnchor && $0.interval > 0 } }

    /// Takes back what the last step's probes gave: what is not due has no values in step `step`.
    func begin(step: Int, values: ValueStore) {
        for probe in probes where !probe.isDue(step) {
            for name in probe.absentNames where !values.isWithheld(name) { values.withhold(name) }
        }
    }

    /// What the probes that are due make of a micro-batch.
    func runs(step: Int, micro: Int, batch: ModelInput, _ parallel: Parallel) throws -> [Run] {
        try probes.enumerated().filter { $0.element.isDue(step) }.map { index, probe in
            Run(
                probe: probe,
                input: try probe.input(
                    batch, imageSize: model.config.imageSize, seed: seed, step: step, micro: micro, parallel),
                index: index)
        }
    }

    /// Every probe at its largest, without arithmetic to follow.
    func largestRuns(_ batch: ModelInput) -> [Run] {
        probes.enumerated().filter { $0.element.interval > 0 }.map { index, probe in
            Run(probe: probe, input: probe.largestInput(batch, imageSize: model.config.imageSize), index: index)
        }
    }

    /// Runs what reads anchors under the initial weights. The tape is used for it and free again.
    func runAnchors(_ runs: [Run], _ anchor: AnchorWeights, on tape: Tape) {
        for run in runs where run.probe.readsAnchor {
            tape.reset(weights: anchor.table, recording: false)
            let output = model.forward(run.input, taps: run.probe.taps, usesAdapters: anchor.usesAdapters, on: tape)
            let results = output.features.map(\.tensor) + (output.answerLogits.map { [$0] } ?? [])
            for (slot, tensor) in results.enumerated() { anchors[run.index].keep(tensor, slot: slot) }
        }
    }

    /// Runs the probes under the current weights, recording, and gives hooks the results.
    ///
    /// - Returns: what cotangents may be put on, by name.
    func forward(_ runs: [Run], values: ValueStore, on tape: Tape) -> [BatchPasses.Target] {
        var targets: [BatchPasses.Target] = []
        for run in runs {
            let probe = run.probe
            let count = run.input.prompts.count
            let output = model.forward(run.input, taps: probe.taps, on: tape)
            func offer(_ tensor: Tensor, _ name: ValueName, anchor: ValueName, slot: Int, _ shape: [Int]) {
                values.set(name, .floats(tensor.values, shape))
                if probe.readsAnchor { values.set(anchor, .floats(anchors[run.index][slot], shape)) }
                targets.append((name, tensor))
            }
            for (slot, feature) in output.features.enumerated() {
                let names = probe.tapNames[slot]
                offer(
                    feature.tensor, names.feature, anchor: names.anchor, slot: slot,
                    [count, feature.tokens, feature.tensor.columns])
                values.set(names.mask, .floats(feature.mask.values, [count, feature.tokens]))
            }
            if let logits = output.answerLogits {
                offer(
                    logits, probe.logits, anchor: probe.anchorLogits, slot: output.features.count,
                    [logits.rows, logits.columns])
            }
        }
        return targets
    }
}
