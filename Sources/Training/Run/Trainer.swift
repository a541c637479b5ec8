package import Collectives
internal import Data
internal import Formats
internal import Foundation
package import Models
internal import PluginRuntime
package import Tensors

/// What a run reports while it goes on.
package enum TrainingEvent {
    /// A step is done. `elapsed` is the time of all steps of this process, in seconds.
    case step(StepReport, total: Int, elapsed: Double, stepsDone: Int)
    /// A measure of the model, by internal metric name, before or after training.
    case evaluation(name: String, value: Double, step: Int)
    /// A checkpoint is on the disk.
    case saved(path: String, step: Int)
    /// Something the user should know.
    case note(String)
}

/// A run: model, data, plugins, the step, and everything that is written to the run's folder.
package final class Trainer {
    package let settings: RunSettings
    package let run: RunDirectory
    package let step: TrainingStep
    package let model: VLAModel
    let source: any BatchSource
    /// The processes that train together; the first writes, the others attend.
    package let ranks: any Collective
    let average: WeightAverage?
    private let folder: ModelFolder
    let evaluation: Evaluation
    let evaluationData: EvaluationData
    private let statistics: [String: DatasetStatistics]
    private let modelHash: String
    /// What the user should know before the first step.
    private let notes: [String]
    /// `metrics.jsonl` first, then what else the run is reported to; none where another rank writes.
    private let sinks: [any MetricSink]
    /// Metrics by block; nil when no plugin gives any.
    private let blockMetrics: MetricsLog?
    /// Steps done.
    package private(set) var stepsDone: Int
    /// Steps of this process to record phases and operations of, counted from its first; nil records none.
    package var profiledSteps: Range<Int>?

    /// Starts a run in a new folder.
    ///
    /// - Parameters:
    ///   - isFresh: whether `path` is a suggestion: where it is taken, a number is put behind it.
    ///   - ranks: the processes that train together; all of them make a trainer.
    package convenience init(
        settings: RunSettings, at path: String, isFresh: Bool = false, ranks: any Collective = OneRank()
    ) throws {
        try settings.check()
        // Everything that can be wrong with the input is found before the folder is made.
        let parts = try RunParts(settings: settings, resuming: nil, ranks: ranks)
        try parts.checkEqual(settings, on: ranks)
        let run = try RunDirectory.shared(by: ranks) {
            let run = try isFresh ? RunDirectory.createFresh(at: path) : RunDirectory.create(at: path)
            try settings.write(to: run.configPath)
            try run.writeStart(of: parts)
            return run
        }
        try self.init(settings: settings, run: run, parts: parts, resumed: nil, ranks: ranks)
    }

    /// Continues a run from its last checkpoint, or from that of `step`, up to `steps` steps in all.
    ///
    /// Checkpoints after `step` are set aside: the run is about to make others in their place.
    ///
    /// - Parameters:
    ///   - revise: changes the run's settings; plugins, where they are found, and the data. On other data their order begins
    ///     anew, and `config-until-step-N.json` keeps the settings until then.
    ///   - allowsPluginChanges: whether plugins and their settings may be others than the run began with.
    package convenience init(
        resuming path: String, from step: Int? = nil, steps: Int?, allowsPluginChanges: Bool = false,
        ranks: any Collective = OneRank(), revise: (inout RunSettings) throws -> Void = { _ in }
    ) throws {
        let run = try ranks.rank == 0 ? RunDirectory.resume(at: path) : RunDirectory(attending: path)
        let earlier = try RunSettings.read(run.configPath)
        var settings = earlier
        try revise(&settings)
        if let steps { settings.steps = steps }
        try settings.check()
        guard let checkpoint = try step.map({ try run.checkpoints.checkpoint(atStep: $0) }) ?? run.checkpoints.latest()
        else {
            throw TrainingError(
                .missing,
                "\(run.checkpointsPath): no complete checkpoint to continue from; the run stopped before its first save"
            )
        }
        guard step == nil || settings.steps > checkpoint.step else {
            throw TrainingError(
                .settings,
                "`resumeStep` is \(checkpoint.step), but the run is to end at step \(settings.steps); give more `steps`"
            )
        }
        let parts = try RunParts(settings: settings, resuming: run, ranks: ranks)
        let resumed = try ResumedState(
            checkpoint, of: run, to: parts, settings, allowsPluginChanges: allowsPluginChanges,
            dataBefore: earlier.dataChoice, ranks: ranks)
        // Behind this, every rank has read what the first is about to write anew.
        try parts.checkEqual(settings, on: ranks)
        if ranks.rank == 0 {
            if !resumed.pluginChanges.isEmpty { try run.replacePlan(by: parts.composition, from: checkpoint.step) }
            if earlier.dataChoice != settings.dataChoice {
                try earlier.write(to: "\(run.path)/config-until-step-\(checkpoint.step).json")
            }
            run.markUnfinished()
            try settings.write(to: run.configPath)
            try run.checkpoints.setAside(after: checkpoint.step)
        }
        try self.init(settings: settings, run: run, parts: parts, resumed: resumed, ranks: ranks)
    }

    private init(
        settings: RunSettings, run: RunDirectory, parts: RunParts, resumed: ResumedState?, ranks: any Collective
    ) throws {
        self.ranks = ranks
        self.settings = settings
        self.run = run
        stepsDone = resumed?.step ?? 0
        step = parts.step
        average = parts.average
        model = parts.model
        source = parts.source
        folder = parts.folder
        statistics = parts.statistics
        modelHash = parts.modelHash
        notes = (resumed?.notes ?? []) + parts.notes
        evaluationData = parts.evaluationData
        evaluation = Evaluation(model: parts.model, prompts: parts.prompts, tape: parts.step.tape, ranks: ranks)
        let earlier = resumed?.step
        let writes = ranks.rank == 0
        sinks =
            writes
            ? [try MetricsLog(path: run.metricsPath, keepingThrough: earlier)]
                + (try settings.reportTargets.map { try $0.open(run, settings, goingOnAfter: earlier) }) : []
        blockMetrics =
            parts.step.session.givesBlockMetrics && writes
            ? try MetricsLog(path: run.blockMetricsPath, keepingThrough: earlier) : nil
    }

    /// What ``profiledSteps`` recorded; written to the run's `profile.json`.
    package let profile = OperationProfile()

    /// Trains up to the last step, saving on the way, and measures before and after.
    ///
    /// - `shouldStop`: asked after each step, and between the batches that measure; when true the run saves and returns.
    package func train(
        shouldStop: () -> Bool = { false }, report: (TrainingEvent) -> Void = { _ in }
    ) throws -> RunSummary {
        for note in notes { report(.note(note)) }
        var evaluations: [String: Double] = [:]
        var stop: StopRequest?
        if stepsDone == 0, let measures = try measure(.before, shouldStop, report) {
            evaluations = measures.named(.before)
            stop = measures.stop
        }
        var record = RunRecord(first: stepsDone, total: settings.steps)
        var wasStopped = try takeSteps(&record, &stop, shouldStop, report)
        if let stop { report(.note("\(stop)")) }
        try endProfile()
        if !wasStopped {
            if let measures = try measure(.after, shouldStop, report) {
                evaluations.merge(measures.named(.after)) { _, new in new }
                try step.session.end(measures.values, step: stepsDone)
            } else {
                wasStopped = true
            }
        }
        for sink in sinks { try sink.finish() }
        try blockMetrics?.synchronize()
        if !wasStopped, ranks.rank == 0 { try run.markDone(steps: stepsDone) }
        return record.summary(
            path: run.path, steps: stepsDone, wasStopped: wasStopped, evaluations: evaluations)
    }

    /// Takes the steps that are left, saving and measuring on the way.
    ///
    /// - Parameter stop: set when a plugin asks for the end of the run.
    /// - Returns: whether the user stopped it.
    private func takeSteps(
        _ record: inout RunRecord, _ stop: inout StopRequest?, _ shouldStop: () -> Bool,
        _ report: (TrainingEvent) -> Void
    ) throws -> Bool {
        let (first, skippedBefore) = (stepsDone, step.skippedSteps)
        var (wasStopped, skippedInARow) = (false, 0)
        // A run that ends before it begins leaves what it would have begun with.
        if stop != nil { try save(report) }
        while stepsDone < settings.steps, stop == nil, !wasStopped {
            let result = try takeStep(&record, shouldStop, report)
            stop = result.stop
            skippedInARow = result.skipped == nil ? 0 : skippedInARow + 1
            let isLast = stepsDone == settings.steps
            if let every = settings.evaluateEvery, stepsDone % every == 0, !isLast, stop == nil {
                stop = try measure(.during, shouldStop, report)?.stop
            }
            wasStopped = (ranks.isAlone ? shouldStop() : result.isInterrupted) && !isLast && stop == nil
            let isDue = settings.saveEvery > 0 && stepsDone % settings.saveEvery == 0
            if isDue || isLast || wasStopped || stop != nil {
                try refuseDiverged(skippedInARow, of: stepsDone - first, last: result)
                try save(report)
            }
        }
        let skipped = step.skippedSteps - skippedBefore
        if skipped > 0 {
            report(.note("\(skipped) of \(stepsDone - first) steps were skipped, as something in them was not finite"))
        }
        return wasStopped
    }

    /// Takes the next step and logs it.
    private func takeStep(
        _ record: inout RunRecord, _ shouldStop: () -> Bool, _ report: (TrainingEvent) -> Void
    ) throws -> StepReport {
        profileStep(stepsDone - record.first)
        let began = DispatchTime.now().uptimeNanoseconds
        let updates = step.optimizer.updates
        var result = try step.run(step: stepsDone, from: source, shouldStop: shouldStop)
        // A step that was skipped moves neither the weights nor their average.
        if let average, step.optimizer.updates > updates {
            let start = DispatchTime.now().uptimeNanoseconds
            average.take(update: step.optimizer.updates)
            result.milliseconds["average"] = Double(DispatchTime.now().uptimeNanoseconds - start) / 1e6
        }
        stepsDone += 1
        record.add(result, milliseconds: Double(DispatchTime.now().uptimeNanoseconds - began) / 1e6)
        if stepsDone % settings.logEvery == 0 || stepsDone == settings.steps || result.stop != nil { try log(result) }
        report(
            .step(result, total: settings.steps, elapsed: record.elapsed, stepsDone: stepsDone - record.first))
        return result
    }

    /// A run that skips every step it is given has weights that compute nothing any more: they are not worth a checkpoint.
    ///
    /// - Parameters:
    ///   - skipped: steps in a row, up to the last.
    ///   - steps: of this process.
    private func refuseDiverged(_ skipped: Int, of steps: Int, last: StepReport) throws {
        guard skipped >= 10 || (skipped == steps && stepsDone == settings.steps) else { return }
        let earlier = run.checkpoints.latest().map { "; the last checkpoint is that of step \($0.step)" } ?? ""
        throw TrainingError(
            .diverged,
            "\(run.path): the last \(skipped) step\(skipped == 1 ? " was" : "s were all") skipped (\(last.skipped ?? "")): the weights "
                + "give no finite numbers any more, so nothing is saved\(earlier). Lower `learningRate`, give `clipNorm`, or look at the data"
        )
    }

    /// Writes a checkpoint of the present state, on every rank that of the first.
    @discardableResult
    package func save(_ report: (TrainingEvent) -> Void = { _ in }) throws -> CheckpointFolders.Checkpoint {
        let moments = try step.collectMoments()
        let written = ranks.rank == 0 ? try write(moments, report) : nil
        // Writing may take long, where the disk is slow or the model large; the writer waits for nobody.
        try ranks.barrier(phase: "checkpoint of step \(stepsDone)", patience: ranks.rank == 0 ? nil : 3600)
        return try written ?? run.checkpoints.checkpoint(atStep: stepsDone)
    }

    /// - Parameter moments: of the optimizer, of all ranks together.
    private func write(
        _ moments: (FloatBuffer, FloatBuffer), _ report: (TrainingEvent) -> Void
    ) throws -> CheckpointFolders.Checkpoint {
        for sink in sinks { try sink.synchronize() }
        try blockMetrics?.synchronize()
        let session = try step.session.save()
        let optimizer = step.optimizer
        let state = TrainerState(
            step: stepsDone, updates: optimizer.updates, skippedSteps: step.skippedSteps,
            multipliers: session.multipliers, dataCursor: source.cursor, streamCursors: step.streamCursors,
            dataChoice: settings.dataChoice, modelHash: modelHash,
            learningRateScales: settings.learningRateScales?.factors, average: settings.average,
            ranks: ranks.isAlone ? nil : ranks.size, pluginRateScales: session.rateScales,
            parameterUpdates: optimizer.unevenUpdates)
        let plugins = PluginStates(states: session.plugins, previousValues: session.previousValues)
        let checkpoint = try run.checkpoints.write(step: stepsDone) { path in
            try saveModel(to: path)
            if let average { try saveModel(to: CheckpointFolders.average(in: path), weights: average.weights) }
            try MomentFile.write(moments, of: model.parameters, to: path + "/optimizer.safetensors")
            try plugins.write(to: path)
            try state.write(to: path + "/trainer_state.json")
        }
        if let count = settings.keepCheckpoints { try run.checkpoints.prune(keepingLatest: count) }
        report(.saved(path: checkpoint.path, step: stepsDone))
        return checkpoint
    }

    /// - Parameter weights: where the values are, by id; nil takes the model's own.
    private func saveModel(to path: String, weights: [WeightValues]? = nil) throws {
        try ModelFolder.save(
            model, to: path, source: folder, weights: weights, withHead: settings.task == .demonstrations)
        if !statistics.isEmpty { try DatasetStatistics.save(statistics, to: path + "/dataset_statistics.json") }
    }

    private func log(_ result: StepReport) throws {
        try appendRow(
            MetricNames.logged(result.metrics), milliseconds: result.milliseconds.values.reduce(0, +))
        guard !result.blockMetrics.isEmpty else { return }
        let blocks = step.session.blocks.names
        try blockMetrics?.append(
            step: stepsDone,
            values: result.blockMetrics.sorted { $0.key < $1.key }.flatMap { name, values in
                zip(blocks, values).map { (name: "\(name)/\($0)", value: $1) }
            })
    }

    /// Gives every sink a row.
    ///
    /// - Parameter values: under the names of the logs.
    func appendRow(_ values: [(name: String, value: Double)], milliseconds: Double? = nil) throws {
        let row = MetricRow(
            step: stepsDone, time: Date().timeIntervalSince1970, values: values, milliseconds: milliseconds)
        for sink in sinks { try sink.append(row) }
    }

    // MARK: - Profile

    /// Switches recording on and off, before the process's step `index`.
    private func profileStep(_ index: Int) {
        guard let profiledSteps else { return }
        if index == profiledSteps.lowerBound { step.profile = profile }
        if index == profiledSteps.upperBound { step.profile = nil }
    }

    private func endProfile() throws {
        step.profile = nil
        if profiledSteps != nil, ranks.rank == 0 { try TraceFile.write(profile, to: run.profilePath) }
    }
}
