internal import Collectives
internal import Data
internal import Formats
internal import Foundation
internal import Models
internal import PluginRuntime
internal import Tensors

/// Everything a run is made of, built and checked before anything is written, as it is before the first step.
struct RunParts {
    let folder: ModelFolder
    let model: VLAModel
    let prompts: PromptEncoder
    let parallel: Parallel
    let source: any BatchSource
    /// By data set; empty for questions.
    let statistics: [String: DatasetStatistics]
    let evaluationData: EvaluationData
    let composition: Composition
    let step: TrainingStep
    let average: WeightAverage?
    /// SHA-256 of the model's backbone file; empty when the model is drawn afresh.
    let modelHash: String
    /// Backbone tensors that no file holds: drawn from the seed, written to the run for its anchors.
    let drawn: [String]
    /// What the user should know of data and streams.
    let notes: [String]

    /// - Parameter run: where the tensors that the run began with are, when one is resumed; its state is ``ResumedState``'s.
    init(settings: RunSettings, resuming run: RunDirectory?, ranks: any Collective = OneRank()) throws {
        try settings.check(on: ranks)
        let micros = StepRanks.share(of: ranks, accumulation: settings.accumulation)
        let share = BatchShare(own: micros, total: settings.accumulation)
        let search = PluginSearch(paths: settings.pluginPath)
        composition = try Composition(settings.plugins, search: search, registry: .training)
        folder = try ModelFolder(path: settings.model, choices: settings.modelChoices)
        try settings.checkPolicy(of: folder)
        try MemoryFloor(settings, folder).check()
        parallel = Parallel(
            threads: settings.threads, products: settings.matmulPrecision == .bf16 ? try BFloat16Products() : nil)
        prompts = try PromptEncoder(folder: folder)
        guard settings.cameras.count == folder.config.cameras || settings.task == .questions else {
            throw TrainingError(
                .mismatch,
                "`cameras` names \(settings.cameras.count), but \(settings.model)/config.json is for "
                    + "\(folder.config.cameras)")
        }
        let adapter = settings.adapter ?? folder.adapterSettings
        let model = VLAModel(config: folder.config, fineTuning: adapter.map(FineTuning.lowRank) ?? .full)
        self.model = model
        modelHash = settings.startsFresh ? "" : try folder.backbone.map(SHA256.digest(of:)) ?? ""
        let absent = settings.startsFresh ? model.parameters.parameters.map(\.name) : try folder.load(into: model)
        if !settings.startsFresh, folder.backbone == nil {
            throw TrainingError(
                .missing, "\(settings.model)/model.safetensors: no such file; there are no weights to start from")
        }
        let isAbsent = Set(absent)
        model.initialise(
            seed: settings.seed, gate: Float(settings.gate ?? RunSettings.defaultGate),
            proprioGain: Float(settings.proprioGain ?? RunSettings.defaultProprioFactor),
            proprioBandwidth: Float(settings.proprioBandwidth ?? RunSettings.defaultProprioFactor)
        ) { isAbsent.contains($0) }
        drawn = absent.filter { !model.isHeadParameter($0) }

        let streams = try StreamData(settings, config: folder.config, prompts: prompts, share: share)
        let data = try Self.data(settings, config: folder.config, prompts: prompts, share: share)
        let sides = try settings.sideValues(composition)
        source = sides.isEmpty ? data.source : SideSource(data.source, sides)
        evaluationData = data.evaluation
        statistics = data.statistics.merging(streams.statistics) { own, _ in own }
        try Self.check(folder.config, against: statistics, of: settings.model)

        var initial: SafetensorsFile?
        if let path = run?.initialPath {
            initial = FileManager.default.fileExists(atPath: path) ? try SafetensorsFile(path: path) : nil
        }
        let choice = AnchorWeights.Source(
            settings.anchor, adapter: settings.adapter, trained: folder.adapterSettings != nil)
        let (folderForAnchor, model0, prompts) = (settings.startsFresh ? nil : folder, model, prompts)
        step = try TrainingStep(
            model: model, composition: composition,
            settings: StepSettings(settings), optimizer: settings.optimizer,
            schedule: LearningRateSchedule(
                kind: settings.schedule, base: settings.learningRate, warmupSteps: settings.warmupSteps,
                decayStep: settings.decayStep, totalSteps: settings.steps),
            parallel: parallel, batchSize: settings.batchSize, steps: settings.steps,
            absent: settings.absentValues(composition), streams: streams.sources, ranks: ranks,
            encodePrompt: prompts.encode,
            makeAnchor: {
                try AnchorWeights(
                    model: model0, source: choice, folder: folderForAnchor, initial: initial,
                    isResuming: run != nil && settings.startsFresh)
            })
        notes = streams.notes(composition, streams: step.streams.streams) + data.notes.map { "note: \($0)" }
        if let chosen = settings.average {
            average = WeightAverage(of: model, settings: chosen, parallel: parallel)
        } else {
            average = nil
        }
    }

    private static func data(
        _ settings: RunSettings, config: ModelConfig, prompts: PromptEncoder, share: BatchShare
    ) throws -> (
        source: any BatchSource, statistics: [String: DatasetStatistics], evaluation: EvaluationData, notes: [String]
    ) {
        switch settings.task {
        case .questions:
            let dataset = try VQADataset(path: settings.data, split: "train")
            let sampler = try VQASampler(
                dataset, batchSize: settings.batchSize, imageSize: config.imageSize, seed: settings.seed,
                augment: settings.augments, share: share)
            let evaluation = try EvaluationData(settings, config: config, demonstrations: nil)
            return (QuestionSource(sampler, prompts: prompts), [:], evaluation, [])
        case .demonstrations:
            let parts = try DemonstrationParts.open(settings)
            let sampler = try DemonstrationSampler(parts, settings, config: config)
            let evaluation = try EvaluationData(settings, config: config, demonstrations: sampler)
            let reader = try DemonstrationReader(
                sampler, depth: settings.readAhead ?? RunSettings.defaultReadAhead, share: share)
            let statistics = Dictionary(uniqueKeysWithValues: parts.map { ($0.dataset.name, $0.statistics) })
            let notes = zip(parts, sampler.selections).flatMap { part, selection in
                selection.short.isEmpty
                    ? []
                    : [
                        "\(part.dataset.name): \(selection.short.count) of its instructions have fewer than the \(settings.shots ?? 0) "
                            + "episodes of `shots`; the fewest are \(selection.short.values.min() ?? 0)"
                    ]
            }
            return (DemonstrationSource(reader, prompts: prompts), statistics, evaluation, notes)
        }
    }
}

extension RunParts {
    /// Compares the sizes of actions and states that the model is made for with the data's.
    static func check(_ config: ModelConfig, against statistics: [String: DatasetStatistics], of model: String) throws {
        for (name, found) in statistics.sorted(by: { $0.key < $1.key }) {
            let data = found.embodiment
            guard config.actionDim == data.actionWidth, config.proprioDim == data.stateWidth || !config.usesProprio
            else {
                throw TrainingError(
                    .mismatch,
                    "\(model) is made for \(config.actionDim) action and \(config.proprioDim) state numbers, the data set "
                        + "'\(name)' has \(data.summary); "
                        + (data.stateWidth == 0
                            ? "the data have no state, which is right where `usesProprio` is false"
                            : "take a model with an action head of that size, or one without a head"))
            }
        }
    }
}
