internal import Data
internal import Foundation
public import Models
internal import PluginRuntime
public import Tensors

/// What a run reports while it goes on.
public enum TrainingEvent {
    /// A step is done. `elapsed` is the time of all steps of this process, in seconds.
    case step(StepReport, total: Int, elapsed: Double, stepsDone: Int)
    /// A measure of the model, by internal metric name, before or after training.
    case evaluation(name: String, value: Double, step: Int)
    /// A checkpoint is on the disk.
    case saved(path: String, step: Int)
    /// Something the user should know.
    case note(String)
}

/// How a run ended.
public struct RunSummary: Sendable {
    public var path: String
    /// Steps done in all, and whether the run was asked to stop before the last.
    public var steps: Int
    public var wasStopped: Bool
    /// Means over the last tenth of this process's steps (at least one, at most 50), by internal metric name.
    public var lastMetrics: [String: Double]
    /// Held-out action L1 and answer accuracy, before (`before.`) and after (`after.`) training.
    public var evaluations: [String: Double]
    /// Median milliseconds of a step, data included, after the first three.
    public var medianStepMilliseconds: Double
    /// Median milliseconds by phase.
    public var phases: [String: Double]
    /// Largest resident size of the process so far, in bytes.
    public var peakBytes: Int
}

/// A run: model, data, plugins, the step, and everything that is written to the run's folder.
public final class Trainer {
    public let settings: RunSettings
    public let run: RunDirectory
    public let step: TrainingStep
    public let model: VLAModel
    let source: any BatchSource
    private let folder: ModelFolder
    private let evaluation: Evaluation
    private let evaluationData: EvaluationData
    private let statistics: [String: DatasetStatistics]
    private let modelHash: String
    private let pluginChanges: [String]
    private let dataChange: String?
    private let dataNotes: [String]
    private let metrics: MetricsLog
    private let board: TensorBoardWriter
    /// Steps done.
    public private(set) var stepsDone: Int
    /// Steps of this process to record phases and operations of, counted from its first; nil records none.
    public var profiledSteps: Range<Int>?

    /// Starts a run in a new folder.
    ///
    /// - Parameter isFresh: whether `path` is a suggestion: where it is taken, a number is put behind it.
    public convenience init(settings: RunSettings, at path: String, isFresh: Bool = false) throws {
        try settings.check()
        // Everything that can be wrong with the input is found before the folder is made.
        let parts = try RunParts(settings: settings, resuming: nil)
        let run = try isFresh ? RunDirectory.createFresh(at: path) : RunDirectory.create(at: path)
        try settings.write(to: run.configPath)
        try parts.writeStart(to: run)
        try self.init(settings: settings, run: run, parts: parts, stepsDone: 0)
    }

