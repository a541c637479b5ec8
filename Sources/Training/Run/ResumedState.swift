internal import Collectives
internal import Formats
internal import Foundation
internal import Models
internal import PluginRuntime
internal import Tensors

/// What a resumed run goes on from: a checkpoint's state, put back into the parts of the run.
struct ResumedState {
    /// Steps done.
    let step: Int
    /// How the plugins differ from those the run began with, in sentences.
    let pluginChanges: [String]
    /// What the run trained on and trains on now, when these are not the same.
    private let dataChange: String?
    /// That another number of processes goes on, when it does.
    private let rankChange: String?

    /// What the user should know.
    var notes: [String] {
        pluginChanges.map { "changed plugins: \($0)" } + (dataChange.map { ["changed data: \($0)"] } ?? [])
            + (rankChange.map { [$0] } ?? [])
    }

    /// - Parameters:
    ///   - allowsPluginChanges: whether the run may go on with other plugins than it began with.
    ///   - dataBefore: what the checkpoint's data cursor is taken to be of, when it does not say.
    init(
        _ checkpoint: CheckpointFolders.Checkpoint, of run: RunDirectory, to parts: RunParts, _ settings: RunSettings,
        allowsPluginChanges: Bool, dataBefore: RunSettings.DataChoice, ranks: any Collective
    ) throws {
        let changes = try PluginChanges(of: parts.composition, since: run)
        if !allowsPluginChanges { try changes.refuse(of: run) }
        let state = try Self.restore(checkpoint, run, parts, settings, statesOf: changes.kept)
        step = checkpoint.step
        pluginChanges = changes.sentences
        let before = state.ranks ?? 1
        rankChange =
            before == ranks.size
            ? nil
            : "other ranks (\(ranks.size), before \(before)): the same samples, added up in another order, so from here on results "
                + "agree with those of \(before) but for rounding"
        let earlier = state.dataChoice ?? dataBefore
        if earlier != settings.dataChoice {
            dataChange = "\(settings.dataChoice), until step \(state.step) \(earlier)"
        } else {
            dataChange = nil
            try parts.source.restore(cursor: state.dataCursor)
        }
        try parts.step.restoreStreams(state.streamCursors ?? [:])
    }

    /// Everything but the position in the data.
    ///
    /// - Parameter kept: the instances that go on with their saved state.
    private static func restore(
        _ checkpoint: CheckpointFolders.Checkpoint, _ run: RunDirectory, _ parts: RunParts, _ settings: RunSettings,
        statesOf kept: Set<String>
    ) throws -> TrainerState {
        let state = try TrainerState.read(checkpoint.file("trainer_state.json"))
        guard state.modelHash == parts.modelHash else {
            throw TrainingError(
                .changed,
                "\(parts.folder.path)/model.safetensors has changed since the run began (SHA-256 \(parts.modelHash.prefix(12))…, then "
                    + "\(state.modelHash.prefix(12))…); anchor features would differ, so the run cannot continue")
        }
        guard state.learningRateScales ?? [:] == settings.learningRateScales?.factors ?? [:] else {
            throw TrainingError(
                .changed,
                "\(run.configPath) has other learning rates by parameter group (learningRateScales) than "
                    + "\(checkpoint.path); put the old ones back or start a new run")
        }
        guard state.average == settings.average else {
            throw TrainingError(
                .changed,
                "\(run.configPath) has another moving average of the weights than \(checkpoint.path) (`average`, `average.warmupPower`); put "
                    + "the old settings back or start a new run")
        }
        let (model, step) = (parts.model, parts.step)
        let absent = try ModelFolder(path: checkpoint.path).load(into: model, needsBase: false).filter { name in
            // A low-rank run keeps its frozen base in the model folder, a question run has no head to keep.
            model.parameters.id(of: name).map { model.parameters[$0].isTrainable && !model.isHeadParameter(name) }
                ?? true
        }
        guard absent.isEmpty else {
            throw TrainingError(
                .missing, "\(checkpoint.path): \(absent.count) tensors are missing, the first being \(absent[0])")
        }
        try MomentFile.read(checkpoint.file("optimizer.safetensors"), into: step.optimizer, of: model.parameters)
        step.releaseForeignMoments()
        step.optimizer.resume(updates: state.updates, uneven: state.parameterUpdates ?? [:])
        try parts.average?.restore(from: checkpoint.averagePath)
        step.skippedSteps = state.skippedSteps
        let plugins = try PluginStates(of: checkpoint, format: state.format)
        try step.session.restore(
            HookSession.State(
                multipliers: state.multipliers, plugins: plugins.states, previousValues: plugins.previousValues,
                rateScales: state.pluginRateScales ?? [:]), of: kept)
        return state
    }
}
