internal import Data
internal import Formats
internal import Foundation
internal import Models
internal import PluginRuntime
internal import Tensors

/// The memory a run will take, found by running its passes without arithmetic.
///
/// Sizes in bytes of what will be resident at the peak, the weights that are read in place from their files included.
package struct MemoryPlan: Sendable {
    /// Values of all parameters, and of them those that are trained, in float32.
    package var parameters = 0
    package var trainable = 0
    /// One accumulator per objective, where it reaches.
    package var gradients = 0
    /// Two moments per trained value that some objective reaches.
    package var moments = 0
    /// The moving average of the trained values.
    package var average = 0
    /// Values and cotangents of a training micro-batch.
    package var activations = 0
    /// Initial values of trained tensors that anchor features need.
    package var anchors = 0
    /// Batches that measure the model, and the values of running them.
    package var evaluation = 0
    /// The program itself.
    package var program = 0
    /// A matrix of all objectives' gradients and the combined one, where a plugin asks for coordinates.
    package var fullGradients = 0
    /// What the plugins ask for, one by one; its memory is part of the sizes above.
    package var requests: [RequestCost] = []
    /// Who the blocks are that gradients are combined in, in words; empty when no plugin combines any.
    package var blocks: [String] = []
    /// Learning rates by parameter group, in words; empty when all are alike.
    package var learningRates: [String] = []
    /// Floating-point operations of a step's forward passes.
    package var forwardFlops = 0.0

    package var total: Int {
        parameters + gradients + fullGradients + moments + average + activations + anchors + evaluation + program
    }

    /// - `composition`: the plugin list of `settings`.
    init(settings: RunSettings, composition: Composition) throws {
        let folder = try ModelFolder(path: settings.model, choices: settings.modelChoices)
        try settings.checkPolicy(of: folder)
        let adapter = settings.adapter ?? folder.adapterSettings
        let model = VLAModel(config: folder.config, fineTuning: adapter.map(FineTuning.lowRank) ?? .full)
        let idle = Parallel(threads: settings.threads, executes: false)
        let prompts = PromptLengths(folder, settings)
        let source = AnchorWeights.Source(
            settings.anchor, adapter: settings.adapter, trained: folder.adapterSettings != nil)
        let step = try TrainingStep(
            model: model, composition: composition, settings: StepSettings(settings), optimizer: settings.optimizer,
            schedule: LearningRateSchedule(
                kind: .constant, base: settings.learningRate, warmupSteps: 0, decayStep: 0, totalSteps: settings.steps),
            parallel: idle, batchSize: settings.batchSize, steps: settings.steps,
            absent: settings.absentValues(composition),
            streams: StreamSources(settings) { name, _, count in
                BlankBatches(settings, stream: name, count: count, folder.config, prompts)
            },
            encodePrompt: PromptEncoder.encoding(folder: folder),
            makeAnchor: { AnchorWeights(unread: model, source: source, folder: folder) })

        for parameter in model.parameters.parameters {
            parameters += 4 * parameter.count
            if parameter.isTrainable {
                trainable += 4 * parameter.count
            } else if parameter.allowsHalf, let (file, name) = folder.location(of: parameter.name),
                let dtype = file.entry(name)?.dtype, dtype == .bf16 || dtype == .f16
            {
                parameters -= 2 * parameter.count
            }
        }
        let run = try step.dryRun(
            Self.input(
                folder.config, count: settings.batchSize,
                prompt: settings.task == .questions ? prompts.question : prompts.action, task: settings.task,
                cameras: settings.cameras.count))
        let (counts, reached) = (run.parameterCounts, run.reached)
        for objective in reached.indices { gradients += run.reachedBytes(objective) }
        requests = step.requestCosts(run)
        blocks = step.blockLines()
        learningRates = step.learningRateLines(base: settings.learningRate)
        fullGradients = requests.reduce(0) { $0 + (["grads", "combined"].contains($1.name) ? $1.bytes : 0) }
        forwardFlops = run.forwardFlops * Double(settings.accumulation)
        moments = counts.indices.reduce(0) { total, id in
            total + (reached.contains { $0[id] } ? 8 * counts[id] : 0)
        }
        average = settings.average == nil ? 0 : trainable
        activations = step.activationBytes
        let kept = run.probes.map(\.anchorCount) + run.streams.map(\.anchorCount)
        anchors = step.anchorBytes + 4 * kept.reduce(0, +)
        try addEvaluation(settings, model: model, prompts: prompts, parallel: idle)
        program = ProcessMemory.peakBytes
    }

    private mutating func addEvaluation(
        _ settings: RunSettings, model: VLAModel, prompts: PromptLengths, parallel: Parallel
    ) throws {
        let config = model.config
        let imageBytes = config.imageSize * config.imageSize * 3
        var inputs: [ModelInput] = []
        if settings.task == .demonstrations, settings.holdOutEvery > 0 {
            evaluation += EvaluationData.maximumDemonstrations * settings.cameras.count * imageBytes
            inputs.append(
                Self.input(
                    config, count: settings.batchSize, prompt: prompts.action, task: .demonstrations,
                    cameras: settings.cameras.count))
        }
        if !settings.questions.isEmpty {
            inputs.append(
                Self.input(
                    config, count: EvaluationData.questionsPerBatch(imageSize: config.imageSize),
                    prompt: prompts.question, task: .questions, cameras: 1))
        }
        var largest = 0
        for input in inputs {
            let tape = Tape(parameters: model.parameters, parallel: parallel)
            tape.reset(weights: model.parameters.currentWeights(), recording: false)
            _ = model.forward(input, on: tape)
            largest = max(largest, tape.bytes)
        }
        // Measures run on the training step's tape.
        evaluation += max(0, largest - activations)
    }

    /// A batch of blank images.
    fileprivate static func input(
        _ config: ModelConfig, count: Int, prompt: Int, task: RunSettings.Task, cameras: Int
    ) -> ModelInput {
        let isAction = task == .demonstrations
        let images = isAction ? cameras : 1
        return ModelInput(
            images: .rgb([UInt8](repeating: 0, count: count * images * config.imageSize * config.imageSize * 3)),
            cameras: images, prompts: Array(repeating: Array(repeating: 0, count: prompt), count: count),
            action: isAction ? .init(proprio: Array(repeating: 0, count: count * config.proprioDim)) : nil,
            wantsAnswer: !isAction)
    }

    /// Lines for the terminal.
    package func lines(model: String, objectives: Int, checkpoints: Bool) -> [String] {
        func line(_ name: String, _ bytes: Int, _ note: String = "") -> String {
            let size = String(format: "%.1f MiB", Double(bytes) / Double(1 << 20))
            return "  " + name.padding(toLength: 13, withPad: " ", startingAt: 0)
                + String(repeating: " ", count: max(0, 12 - size.count)) + size + (note.isEmpty ? "" : "  " + note)
        }
        return [
            "Memory for \(model)",
            line(
                "parameters", parameters,
                String(format: "of them trainable %.1f MiB", Double(trainable) / Double(1 << 20))),
            line(
                "gradients", gradients,
                "an accumulator for each of \(objectives) objective\(objectives == 1 ? "" : "s"), where it reaches"),
        ]
            + (fullGradients == 0
                ? [] : [line("coordinates", fullGradients, "gradients in full, which a plugin asks for")]) + [
                line("moments", moments)
            ]
            + (average == 0 ? [] : [line("average", average, "of the weights (`average`)")]) + [
                line(
                    "activations", activations,
                    checkpoints ? "blocks run again in the backward pass" : "`checkpointsActivations` takes less"),
                line("anchors", anchors),
                line("evaluation", evaluation),
                line("program", program),
                line("peak", total),
            ]
    }
}

