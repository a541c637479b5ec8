internal import CCrypto
internal import Collectives
internal import Data
internal import Formats
internal import Foundation
internal import Models
internal import PluginRuntime
internal import Tensors

/// Everything a run is made of, built and checked before anything is written.
struct RunParts {
    let folder: ModelFolder
    let model: VLAModel
    let prompts: PromptEncoder
    let parallel: Parallel
    let source: any BatchSource
    /// By data set; empty for questions.
    let statistics: [String: DatasetStatistics]
    /// What the user should know of the data.
    let dataNotes: [String]
    let evaluationData: EvaluationData
    let composition: Composition
    let step: TrainingStep
    let average: WeightAverage?
    /// SHA-256 of the model's backbone file; empty when the model is drawn afresh.
    let modelHash: String
    /// Backbone tensors that no file holds: drawn from the seed, written to the run for its anchors.
    private let fresh: [String]
    /// How the plugins differ from those the resumed run began with, in sentences.
    private(set) var pluginChanges: [String] = []
    /// What the resumed run trained on and trains on now, when these are not the same.
    private(set) var dataChange: String?
    /// What the user should know about the data streams.
    private(set) var streamNotes: [String]

    /// - Parameters:
    ///   - allowsPluginChanges: whether a run may be resumed with other plugins than it began with.
    ///   - dataBefore: what a checkpoint's data cursor is taken to be of that does not say.
    init(
        settings: RunSettings, resuming: (run: RunDirectory, checkpoint: CheckpointFolders.Checkpoint)?,
        allowsPluginChanges: Bool = false, dataBefore: RunSettings.DataChoice? = nil, ranks: any Collective = OneRank()
    ) throws {
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
                "--cameras names \(settings.cameras.count), but \(settings.model)/config.json is for "
                    + "\(folder.config.cameras)")
        }
        let adapter = settings.adapter ?? folder.adapterSettings
        let model = VLAModel(config: folder.config, fineTuning: adapter.map(FineTuning.lowRank) ?? .full)
        self.model = model
        modelHash = settings.startsFresh ? "" : try folder.backbone.map(FileHash.sha256) ?? ""
        var absent = settings.startsFresh ? model.parameters.parameters.map(\.name) : try folder.load(into: model)
        if !settings.startsFresh, folder.backbone == nil {
            throw TrainingError("\(settings.model)/model.safetensors: no such file; there are no weights to start from")
        }
        let drawn = Set(absent)
        model.initialise(
            seed: settings.seed, gate: Float(settings.gate ?? 0), proprioGain: Float(settings.proprioGain ?? 1),
            proprioBandwidth: Float(settings.proprioBandwidth ?? 1)
        ) { drawn.contains($0) }
        absent = absent.filter { !model.isHeadParameter($0) }
        fresh = absent

        let streams = try StreamData(settings, config: folder.config, prompts: prompts, share: share)
        let data = try Self.data(settings, config: folder.config, prompts: prompts, share: share)
        let sides = try settings.sideValues(composition)
        source = sides.isEmpty ? data.source : SideSource(data.source, sides)
        (evaluationData, dataNotes) = (data.evaluation, data.notes)
        statistics = data.statistics.merging(streams.statistics) { own, _ in own }
        try Self.check(folder.config, against: statistics, of: settings.model)

        var initial: SafetensorsFile?
        if let resuming {
            let path = resuming.run.initialPath
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
                    isResuming: resuming != nil && settings.startsFresh)
            })
        streamNotes = streams.notes(composition, streams: step.streams.streams)
        if let chosen = settings.average {
            average = WeightAverage(of: model, settings: chosen, parallel: parallel)
        } else {
            average = nil
        }
        if let resuming {
            let changes = try PluginChanges(of: composition, since: resuming.run)
            if !allowsPluginChanges { try changes.refuse(of: resuming.run) }
            let state = try restore(resuming.checkpoint, run: resuming.run, settings, statesOf: changes.kept)
            pluginChanges = changes.sentences
            let before = state.ranks ?? 1
            if before != ranks.size {
                streamNotes.append(
                    "other ranks (\(ranks.size), before \(before)): the same samples, added up in another order, so from here on "
                        + "results agree with those of \(before) but for rounding")
            }
            if let earlier = state.dataChoice ?? dataBefore, earlier != settings.dataChoice {
                dataChange = "\(settings.dataChoice), until step \(state.step) \(earlier)"
            } else {
                try source.restore(cursor: state.dataCursor)
            }
            try step.restoreStreams(state.streamCursors ?? [:])
        }
    }

    /// Writes what a run needs from its start: the plan and the tensors that were drawn for it.
    func writeStart(to run: RunDirectory) throws {
        try writePlan(to: run)
        let tensors = fresh.compactMap { name in
            model.parameters.id(of: name).map {
                SafetensorsWriter.Tensor(name, shape: model.parameters[$0].shape, pointer: model.parameters.values($0))
            }
        }
        if !tensors.isEmpty { try SafetensorsWriter.write(tensors, to: run.initialPath) }
        if !statistics.isEmpty { try DatasetStatistics.save(statistics, to: run.path + "/dataset_statistics.json") }
    }

    /// Records the plan of a run that goes on from `step` with other plugins; the one until then is kept beside it.
    func replacePlan(of run: RunDirectory, from step: Int) throws {
        for kind in ["json", "txt"] {
            guard let old = FileManager.default.contents(atPath: "\(run.path)/plan.\(kind)") else { continue }
            try AtomicFile.write([UInt8](old), to: "\(run.path)/plan-until-step-\(step).\(kind)")
        }
        try writePlan(to: run)
    }

    private func writePlan(to run: RunDirectory) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try AtomicFile.write([UInt8](try encoder.encode(composition.planJSON)) + [10], to: run.planPath)
        try AtomicFile.write(composition.planText + "\n", to: run.path + "/plan.txt")
    }

    /// All but the position in the data.
    ///
    /// - Parameter kept: the instances that go on with their saved state.
    private func restore(
        _ checkpoint: CheckpointFolders.Checkpoint, run: RunDirectory, _ settings: RunSettings,
        statesOf kept: Set<String>
    ) throws -> TrainerState {
        let state = try TrainerState.read(checkpoint.file("trainer_state.json"))
        guard state.modelHash == modelHash else {
            throw TrainingError(
                "\(folder.path)/model.safetensors has changed since the run began (SHA-256 \(modelHash.prefix(12))…, then "
                    + "\(state.modelHash.prefix(12))…); anchor features would differ, so the run cannot continue")
        }
        guard state.learningRateScales ?? [:] == settings.learningRateScales?.factors ?? [:] else {
            throw TrainingError(
                "\(run.configPath) has other learning rates by parameter group (learningRateScales) than "
                    + "\(checkpoint.path); put the old ones back or start a new run with --out")
        }
        guard state.average == settings.average else {
            throw TrainingError(
                "\(run.configPath) has another moving average of the weights than \(checkpoint.path) (--ema, --ema-warmup); put "
                    + "the old settings back or start a new run with --out")
        }
        let absent = try ModelFolder(path: checkpoint.path).load(into: model, needsBase: false).filter { name in
            // A low-rank run keeps its frozen base in the model folder, a question run has no head to keep.
            model.parameters.id(of: name).map { model.parameters[$0].isTrainable && !model.isHeadParameter(name) }
                ?? true
        }
        guard absent.isEmpty else {
            throw TrainingError("\(checkpoint.path): \(absent.count) tensors are missing, the first being \(absent[0])")
        }
        try MomentFile.read(checkpoint.file("optimizer.safetensors"), into: step.optimizer, of: model.parameters)
        step.releaseForeignMoments()
        step.optimizer.resume(updates: state.updates, uneven: state.parameterUpdates ?? [:])
        try average?.restore(from: checkpoint.averagePath)
        step.skippedSteps = state.skippedSteps
        let plugins = try PluginStates(of: checkpoint, format: state.format)
        try step.session.restore(
            HookSession.State(
                multipliers: state.multipliers, plugins: plugins.states, previousValues: plugins.previousValues,
                rateScales: state.pluginRateScales ?? [:]), of: kept)
        return state
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
                            + "episodes of --shots; the fewest are \(selection.short.values.min() ?? 0)"
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
                    "\(model) is made for \(config.actionDim) action and \(config.proprioDim) state numbers, the data set "
                        + "'\(name)' has \(data.summary); "
                        + (data.stateWidth == 0
                            ? "the data have no observation/state: give --no-proprio"
                            : "take a model with an action head of that size, or one without a head"))
            }
        }
    }
}

