internal import CCrypto
internal import Data
internal import Foundation
internal import Models
internal import PluginRuntime
internal import Tensors

/// Batches that measure a model, the same at every evaluation.
struct EvaluationData {
    /// Held-out samples that are kept.
    static let maximumDemonstrations = 256

    /// Questions asked at a time: as many pixels as 16 small images have.
    static func questionsPerBatch(imageSize: Int) -> Int {
        max(1, min(16, 16 * 64 * 64 / max(1, imageSize * imageSize)))
    }

    var demonstrations: [DemonstrationBatch] = []
    var questions: VQABatches?
}

/// Everything a run is made of, built and checked before anything is written.
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
    /// SHA-256 of the model's backbone file; empty when the model is drawn afresh.
    let modelHash: String
    /// Backbone tensors that no file holds: drawn from the seed, written to the run for its anchors.
    private let fresh: [String]

    init(settings: RunSettings, resuming: (run: RunDirectory, checkpoint: CheckpointFolders.Checkpoint)?) throws {
        let search = PluginSearch(paths: settings.pluginPath)
        composition = try Composition(settings.plugins, search: search, registry: .training)
        var choices = ModelFolder.Choices()
        choices.cameras = settings.cameras.count
        choices.proPolicy = settings.proPolicy
        folder = try ModelFolder(path: settings.model, choices: choices)
        if let proPolicy = settings.proPolicy, proPolicy != folder.config.policy.pro {
            let (wanted, found) = folder.config.policy.pro ? ("base", "Pro") : ("pro", "base")
            throw TrainingError(
                "--policy is \(wanted), but the action head of \(settings.model) is the \(found) one, by its config.json or "
                    + "its action_head file; leave --policy out or start from another model")
        }
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
        model.initialise(seed: settings.seed) { drawn.contains($0) }
        absent = absent.filter { !model.isHeadParameter($0) }
        fresh = absent

        (source, statistics, evaluationData) = try Self.data(settings, config: folder.config, prompts: prompts)

        var initial: SafetensorsFile?
        if let resuming {
            let path = resuming.run.initialPath
            initial = FileManager.default.fileExists(atPath: path) ? try SafetensorsFile(path: path) : nil
        }
        let choice = AnchorWeights.Source(
            settings.anchor, adapter: settings.adapter, trained: folder.adapterSettings != nil)
        let (folderForAnchor, model0) = (settings.startsFresh ? nil : folder, model)
        step = try TrainingStep(
            model: model, composition: composition,
            settings: StepSettings(settings), optimizer: settings.optimizer,
            schedule: LearningRateSchedule(
                kind: settings.schedule, base: settings.learningRate, warmupSteps: settings.warmupSteps,
                decayStep: settings.decayStep, totalSteps: settings.steps),
            parallel: parallel, batchSize: settings.batchSize, steps: settings.steps,
            makeAnchor: {
                try AnchorWeights(
                    model: model0, source: choice, folder: folderForAnchor, initial: initial,
                    isResuming: resuming != nil && settings.startsFresh)
            })
        if let resuming { try restore(resuming.checkpoint, run: resuming.run) }
    }

    /// Writes what a run needs from its start: the plan and the tensors that were drawn for it.
    func writeStart(to run: RunDirectory) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        try AtomicFile.write([UInt8](try encoder.encode(composition.planJSON)) + [10], to: run.planPath)
        try AtomicFile.write(composition.planText + "\n", to: run.path + "/plan.txt")
        let tensors = fresh.compactMap { name in
            model.parameters.id(of: name).map {
                SafetensorsWriter.Tensor(name, shape: model.parameters[$0].shape, pointer: model.parameters.values($0))
            }
        }
        if !tensors.isEmpty { try SafetensorsWriter.write(tensors, to: run.initialPath) }
        if !statistics.isEmpty { try DatasetStatistics.save(statistics, to: run.path + "/dataset_statistics.json") }
    }

    private func restore(_ checkpoint: CheckpointFolders.Checkpoint, run: RunDirectory) throws {
        let state = try TrainerState.read(checkpoint.file("trainer_state.json"))
        guard state.modelHash == modelHash else {
            throw TrainingError(
                "\(folder.path)/model.safetensors has changed since the run began (SHA-256 \(modelHash.prefix(12))…, then "
                    + "\(state.modelHash.prefix(12))…); anchor features would differ, so the run cannot continue")
        }
        try comparePlugins(run)
        let absent = try ModelFolder(path: checkpoint.path).load(into: model).filter { name in
            // A low-rank run keeps its frozen base in the model folder, a question run has no head to keep.
            model.parameters.id(of: name).map { model.parameters[$0].isTrainable && !model.isHeadParameter(name) }
                ?? true
        }
        guard absent.isEmpty else {
            throw TrainingError("\(checkpoint.path): \(absent.count) tensors are missing, the first being \(absent[0])")
        }
        try MomentFile.read(checkpoint.file("optimizer.safetensors"), into: step.optimizer, of: model.parameters)
        step.optimizer.updates = state.updates
        step.skippedSteps = state.skippedSteps
        step.multipliers = state.multipliers
        try composition.loadState(state.plugins)
        try step.values.loadPrevious(state.previousValues)
        try source.restore(cursor: state.dataCursor)
    }

    /// A run continues with the plugins it began with, to the byte.
    private func comparePlugins(_ run: RunDirectory) throws {
        guard let data = FileManager.default.contents(atPath: run.planPath),
            let plan = try? JSONDecoder().decode(RecordedPlan.self, from: data)
        else { throw TrainingError("\(run.planPath): not the plan of a run") }
        let now = composition.plugins.map { RecordedPlan.Plugin(instance: $0.instance, sha256: $0.sha256) }
        guard plan.plugins.map(\.instance) == now.map(\.instance) else {
            throw TrainingError(
                "\(run.path) began with the plugins \(plan.plugins.map(\.instance).joined(separator: ",")), not "
                    + "\(now.map(\.instance).joined(separator: ",")); start a new run with --out")
        }
        let changed = zip(plan.plugins, now).filter { $0.sha256 != $1.sha256 }.map(\.1.instance)
        guard changed.isEmpty else {
            throw TrainingError(
                "the plugin file\(changed.count == 1 ? "" : "s") of \(changed.joined(separator: ", ")) changed since "
                    + "\(run.path) began; put the old one back or start a new run with --out")
        }
    }

    private static func data(
        _ settings: RunSettings, config: ModelConfig, prompts: PromptEncoder
    ) throws -> (any BatchSource, [String: DatasetStatistics], EvaluationData) {
        var evaluation = EvaluationData()
        if !settings.questions.isEmpty {
            let questions = try VQADataset(path: settings.questions, split: "test")
            let batches = try questions.batches(
                batchSize: EvaluationData.questionsPerBatch(imageSize: config.imageSize), imageSize: config.imageSize,
                maximumQuestions: settings.questionLimit)
            try batches.check()
            evaluation.questions = batches
        }
        switch settings.task {
        case .questions:
            let dataset = try VQADataset(path: settings.data, split: "train")
            let sampler = try VQASampler(
                dataset, batchSize: settings.batchSize, imageSize: config.imageSize, seed: settings.seed,
                augment: settings.augments)
            return (QuestionSource(sampler, prompts: prompts), [:], evaluation)
        case .demonstrations:
            let parts = try DemonstrationParts.open(settings)
            let sampler = try DemonstrationSampler(
                parts,
                options: SamplingOptions(
                    batchSize: settings.batchSize, imageSize: config.imageSize, cameras: settings.cameras,
                    augment: settings.augments, seed: settings.seed, chunk: config.chunk,
                    holdOutEvery: settings.holdOutEvery, shots: settings.shots, shotsSeed: settings.shotsSeed,
                    threads: settings.threads))
            if settings.holdOutEvery > 0 {
                evaluation.demonstrations = try sampler.heldOutBatches(
                    maximumSamples: EvaluationData.maximumDemonstrations)
            }
            let reader = try DemonstrationReader(
                sampler, depth: settings.readAhead ?? RunSettings.defaultReadAhead)
            let statistics = Dictionary(uniqueKeysWithValues: parts.map { ($0.dataset.name, $0.statistics) })
            return (DemonstrationSource(reader, prompts: prompts), statistics, evaluation)
        }
    }

    private struct RecordedPlan: Decodable {
        struct Plugin: Decodable {
            var instance: String
            var sha256: String
        }
        var plugins: [Plugin]
    }
}

extension StepSettings {
    init(_ settings: RunSettings) {
        self.init()
        accumulation = settings.accumulation
        clipNorm = settings.clipNorm
        skipsNonFinite = settings.skipsNonFinite
        checkpointsActivations = settings.checkpointsActivations
        anchorPrecision = settings.anchorPrecision
        seed = settings.seed
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
