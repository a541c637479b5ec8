import Formats
import Foundation
import Models
import PluginRuntime
import Tensors
import TestSupport
import Testing
import Training

/// Losses and gradients of CoTraining, Replay and ActionAnchor against PyTorch (`scripts/reference/stream_reference.py`,
/// float64): current weights `model.safetensors`, initial ones `anchor.safetensors`.
@Suite struct StreamParityTests {
    private static let plugins =
        "CoTraining:stream=questions,each=CoTraining:stream=questions:reduction=answer:objective=each:weight=0,"
        + "Replay:stream=earlier,ActionAnchor:distance=mse"

    @Test(arguments: ["two-towers-qwen2-base", "two-towers-qwen2-pro-lora"])
    func agreesWithPyTorch(_ name: String) throws {
        let folder = try ModelFolder(path: BuildFolder.fixture("vla/\(name)").path)
        let expected = try SafetensorsFile(path: folder.path + "/stream.safetensors")
        let inputs = try SafetensorsFile(path: folder.path + "/inputs.safetensors")
        let model = VLAModel(
            config: folder.config, fineTuning: folder.adapterSettings.map { .lowRank($0) } ?? .full)
        #expect(try folder.load(into: model).isEmpty)
        let initial = try SafetensorsFile(path: folder.path + "/anchor.safetensors")
        let batches = try Self.batches(expected, inputs, cameras: folder.config.cameras)
        let step = try TrainingStep(
            model: model,
            composition: Composition(
                try PluginRequest.parseList(Self.plugins), search: PluginSearch(paths: [BuildFolder.url.path]),
                registry: .training),
            settings: StepSettings(), optimizer: AdamWSettings(),
            schedule: LearningRateSchedule(base: 0, totalSteps: 1), parallel: Parallel(threads: 2),
            batchSize: batches.main.input.prompts.count, steps: 1,
            streams: StreamSources(kinds: ["questions": .questions, "earlier": .demonstrations]) { name, _, _ in
                OneBatch(name == "questions" ? batches.questions : batches.earlier)
            },
            makeAnchor: { try AnchorWeights(model: model, source: .copy, folder: folder, initial: initial) })
        let metrics = try step.run(step: 0, from: OneBatch(batches.main)).metrics
        for (objective, key) in [
            ("cotraining", "cotraining"), ("each", "cotraining.answer"), ("replay", "replay"),
            ("action_anchor", "action_anchor"),
        ] {
            let want = Double(try expected.floats("loss.\(key)")[0])
            #expect(abs((metrics["loss.\(objective)"] ?? .nan) / want - 1) < 1e-4, "\(key)")
        }
        for (value, key) in [("stream.questions.text_logits", "text_logits"), ("anchor_actions", "anchor_actions")] {
            let view = try #require(step.session.values.array(value))
            #expect(ParityTests.error(Array(view.floats), try expected.floats(key)) < 1e-4, "\(key)")
        }
        for objective in ["cotraining", "replay", "action_anchor"] {
            try ParityTests.compareGradients(of: objective, in: step, model, expected)
        }
    }

    private static func batches(
        _ expected: SafetensorsFile, _ inputs: SafetensorsFile, cameras: Int
    ) throws -> (main: TrainingBatch, questions: TrainingBatch, earlier: TrainingBatch) {
        func lists(_ file: SafetensorsFile, _ name: String, _ isToken: (Int, Int) throws -> Bool) throws -> [[Int32]] {
            let width = try file.requiredEntry(name).shape[1]
            let ids = try file.integers(name)
            return try stride(from: 0, to: ids.count, by: width).map { row in
                try (row..<row + width).filter { try isToken(Int(ids[$0]), $0) }.map { Int32(ids[$0]) }
            }
        }
        let mask = try inputs.integers("attention_mask")
        let prompts = try lists(inputs, "input_ids") { _, place in mask[place] == 1 }
        let questions = try lists(expected, "questions") { id, _ in id >= 0 }
        let answers = try lists(expected, "answers") { id, _ in id >= 0 }
        /// Values of a tensor with its samples in the other order.
        func turned(_ name: String) throws -> [Float] {
            let values = try inputs.floats(name)
            let size = values.count / prompts.count
            return prompts.indices.reversed().flatMap { values[$0 * size..<($0 + 1) * size] }
        }
        func demonstrations(_ read: (String) throws -> [Float]) throws -> TrainingBatch {
            TrainingBatch(
                input: ModelInput(
                    images: .normalised(try read("pixel_values")), cameras: cameras, prompts: prompts,
                    action: .init(proprio: try read("proprio"), policyInput: [])),
                targetActions: try read("actions"))
        }
        return (
            try demonstrations { try inputs.floats($0) },
            TrainingBatch(
                input: ModelInput(
                    images: .normalised(try inputs.floats("pixel_values")), cameras: cameras,
                    prompts: zip(questions, answers).map { $0 + $1.dropLast() }, answerLengths: answers.map(\.count)),
                answerIDs: answers.flatMap { $0.map(Int64.init) }),
            try demonstrations(turned)
        )
    }
}

/// The same batch every time.
final class OneBatch: BatchSource {
    let batch: TrainingBatch
    init(_ batch: TrainingBatch) { self.batch = batch }
    func next() throws -> TrainingBatch { batch }
}
