package import Data
internal import Models
internal import PluginRuntime
internal import Tensors

/// Runs the data streams of a training step as the run's own batch is run: under the initial weights, whose results are kept
/// aside, and under the current ones, on the tape of the micro-batch behind the main forward pass.
final class StreamPasses {
    /// A micro-batch of a stream.
    struct Batch {
        let stream: DataStream
        var batch: TrainingBatch
    }

    let streams: [DataStream]
    private let model: VLAModel

    init(
        _ requests: [StreamRequest], from sources: StreamSources, model: VLAModel, composition: Composition,
        batchSize: Int
    ) throws {
        self.model = model
        var streams = try requests.map {
            try DataStream($0, from: sources, model: model, composition: composition, batchSize: batchSize)
        }
        if let name = sources.answers, BatchNames.answers.contains(where: { composition.reads($0, at: .preBackward) }) {
            streams.append(
                try DataStream(
                    answersOf: name, from: sources, model: model, composition: composition, batchSize: batchSize))
        }
        self.streams = streams
    }

    private var active: [DataStream] { streams.filter { $0.interval > 0 } }

    var readsAnchor: Bool { active.contains { $0.passes.readsAnchor } }

    var readsAnchorActions: Bool { active.contains { $0.passes.readsAnchorActions } }

    /// Takes back what the last step's batches gave: what is not due has no values in step `step`.
    func begin(step: Int, values: ValueStore) {
        for stream in streams where !stream.isDue(step) {
            for name in stream.absentNames where !values.isWithheld(name) { values.withhold(name) }
        }
    }

    /// The next micro-batch of each stream that is due.
    func batches(step: Int, micro: Int, _ noise: InputNoise) throws -> [Batch] {
        try streams.filter { $0.isDue(step) }.compactMap { stream in
            guard var batch = try stream.source?.next() else { return nil }
            noise.fillPolicyInput(
                of: &batch.input, count: model.policyInputCount, step: step, micro: micro, stream: stream.key)
            noise.dropProprioception(
                of: &batch.input, width: model.config.proprioDim, step: step, micro: micro, stream: stream.key)
            return Batch(stream: stream, batch: batch)
        }
    }

    /// A micro-batch of every stream that ever has one, to plan with.
    func samples() throws -> [Batch] {
        try active.compactMap { stream in
            try stream.source.map { Batch(stream: stream, batch: try $0.next()) }
        }
    }

    /// Runs what reads anchors under the initial weights. The tape is used for it and free again.
    func runAnchors(_ batches: [Batch], _ anchor: AnchorWeights, on tape: Tape) {
        for batch in batches { batch.stream.passes.runAnchor(anchor, on: batch.batch, tape: tape) }
    }

    /// Runs the batches under the current weights, recording, and gives hooks the results.
    ///
    /// - Returns: what cotangents may be put on, by name.
    func forward(_ batches: [Batch], values: ValueStore, on tape: Tape) -> [BatchPasses.Target] {
        batches.flatMap { batch in
            let passes = batch.stream.passes
            return passes.offer(passes.forward(batch.batch, on: tape), of: batch.batch, to: values, on: tape)
        }
    }

    // MARK: - Checkpoints

    /// Where each stream is in its data.
    var cursors: [String: DataCursor] {
        Dictionary(uniqueKeysWithValues: active.compactMap { stream in stream.source.map { (stream.key, $0.cursor) } })
    }

    /// Moves the streams that are due past micro-batches of a step that ends here.
    func pass(_ batches: Int, step: Int) throws {
        for stream in streams where stream.isDue(step) { try stream.source?.pass(batches) }
    }

    /// Continues where a checkpoint was; a stream that it does not know begins.
    func restore(_ cursors: [String: DataCursor]) throws {
        for stream in active { if let cursor = cursors[stream.key] { try stream.source?.restore(cursor: cursor) } }
    }
}

extension TrainingStep {
    /// Where each data stream is in its data, for a checkpoint.
    package var streamCursors: [String: DataCursor] { streams.cursors }

    /// Continues streams where a checkpoint was; one that it does not know begins.
    package func restoreStreams(_ cursors: [String: DataCursor]) throws { try streams.restore(cursors) }
}