extension RunDirectory {
    /// Tensors drawn at the start of the run that its anchors need.
    var initialPath: String { path + "/initial.safetensors" }
}

/// SHA-256 of files.
enum FileHash {
    /// Of the one file, or of the hashes of several, one after the other.
    static func sha256(_ files: TensorFiles) throws -> String {
        let hashes = try files.files.map { try sha256($0.path) }
        return hashes.count == 1 ? hashes[0] : sha256(Data(hashes.joined().utf8))
    }

    private static func sha256(_ data: Data) -> String {
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var length: UInt32 = 0
        data.withUnsafeBytes { _ = EVP_Digest($0.baseAddress, $0.count, &digest, &length, EVP_sha256(), nil) }
        return hexadecimal(digest.prefix(Int(length)))
    }

    private static func hexadecimal(_ bytes: ArraySlice<UInt8>) -> String {
        bytes.map { byte in
            let text = String(byte, radix: 16)
            return text.count == 1 ? "0" + text : text
        }.joined()
    }

    static func sha256(_ path: String) throws -> String {
        guard let file = FileHandle(forReadingAtPath: path) else { throw TrainingError("\(path): cannot be read") }
        defer { try? file.close() }
        guard let context = EVP_MD_CTX_new() else { throw TrainingError("\(path): no memory to hash it") }
        defer { EVP_MD_CTX_free(context) }
        EVP_DigestInit_ex(context, EVP_sha256(), nil)
        while let chunk = try file.read(upToCount: 1 << 20), !chunk.isEmpty {
            chunk.withUnsafeBytes { _ = EVP_DigestUpdate(context, $0.baseAddress, $0.count) }
        }
        var digest = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var length: UInt32 = 0
        EVP_DigestFinal_ex(context, &digest, &length)
        return hexadecimal(digest.prefix(Int(length)))
    }
}