    /// Continues a run from its last checkpoint, or from that of `step`, up to `steps` steps in all.
    ///
    /// Checkpoints after `step` are set aside: the run is about to make others in their place.
    ///
    /// - Parameters:
    ///   - revise: changes the run's settings; plugins, where they are found, and the data. On other data their order begins
    ///     anew, and `config-until-step-N.json` keeps the settings until then.
    ///   - allowsPluginChanges: whether plugins and their settings may be others than the run began with.
    public convenience init(
        resuming path: String, from step: Int? = nil, steps: Int?, allowsPluginChanges: Bool = false,
        revise: (inout RunSettings) throws -> Void = { _ in }
    ) throws {
        let run = try RunDirectory.resume(at: path)
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
            dataBefore: earlier.dataChoice)
        if !parts.pluginChanges.isEmpty { try parts.replacePlan(of: run, from: checkpoint.step) }
        if earlier.dataChoice != settings.dataChoice {
            try earlier.write(to: "\(run.path)/config-until-step-\(checkpoint.step).json")
        }
        try settings.write(to: run.configPath)
        try run.checkpoints.setAside(after: checkpoint.step)
        try self.init(settings: settings, run: run, parts: parts, stepsDone: checkpoint.step)
    }

    private init(settings: RunSettings, run: RunDirectory, parts: RunParts, stepsDone: Int) throws {
        self.settings = settings
        self.run = run
        self.stepsDone = stepsDone
        step = parts.step
        model = parts.model
        source = parts.source
        folder = parts.folder
        statistics = parts.statistics
        modelHash = parts.modelHash
        pluginChanges = parts.pluginChanges
        dataChange = parts.dataChange
        dataNotes = parts.dataNotes
        evaluationData = parts.evaluationData
        evaluation = Evaluation(model: parts.model, prompts: parts.prompts, tape: parts.step.tape)
        metrics = try MetricsLog(path: run.metricsPath, keepingThrough: stepsDone == 0 ? nil : stepsDone)
        board = try TensorBoardWriter(folder: run.tensorboardPath, resumingAt: stepsDone == 0 ? nil : stepsDone + 1)
    }

    /// What ``profiledSteps`` recorded; written to the run's `profile.json`.
    public let profile = OperationProfile()

    /// Trains up to the last step, saving on the way, and measures before and after.
    ///
    /// - `shouldStop`: asked after each step, and between the batches that measure; when true the run saves and returns.
    public func train(
        shouldStop: () -> Bool = { false }, report: (TrainingEvent) -> Void = { _ in }
    ) throws -> RunSummary {
        for change in pluginChanges { report(.note("changed plugins: \(change)")) }
        if let dataChange { report(.note("changed data: \(dataChange)")) }
        for note in dataNotes { report(.note("note: \(note)")) }
        var evaluations: [String: Double] = [:]
        if stepsDone == 0 { _ = try evaluate("before", into: &evaluations, shouldStop, report) }
        let (first, skippedBefore) = (stepsDone, step.skippedSteps)
        let start = Date()
        var reports: [StepReport] = []
        var times: [Double] = []
        var phases: [String: [Double]] = [:]
        var wasStopped = false
        var skippedInARow = 0
        let tail = min(50, max(1, (settings.steps - first) / 10))
        while stepsDone < settings.steps {
            if let profiledSteps {
                if stepsDone - first == profiledSteps.lowerBound { step.profile = profile }
                if stepsDone - first == profiledSteps.upperBound { step.profile = nil }
            }
            let began = DispatchTime.now().uptimeNanoseconds
            let result = try step.run(step: stepsDone, from: source)
            stepsDone += 1
            times.append(Double(DispatchTime.now().uptimeNanoseconds - began) / 1e6)
            for (phase, value) in result.milliseconds { phases[phase, default: []].append(value) }
            if stepsDone % settings.logEvery == 0 || stepsDone == settings.steps { try log(result) }
            skippedInARow = result.skipped == nil ? 0 : skippedInARow + 1
            reports.append(result)
            if reports.count > tail { reports.removeFirst() }
            report(
                .step(
                    result, total: settings.steps, elapsed: Date().timeIntervalSince(start),
                    stepsDone: stepsDone - first))
            wasStopped = shouldStop() && stepsDone < settings.steps
            let isDue = settings.saveEvery > 0 && stepsDone % settings.saveEvery == 0
            if isDue || stepsDone == settings.steps || wasStopped {
                try refuseDiverged(skippedInARow, of: stepsDone - first, last: result)
                try save(report)
            }
            if wasStopped { break }
        }
        let skipped = step.skippedSteps - skippedBefore
        if skipped > 0 {
            report(.note("\(skipped) of \(stepsDone - first) steps were skipped, as something in them was not finite"))
        }
        step.profile = nil
        if profiledSteps != nil { try TraceFile.write(profile, to: run.profilePath) }
        if !wasStopped { wasStopped = try !evaluate("after", into: &evaluations, shouldStop, report) }
        try metrics.synchronize()
        try board.synchronize()
        var means: [String: (sum: Double, count: Int)] = [:]
        for report in reports {
            for (name, value) in report.metrics {
                means[name, default: (0, 0)].sum += value
                means[name, default: (0, 0)].count += 1
            }
        }
        return RunSummary(
            path: run.path, steps: stepsDone, wasStopped: wasStopped,
            lastMetrics: means.mapValues { $0.sum / Double($0.count) }, evaluations: evaluations,
            medianStepMilliseconds: Self.median(times.count > 3 ? Array(times.dropFirst(3)) : times),
            phases: phases.mapValues(Self.median), peakBytes: ProcessMemory.peakBytes)
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

    /// Writes a checkpoint of the present state.
    @discardableResult
    public func save(_ report: (TrainingEvent) -> Void = { _ in }) throws -> CheckpointFolders.Checkpoint {
        try metrics.synchronize()
        let state = TrainerState(
            step: stepsDone, updates: step.optimizer.updates, skippedSteps: step.skippedSteps,
            multipliers: step.multipliers, plugins: try step.composition.saveState(),
            previousValues: try step.values.savePrevious(), dataCursor: source.cursor,
            dataChoice: settings.dataChoice, modelHash: modelHash,
            learningRateScales: settings.learningRateScales?.factors)
        let checkpoint = try run.checkpoints.write(step: stepsDone) { path in
            try ModelFolder.save(model, to: path, source: folder, withHead: settings.task == .demonstrations)
            try MomentFile.write(step.optimizer, of: model.parameters, to: path + "/optimizer.safetensors")
            if !statistics.isEmpty { try DatasetStatistics.save(statistics, to: path + "/dataset_statistics.json") }
            try state.write(to: path + "/trainer_state.json")
        }
        if let count = settings.keepCheckpoints { try run.checkpoints.prune(keepingLatest: count) }
        report(.saved(path: checkpoint.path, step: stepsDone))
        return checkpoint
    }

    private func log(_ result: StepReport) throws {
        let named = result.metrics.map { (name: MetricNames.display($0.key), value: $0.value) }.sorted {
            $0.name < $1.name
        }
        try metrics.append(
            step: stepsDone, values: named + [(name: "ms", value: result.milliseconds.values.reduce(0, +))])
        try board.append(step: stepsDone, scalars: named.map { (tag: $0.name, value: $0.value) })
    }

    /// - Returns: false when it was stopped; then there are no values.
    private func evaluate(
        _ moment: String, into results: inout [String: Double], _ shouldStop: () -> Bool,
        _ report: (TrainingEvent) -> Void
    ) throws -> Bool {
        let values: [(String, Double?)]
        do {
            values = try measure(moment, shouldStop)
        } catch is Evaluation.Stopped {
            report(.note("stopped while measuring at step \(stepsDone)"))
            return false
        }
        for case (let name, let value?) in values {
            results["\(moment).\(name)"] = value
            let display = MetricNames.display(name)
            try metrics.append(step: stepsDone, values: [(name: display, value: value)])
            try board.append(step: stepsDone, scalars: [(tag: display, value: value)])
            report(.evaluation(name: name, value: value, step: stepsDone))
        }
        return true
    }

    private func measure(_ moment: String, _ shouldStop: () -> Bool) throws -> [(String, Double?)] {
        var values: [(String, Double?)] = []
        if settings.task == .demonstrations {
            let batches = evaluationData.demonstrations
            values.append(("held_out_action_l1", try evaluation.actionL1(batches, shouldStop: shouldStop)))
            if moment == "after" {
                for exchange in Evaluation.Exchange.allCases {
                    let value = try evaluation.actionL1(batches, exchanging: exchange, shouldStop: shouldStop)
                    values.append(("held_out_action_l1_other_\(exchange.rawValue)", value))
                }
            }
        }
        let accuracy = try evaluationData.questions.flatMap {
            try evaluation.answerAccuracy($0, shouldStop: shouldStop)
        }
        values.append(("held_out_answer_accuracy", accuracy))
        return values
    }

    private static func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        guard !sorted.isEmpty else { return 0 }
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }
}
