internal import Data
internal import Formats
internal import Foundation
internal import Models
internal import Tensors

/// Every intermediate result that a PyTorch implementation of the same model can be compared with: one forward pass on a
/// given batch, the losses of both objectives, and the gradients of each.
///
/// B samples, T = N visual + P prompt + Q query positions, D decoder width. Written, all float32 but the mask:
///
/// - `hidden_states.{i}` [B, T, D], 0 where `hidden_mask` [B, T] (int64) is 0, which is padding;
/// - `projected_patches` [B, N, D], `predicted_actions` [B, chunk, actionDim] with the policy input zero;
/// - `features` and, with anchor weights, `features.anchor` [B, 2 D]: the mean of the visual positions in the middle
///   hidden state, then the mean of the query positions in the last one;
/// - `loss.action` (L1), `loss.retention` (mean square), `conflict_ratio` [1];
/// - `grad.action.K`, `grad.retention.K`, `grad.combined.K` for every trainable tensor K that a gradient reaches, in its
///   own shape. The combination is CRaFT's, per tensor, with a denominator of |g_ret|² + 1e-8 and a fixed multiplier;
/// - `extra.predicted_actions_noise`, `extra.loss_action_noise` when the inputs hold `policy_noise`, and
///   `extra.unnormalised_actions` when the folder's dataset_statistics.json describes one data set.
package struct ModelTrace {
    /// Results in words, for the terminal.
    package struct Summary: Sendable {
        package var tensors: Int
        package var actionLoss: Double
        package var retentionLoss: Double?
        package var conflictRatio: Double?
    }

    private let folder: ModelFolder
    private let model: VLAModel
    private let tape: Tape

    /// Loads a model folder, its adapter included; everything the model needs must be there.
    ///
    /// - Parameter base: folder of the base model of an adapter; nil takes the one that the adapter names.
    package init(folder path: String, base: String? = nil, threads: Int) throws {
        var choices = ModelFolder.Choices()
        choices.base = base
        folder = try ModelFolder(path: path, choices: choices)
        model = VLAModel(config: folder.config, fineTuning: folder.adapterSettings.map(FineTuning.lowRank) ?? .full)
        let absent = try folder.load(into: model)
        if let first = absent.first {
            throw TrainingError(
                .missing,
                "\(path): \(absent.count) tensors are in none of its files, the first being \(first); a trace needs the "
                    + "whole policy: backbone, action queries, action head and proprioception projector")
        }
        tape = Tape(parameters: model.parameters, parallel: Parallel(threads: threads))
    }

    /// Runs the batch in `inputs` and writes the results to `out`.
    ///
    /// - `anchor`: a safetensors file with the initial values of trainable tensors of the vision-language model; those it
    ///   lacks are as the model has them. Without it there is no retention loss.
    /// - `multiplier`: lambda of the combined gradient.
    package func write(inputs: String, anchor: String?, multiplier: Double, to out: String) throws -> Summary {
        let inputs = try TraceInputs(path: inputs, config: model.config)
        var result = TraceResult(batch: inputs.batch)
        var anchorFeatures: [[Float]] = []
        if let anchor {
            let weights = try TraceAnchor(path: anchor, model: model, folder: folder)
            // The table points into buffers that the value owns.
            anchorFeatures = withExtendedLifetime(weights) {
                tape.reset(weights: weights.table, recording: false)
                return forward(inputs).features.map { $0.tensor.array }
            }
            result.add("features.anchor", joined(anchorFeatures))
        }
        if let noise = inputs.noise {
            tape.reset(weights: model.parameters.currentWeights(), recording: false)
            let actions = try predicted(forward(inputs, policyInput: noise))
            result.add(
                "extra.predicted_actions_noise", [inputs.batch, model.config.chunk, model.config.actionDim], actions)
            result.add("extra.loss_action_noise", meanAbsoluteError(actions, inputs.actions))
        }

        tape.reset(weights: model.parameters.currentWeights(), recording: true)
        let output = forward(inputs)
        let actions = try predicted(output)
        guard actions.allSatisfy(\.isFinite) else {
            throw folder.nonFiniteTensor(of: model)
                ?? TrainingError(
                    .malformed, "\(folder.path): the predicted actions are not finite, though weights and inputs are")
        }
        try addForward(output, actions, to: &result)
        let actionLoss = meanAbsoluteError(actions, inputs.actions)
        result.add("loss.action", actionLoss)
        let count = Float(actions.count)
        let signs = zip(actions, inputs.actions).map { $0 > $1 ? 1 / count : $0 < $1 ? -1 / count : Float(0) }
        let action = gradient(of: output.predictedActions.map { [($0, signs)] } ?? [])
        var summary = Summary(tensors: 0, actionLoss: actionLoss)

        if anchorFeatures.isEmpty {
            addGradients("action", action, to: &result)
        } else {
            let drifts = zip(output.features, anchorFeatures).map { now, before in
                zip(now.tensor.array, before).map { $0 - $1 }
            }
            let values = Double(drifts.reduce(0) { $0 + $1.count })
            let loss = drifts.joined().reduce(0.0) { $0 + Double($1) * Double($1) } / values
            let retention = gradient(
                of: zip(output.features, drifts).map { feature, drift in
                    (feature.tensor, drift.map { 2 * $0 / Float(values) })
                })
            result.add("loss.retention", loss)
            addGradients("action", action, to: &result)
            addGradients("retention", retention, to: &result)
            let ratio = addCombination(action, retention, multiplier: multiplier, to: &result)
            result.add("conflict_ratio", ratio)
            summary.retentionLoss = loss
            summary.conflictRatio = ratio
        }
        try SafetensorsWriter.write(result.tensors, metadata: ["format": "pt"], to: out)
        summary.tensors = result.tensors.count
        return summary
    }

    // MARK: - Passes

    private func forward(_ inputs: TraceInputs, policyInput: [Float] = []) -> ModelOutput {
        let layers = model.config.decoder.layers
        return model.forward(
            inputs.modelInput(cameras: model.config.cameras, policyInput: policyInput),
            taps: [
                FeatureTap(name: "visual", layer: (layers + 1) / 2, tokens: .visual, pooling: Pooling.mean.rawValue),
                FeatureTap(name: "query", layer: layers, tokens: .query, pooling: Pooling.mean.rawValue),
            ], on: tape)
    }

    private func gradient(of seeds: [(tensor: Tensor, cotangent: [Float])]) -> GradientAccumulator {
        let accumulator = GradientAccumulator(parameters: model.parameters)
        let buffers = seeds.map { seed in
            let buffer = FloatBuffer(count: seed.cotangent.count)
            buffer.base.update(from: seed.cotangent, count: seed.cotangent.count)
            return buffer
        }
        withExtendedLifetime(buffers) {
            tape.backward(
                seeds: zip(seeds, buffers).map { ($0.tensor, UnsafePointer($1.base)) }, scale: 1, into: accumulator)
        }
        return accumulator
    }

    private func predicted(_ output: ModelOutput) throws -> [Float] {
        guard let actions = output.predictedActions else {
            throw TrainingError(.missing, "\(folder.path): no policy to run")
        }
        return actions.array
    }

    // MARK: - Results

    private func addForward(_ output: ModelOutput, _ actions: [Float], to result: inout TraceResult) throws {
        let layout = output.layout
        let (batch, tokens, width) = (layout.batch, layout.tokens, model.config.decoder.hiddenSize)
        var mask = [Int64](repeating: 0, count: batch * tokens)
        for sample in 0..<batch {
            for position in 0..<layout.length(sample) { mask[sample * tokens + position] = 1 }
        }
        result.tensors.append(.init("hidden_mask", shape: [batch, tokens], integers: mask))
        for (index, state) in output.hiddenStates.enumerated() {
            var values = state.array
            for row in mask.indices where mask[row] == 0 {
                values.replaceSubrange(row * width..<(row + 1) * width, with: repeatElement(0, count: width))
            }
            result.add("hidden_states.\(index)", [batch, tokens, width], values)
        }
        result.add("projected_patches", [batch, layout.visual, width], output.projectedPatches.array)
        let shape = [batch, model.config.chunk, model.config.actionDim]
        result.add("predicted_actions", shape, actions)
        result.add("features", joined(output.features.map { $0.tensor.array }))
        let statistics = folder.path + "/dataset_statistics.json"
        if FileManager.default.fileExists(atPath: statistics),
            let only = try DatasetStatistics.only(contentsOf: statistics)
        {
            result.add("extra.unnormalised_actions", shape, only.unnormaliseAction(actions))
        }
    }

    private func addGradients(_ kind: String, _ gradient: GradientAccumulator, to result: inout TraceResult) {
        for parameter in model.parameters.parameters where gradient.isReached[parameter.id] {
            result.add("grad.\(kind).\(parameter.name)", parameter.shape, gradient.array(of: parameter))
        }
    }

    /// Adds `g_action (- <g_a, g_r> / (|g_r|² + 1e-8) g_r when that product is negative) + multiplier g_r` per tensor.
    ///
    /// - Returns: tensors in conflict over tensors that have both gradients and a retention gradient that is not zero.
    private func addCombination(
        _ action: GradientAccumulator, _ retention: GradientAccumulator, multiplier: Double,
        to result: inout TraceResult
    ) -> Double {
        var (conflicting, counted) = (0, 0)
        for parameter in model.parameters.parameters {
            let (hasAction, hasRetention) = (action.isReached[parameter.id], retention.isReached[parameter.id])
            guard hasAction || hasRetention else { continue }
            let (a, r) = (action.array(of: parameter), retention.array(of: parameter))
            let dot = zip(a, r).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
            let square = r.reduce(0.0) { $0 + Double($1) * Double($1) }
            if hasAction, hasRetention, square > 0 {
                counted += 1
                if dot < 0 { conflicting += 1 }
            }
            let weight = hasRetention ? multiplier - min(dot, 0) / (square + 1e-8) : 0
            result.add(
                "grad.combined.\(parameter.name)", parameter.shape,
                zip(a, r).map { Float(Double($0) + weight * Double($1)) })
        }
        return counted == 0 ? 0 : Double(conflicting) / Double(counted)
    }

    private func joined(_ parts: [[Float]]) -> (shape: [Int], values: [Float]) {
        let width = model.config.decoder.hiddenSize
        let batch = (parts.first?.count ?? 0) / width
        let values = (0..<batch).flatMap { row in parts.flatMap { $0[row * width..<(row + 1) * width] } }
        return ([batch, parts.count * width], values)
    }

    private func meanAbsoluteError(_ a: [Float], _ b: [Float]) -> Double {
        zip(a, b).reduce(0.0) { $0 + abs(Double($1.0) - Double($1.1)) } / Double(a.count)
    }
}

/// The tensors of a trace in the order they were computed.
private struct TraceResult {
    let batch: Int
    var tensors: [SafetensorsWriter.Tensor] = []

    mutating func add(_ name: String, _ shape: [Int], _ values: [Float]) {
        tensors.append(.init(name, shape: shape, floats: values))
    }

    mutating func add(_ name: String, _ matrix: (shape: [Int], values: [Float])) {
        add(name, matrix.shape, matrix.values)
    }

    mutating func add(_ name: String, _ value: Double) { add(name, [1], [Float(value)]) }
}

extension Tensor {
    fileprivate var array: [Float] { Array(UnsafeBufferPointer(start: values, count: count)) }
}

extension GradientAccumulator {
    fileprivate func array(of parameter: Parameter) -> [Float] {
        Array(UnsafeBufferPointer(start: values.base + parameter.offset, count: parameter.count))
    }
}
