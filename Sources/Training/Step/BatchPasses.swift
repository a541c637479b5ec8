internal import Models
internal import PluginRuntime
internal import Tensors

/// The forward passes of a micro-batch and what hooks see of them: features under the initial and the current weights,
/// predicted actions, answers.
final class BatchPasses {
    /// A value that cotangents may be put on.
    typealias Target = (name: ValueName, tensor: Tensor)

    let taps: [FeatureTap]
    /// Whether some hook reads features of the batch itself under the initial weights.
    let readsAnchor: Bool
    private let model: VLAModel
    private let tapNames: [(feature: ValueName, anchor: ValueName, mask: ValueName)]
    private let readsPredictions: Bool
    private let readsAnswers: Bool
    private var anchorFeatures: [FloatBuffer] = []
    /// Memory behind `answer_ids`.
    private var answerIDs: UnsafeMutableBufferPointer<Int64>

    private enum Names {
        static let predictedActions = ValueName("predicted_actions")
        static let targetActions = ValueName("target_actions")
        static let answerLogits = ValueName("answer_logits")
        static let answerIDs = ValueName("answer_ids")
    }

    init(_ taps: [FeatureTap], model: VLAModel, composition: Composition, batchSize: Int) {
        self.taps = taps
        self.model = model
        tapNames = taps.map {
            (ValueName("feature.\($0.name)"), ValueName("anchor.\($0.name)"), ValueName("mask.\($0.name)"))
        }
        readsAnchor = taps.contains { composition.reads("anchor.\($0.name)", at: .preBackward) }
        readsPredictions = composition.reads("predicted_actions", at: .preBackward)
        readsAnswers = composition.reads("answer_logits", at: .preBackward)
        answerIDs = .allocate(capacity: max(batchSize, 1))
    }

    deinit { answerIDs.deallocate() }

    /// Features under the initial weights, kept apart from the tape, which the main forward pass reuses.
    func runAnchor(_ anchor: AnchorWeights, on batch: ModelInput, tape: Tape) {
        guard readsAnchor else { return }
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

    /// The forward pass under the current weights, on a tape that has been reset.
    func forward(_ batch: TrainingBatch, _ input: ModelInput, on tape: Tape) -> ModelOutput {
        var input = input
        input.action?.runsPolicy = readsPredictions
        input.wantsAnswer = !batch.answerIDs.isEmpty && readsAnswers
        return model.forward(input, taps: taps, on: tape)
    }

    /// Gives hooks what the forward pass made.
    ///
    /// - Returns: what cotangents may be put on.
    func offer(_ output: ModelOutput, of batch: TrainingBatch, to values: ValueStore, on tape: Tape) -> [Target] {
        let count = batch.input.prompts.count
        var targets: [Target] = []
        for (index, name) in tapNames.enumerated() {
            let feature = output.features[index]
            let shape = [count, feature.tokens, feature.tensor.columns]
            values.set(name.feature, .floats(feature.tensor.values, shape))
            values.set(name.mask, .floats(feature.mask.values, [count, feature.tokens]))
            if readsAnchor { values.set(name.anchor, .floats(anchorFeatures[index].base, shape)) }
            targets.append((name.feature, feature.tensor))
        }
        if let predicted = output.predictedActions {
            let target = tape.constant(rows: predicted.rows, columns: predicted.columns)
            precondition(batch.targetActions.count == target.count, "a batch with actions has a target for each")
            target.values.update(from: batch.targetActions, count: target.count)
            let shape = [count, model.config.chunk, model.config.actionDim]
            values.set(Names.predictedActions, .floats(predicted.values, shape))
            values.set(Names.targetActions, .floats(target.values, shape))
            targets.append((Names.predictedActions, predicted))
        }
        if let logits = output.answerLogits {
            values.set(Names.answerLogits, .floats(logits.values, [logits.rows, logits.columns]))
            setAnswers(batch.answerIDs, values)
            targets.append((Names.answerLogits, logits))
        }
        return targets
    }

    /// Memory that lasts beyond the micro-batch, as that of every other array does.
    private func setAnswers(_ answers: [Int64], _ values: ValueStore) {
        if answerIDs.count < answers.count {
            answerIDs.deallocate()
            answerIDs = .allocate(capacity: answers.count)
        }
        guard let start = answerIDs.baseAddress else { return }
        _ = answerIDs.update(fromContentsOf: answers)
        values.set(Names.answerIDs, ArrayView(pointer: start, element: .i64, shape: [answers.count]))
    }
}

extension ArrayView {
    /// A read-only view of float32 values.
    static func floats(_ pointer: UnsafeMutablePointer<Float>, _ shape: [Int]) -> ArrayView {
        ArrayView(pointer: UnsafeMutableRawPointer(pointer), element: .f32, shape: shape, isReadOnly: true)
    }

    /// The elements of an f32 array as a cotangent.
    var cotangent: UnsafePointer<Float> { UnsafePointer(pointer.assumingMemoryBound(to: Float.self)) }
}
