internal import Models
internal import PluginRuntime
internal import Tensors

/// The forward passes of a micro-batch and what hooks see of them: features under the initial and the current weights,
/// actions, answers.
final class BatchPasses {
    /// A value that cotangents may be put on.
    typealias Target = (name: ValueName, tensor: Tensor)

    let taps: [FeatureTap]
    private let model: VLAModel
    private let names: BatchNames
    private var kept = KeptResults()
    private let textIDs = SessionArray<Int64>(.i64)
    private let textRows = SessionArray<Int64>(.i64)
    private let sampleIDs = SessionArray<Int64>(.i64)
    private let taskIDs = SessionArray<Int64>(.i64)
    private let sides: [SessionArray<Float>]

    init(
        _ taps: [FeatureTap], prefix: String = "", part: BatchNames.Part = .everything, model: VLAModel,
        composition: Composition
    ) {
        self.taps = taps
        self.model = model
        names = BatchNames(prefix, part: part, taps: taps, composition)
        sides = names.sides.map { _ in SessionArray(.f32) }
    }

    /// Whether some hook reads what the initial weights make of the batch.
    var readsAnchor: Bool {
        names.readsAnchorFeatures || names.anchorActions.isRead || names.anchorTextLogits.isRead
    }

    /// Whether some hook reads what the initial action head makes of it.
    var readsAnchorActions: Bool { names.anchorActions.isRead }

    /// Values that are kept of the initial weights' results.
    var keptCount: Int { kept.count }

    /// Where a result under the initial weights is kept: features by tap, then these two.
    private var actionSlot: Int { taps.count }
    private var textSlot: Int { taps.count + 1 }

    /// The batch's results under the initial weights, kept apart from the tape, which the main forward pass reuses.
    func runAnchor(_ anchor: AnchorWeights, on batch: TrainingBatch, tape: Tape) {
        guard readsAnchor else { return }
        var input = batch.input
        input.action?.runsPolicy = names.anchorActions.isRead
        input.wantsAnswer = !batch.answerIDs.isEmpty && names.anchorTextLogits.isRead
        tape.reset(weights: anchor.table, recording: false)
        let output = model.forward(input, taps: taps, usesAdapters: anchor.usesAdapters, on: tape)
        for (slot, feature) in output.features.enumerated() { kept.keep(feature.tensor, slot: slot) }
        if let actions = output.predictedActions { kept.keep(actions, slot: actionSlot) }
        if let logits = output.answerLogits { kept.keep(logits, slot: textSlot) }
    }

    /// The forward pass under the current weights, on a tape that has been reset.
    func forward(_ batch: TrainingBatch, on tape: Tape) -> ModelOutput {
        var input = batch.input
        input.action?.runsPolicy = names.predictedActions.isRead
        input.wantsAnswer = !batch.answerIDs.isEmpty && names.readsLogits
        return model.forward(input, taps: taps, on: tape)
    }

    /// Gives hooks what the passes made.
    ///
    /// - Returns: what cotangents may be put on.
    func offer(_ output: ModelOutput, of batch: TrainingBatch, to values: ValueStore, on tape: Tape) -> [Target] {
        let count = batch.input.prompts.count
        var targets: [Target] = []
        for (slot, name) in names.taps.enumerated() {
            let feature = output.features[slot]
            let shape = [count, feature.tokens, feature.tensor.columns]
            values.set(name.feature, .floats(feature.tensor.values, shape))
            values.set(name.mask, .floats(feature.mask.values, [count, feature.tokens]))
            if names.readsAnchorFeatures { values.set(name.anchor, .floats(kept[slot], shape)) }
            targets.append((name.feature, feature.tensor))
        }
        offerSamples(batch, to: values)
        if batch.input.action != nil { targets += offerActions(output, of: batch, to: values, on: tape) }
        if !batch.answerIDs.isEmpty { targets += offerAnswers(output, of: batch, to: values) }
        return targets
    }

    private func offerSamples(_ batch: TrainingBatch, to values: ValueStore) {
        let count = batch.input.prompts.count
        if names.sampleID.isRead, !batch.samples.isEmpty {
            values.set(names.sampleID.name, sampleIDs.view(of: batch.samples, [count]))
        }
        if names.taskID.isRead, !batch.tasks.isEmpty {
            values.set(names.taskID.name, taskIDs.view(of: batch.tasks, [count]))
        }
        for (index, (side, name)) in names.sides.enumerated() {
            guard let rows = batch.sides[side] else { continue }
            values.set(name, sides[index].view(of: rows.values, [count, rows.width]))
        }
    }

    private func offerActions(
        _ output: ModelOutput, of batch: TrainingBatch, to values: ValueStore, on tape: Tape
    ) -> [Target] {
        let shape = [batch.input.prompts.count, model.config.chunk, model.config.actionDim]
        if names.targetActions.isRead {
            let target = tape.constant(rows: shape[0] * shape[1], columns: shape[2])
            precondition(batch.targetActions.count == target.count, "a batch with actions has a target for each")
            target.values.update(from: batch.targetActions, count: target.count)
            values.set(names.targetActions.name, .floats(target.values, shape))
        }
        if names.anchorActions.isRead { values.set(names.anchorActions.name, .floats(kept[actionSlot], shape)) }
        guard let predicted = output.predictedActions else { return [] }
        values.set(names.predictedActions.name, .floats(predicted.values, shape))
        return [(names.predictedActions.name, predicted)]
    }

    private func offerAnswers(_ output: ModelOutput, of batch: TrainingBatch, to values: ValueStore) -> [Target] {
        let count = batch.answerIDs.count
        if names.textIDs.isRead || names.answerIDs.isRead {
            let view = textIDs.view(of: batch.answerIDs, [count])
            values.set(names.textIDs.name, view)
            values.set(names.answerIDs.name, view)
        }
        if names.textRow.isRead { values.set(names.textRow.name, textRows.view(of: batch.answerRows, [count])) }
        let shape = [count, model.config.decoder.vocabularySize]
        if names.anchorTextLogits.isRead { values.set(names.anchorTextLogits.name, .floats(kept[textSlot], shape)) }
        guard let logits = output.answerLogits else { return [] }
        for name in [names.answerLogits.name, names.textLogits.name] {
            values.set(name, .floats(logits.values, shape))
        }
        return [(names.answerLogits.name, logits), (names.textLogits.name, logits)]
    }
}

/// Results that outlast the tape they were computed on, by slot.
struct KeptResults {
    private var buffers: [Int: FloatBuffer] = [:]

    mutating func keep(_ tensor: Tensor, slot: Int) {
        let buffer: FloatBuffer
        if let known = buffers[slot], known.count >= tensor.count {
            buffer = known
        } else {
            buffer = FloatBuffer(count: tensor.count)
            buffers[slot] = buffer
        }
        buffer.base.update(from: tensor.values, count: tensor.count)
    }

    /// Values in all slots.
    var count: Int { buffers.values.reduce(0) { $0 + $1.count } }

    /// A slot that something was kept in.
    subscript(slot: Int) -> UnsafeMutablePointer<Float> {
        guard let buffer = buffers[slot] else { preconditionFailure("nothing is kept in slot \(slot)") }
        return buffer.base
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