/// Batches of a data stream in shape alone, to plan with.
private final class BlankBatches: BatchSource {
    private let batch: TrainingBatch

    init(_ settings: RunSettings, stream name: String, count: Int, _ config: ModelConfig, _ prompts: PromptLengths) {
        let isQuestions = settings.streams?.first { $0.name == name }?.kind == .questions
        batch = TrainingBatch(
            input: MemoryPlan.input(
                config, count: count, prompt: isQuestions ? prompts.question : prompts.action,
                task: isQuestions ? .questions : .demonstrations, cameras: settings.cameras.count),
            targetActions: isQuestions ? [] : Array(repeating: 0, count: count * config.chunk * config.actionDim),
            answerIDs: isQuestions ? Array(repeating: 0, count: count) : [])
    }

    func next() throws -> TrainingBatch { batch }
}

/// Tokens of the longest prompts.
private struct PromptLengths {
    /// The released chat prompt with a long instruction, when there is no tokeniser to ask.
    var action = 64
    var question = 40

    /// Of the data's own texts where they can be read, else of ordinary ones.
    init(_ folder: ModelFolder, _ settings: RunSettings) {
        guard let encoder = try? PromptEncoder(folder: folder) else { return }
        let ordinary = "pick up the black bowl next to the cookie box and place it on the plate"
        action = Self.instructions(settings).map { encoder.action($0).count }.max() ?? encoder.action(ordinary).count
        question = encoder.question("What color is the shape in the image?").count
    }

    private static func instructions(_ settings: RunSettings) -> Set<String> {
        guard settings.task == .demonstrations, let request = try? MixtureRequest(settings.dataset) else { return [] }
        let names = request.entries.isEmpty ? [nil] : request.entries.map { Optional($0.name) }
        return names.reduce(into: []) { texts, name in
            texts.formUnion((try? Demonstrations.instructions(root: settings.data, name: name)) ?? [])
        }
    }
}
