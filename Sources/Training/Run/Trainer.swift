package import Collectives
internal import Data
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
    private let average: WeightAverage?
    private let folder: ModelFolder
    private let evaluation: Evaluation
    private let evaluationData: EvaluationData
    private let statistics: [String: DatasetStatistics]
    private let modelHash: String
    private let pluginChanges: [String]
    private let dataChange: String?
    private let dataNotes: [String]
    private let streamNotes: [String]
    /// nil where another rank writes it, as are the next two.
    private let metrics: MetricsLog?
    /// Metrics by block; nil also when no plugin gives any.
    private let blockMetrics: MetricsLog?
    private let board: TensorBoardWriter?
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
            try parts.writeStart(to: run)
            return run
        }
        try self.init(settings: settings, run: run, parts: parts, stepsDone: 0, ranks: ranks)
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
                "\(run.checkpointsPath): no complete checkpoint to continue from; the run stopped before its first save"
            )
        }
        guard step == nil || settings.steps > checkpoint.step else {
            throw TrainingError(
                "--resume-step is \(checkpoint.step), but the run is to end at step \(settings.steps); give more --steps"
            )
        }
        let parts = try RunParts(
            settings: settings, resuming: (run, checkpoint), allowsPluginChanges: allowsPluginChanges,
            dataBefore: earlier.dataChoice, ranks: ranks)
        // Behind this, every rank has read what the first is about to write anew.
        try parts.checkEqual(settings, on: ranks)
        if ranks.rank == 0 {
            if !parts.pluginChanges.isEmpty { try parts.replacePlan(of: run, from: checkpoint.step) }
            if earlier.dataChoice != settings.dataChoice {
                try earlier.write(to: "\(run.path)/config-until-step-\(checkpoint.step).json")
            }
            run.markUnfinished()
            try settings.write(to: run.configPath)
            try run.checkpoints.setAside(after: checkpoint.step)
        }
        try self.init(settings: settings, run: run, parts: parts, stepsDone: checkpoint.step, ranks: ranks)
    }

    private init(
        settings: RunSettings, run: RunDirectory, parts: RunParts, stepsDone: Int, ranks: any Collective
    ) throws {
        self.settings = settings
        self.ranks = ranks
        self.run = run
        self.stepsDone = stepsDone
        step = parts.step
        average = parts.average
        model = parts.model
        source = parts.source
        folder = parts.folder
        statistics = parts.statistics
        modelHash = parts.modelHash
        pluginChanges = parts.pluginChanges
        dataChange = parts.dataChange
        dataNotes = parts.dataNotes
        streamNotes = parts.streamNotes
        evaluationData = parts.evaluationData
        evaluation = Evaluation(model: parts.model, prompts: parts.prompts, tape: parts.step.tape, ranks: ranks)
        let writes = ranks.rank == 0
        metrics = writes ? try MetricsLog(path: run.metricsPath, keepingThrough: stepsDone == 0 ? nil : stepsDone) : nil
        blockMetrics =
            parts.step.session.givesBlockMetrics && writes
            ? try MetricsLog(path: run.blockMetricsPath, keepingThrough: stepsDone == 0 ? nil : stepsDone) : nil
        board =
            writes
            ? try TensorBoardWriter(folder: run.tensorboardPath, resumingAt: stepsDone == 0 ? nil : stepsDone + 1) : nil
    }

    /// What ``profiledSteps`` recorded; written to the run's `profile.json`.
    package let profile = OperationProfile()

    /// Trains up to the last step, saving on the way, and measures before and after.
    ///
    /// - `shouldStop`: asked after each step, and between the batches that measure; when true the run saves and returns.
    package func train(
        shouldStop: () -> Bool = { false }, report: (TrainingEvent) -> Void = { _ in }
    ) throws -> RunSummary {
        for change in pluginChanges { report(.note("changed plugins: \(change)")) }
        for note in streamNotes { report(.note(note)) }
        if let dataChange { report(.note("changed data: \(dataChange)")) }
        for note in dataNotes { report(.note("note: \(note)")) }
        var (evaluations, wasStopped) = ([String: Double](), false)
        var stop: StopRequest?
        if stepsDone == 0, let values = try evaluate("before", shouldStop, report, stop: &stop) {
            evaluations.merge(values) { _, new in new }
        }
        let (first, skippedBefore) = (stepsDone, step.skippedSteps)
        var record = RunRecord(first: first, total: settings.steps)
        var skippedInARow = 0
        // A run that ends before it begins leaves what it would have begun with.
        if stop != nil { try save(report) }
        while stepsDone < settings.steps, stop == nil, !wasStopped {
            let result = try takeStep(&record, shouldStop, report)
            stop = result.stop
            skippedInARow = result.skipped == nil ? 0 : skippedInARow + 1
            let isLast = stepsDone == settings.steps
            if let every = settings.evaluateEvery, stepsDone % every == 0, !isLast, stop == nil {
                _ = try evaluate("during", shouldStop, report, stop: &stop)
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
        if let stop { report(.note("\(stop)")) }
        step.profile = nil
        if profiledSteps != nil, ranks.rank == 0 { try TraceFile.write(profile, to: run.profilePath) }
        if !wasStopped {
            if let values = try evaluate("after", shouldStop, report, stop: &stop) {
                evaluations.merge(values) { _, new in new }
                try step.session.end(values.byMeasure, step: stepsDone)
            } else {
                wasStopped = true
            }
        }
        try metrics?.synchronize()
        try blockMetrics?.synchronize()
        try board?.synchronize()
        if !wasStopped, ranks.rank == 0 { try run.markDone(steps: stepsDone) }
        return record.summary(
            path: run.path, steps: stepsDone, wasStopped: wasStopped, evaluations: evaluations)
    }

    /// Takes the next step and logs it.
    private func takeStep(
        _ record: inout RunRecord, _ shouldStop: () -> Bool, _ report: (TrainingEvent) -> Void
    ) throws -> StepReport {
        if let profiledSteps {
            if stepsDone - record.first == profiledSteps.lowerBound { step.profile = profile }
            if stepsDone - record.first == profiledSteps.upperBound { step.profile = nil }
        }
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
            "\(run.path): the last \(skipped) step\(skipped == 1 ? " was" : "s were all") skipped (\(last.skipped ?? "")): the weights "
                + "give no finite numbers any more, so nothing is saved\(earlier). Lower --lr, give --clip, or look at the data"
        )
    }

    /// Writes a checkpoint of the present state, on every rank that of the first.
    @discardableResult
    package func save(_ report: (TrainingEvent) -> Void = { _ in }) throws -> CheckpointFolders.Checkpoint {
        let moments = try step.collectMoments()
        let written = ranks.rank == 0 ? try write(moments, report) : nil
        // Writing may take long, where the disk is slow or the model large.
        try ranks.barrier(phase: "checkpoint of step \(stepsDone)", patience: 3600)
        return try written ?? run.checkpoints.checkpoint(atStep: stepsDone)
    }

    /// - Parameter moments: of the optimizer, of all ranks together.
    private func write(
        _ moments: (FloatBuffer, FloatBuffer), _ report: (TrainingEvent) -> Void
    ) throws -> CheckpointFolders.Checkpoint {
        try metrics?.synchronize()
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
        let named = MetricNames.logged(result.metrics)
        try metrics?.append(
            step: stepsDone, values: named + [(name: "ms", value: result.milliseconds.values.reduce(0, +))])
        try board?.append(step: stepsDone, scalars: named.map { (tag: $0.name, value: $0.value) })
        guard !result.blockMetrics.isEmpty else { return }
        let blocks = step.session.blocks.names
        try blockMetrics?.append(
            step: stepsDone,
            values: result.blockMetrics.sorted { $0.key < $1.key }.flatMap { name, values in
                zip(blocks, values).map { (name: "\(name)/\($0)", value: $1) }
            })
    }

    /// Measures the model, logs what was measured and tells plugins.
    ///
    /// - Parameters:
    ///   - moment: `before`, `during` or `after` training.
    ///   - stop: set when a plugin asks for the end of the run.
    /// - Returns: measures under `moment.name`; nil when it was stopped, then there are none.
    private func evaluate(
        _ moment: String, _ shouldStop: () -> Bool, _ report: (TrainingEvent) -> Void, stop: inout StopRequest?
    ) throws -> [String: Double]? {
        let measured: [(String, Double?)]
        do {
            measured = try evaluation.measures(
                of: evaluationData, exchanging: moment == "after", average: moment == "after" ? average : nil,
                shouldStop: shouldStop)
        } catch is Evaluation.Stopped {
            report(.note("stopped while measuring at step \(stepsDone)"))
            return nil
        }
        let values = Dictionary(
            uniqueKeysWithValues: measured.compactMap { name, value in value.map { (name, $0) } })
        let told = try step.session.evaluate(values, step: stepsDone)
        stop = stop ?? told.stop
        for (name, value) in measured.compactMap({ name, value in value.map { (name, $0) } })
            + told.metrics.sorted(by: { $0.key < $1.key })
        {
            let display = MetricNames.display(name)
            try metrics?.append(step: stepsDone, values: [(name: display, value: value)])
            try board?.append(step: stepsDone, scalars: [(tag: display, value: value)])
            report(.evaluation(name: name, value: value, step: stepsDone))
        }
        return Dictionary(uniqueKeysWithValues: values.map { ("\(moment).\($0.key)", $0.value) })
    }
}

extension [String: Double] {
    /// Measures without the moment before their names.
    fileprivate var byMeasure: [String: Double] {
        Dictionary(uniqueKeysWithValues: map { (String($0.key.drop { $0 != "." }.dropFirst()), $0.value) })
    }
}
