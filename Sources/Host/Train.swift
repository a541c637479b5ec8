import ArgumentParser
import Formats
import Foundation
import Training

struct Train: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Fine-tune a model on demonstrations.",
        discussion: """
            craft train --plugins BaselineL1,AnchorVariants,CRaFTProjection,CRaFTDual:budget=0.005 --steps 200 --out runs/craft
            craft train --resume runs/craft --steps 400

            --config FILE reads the same settings from YAML; flags override it.
            """)

    @OptionGroup var options: TrainingOptions<TrainDefaults>

    @Option(help: ArgumentHelp("Folder of the new run. Default: runs/ and the time.", valueName: "folder"))
    var out: String?

    @Option(
        help: ArgumentHelp(
            "Continue this run from its last checkpoint, up to --steps steps in all; on other demonstrations if --data or --dataset names them.",
            valueName: "run"))
    var resume: String?

    @Option(
        help: ArgumentHelp(
            "Continue from the checkpoint of this step instead; later ones are set aside.", valueName: "step"))
    var resumeStep: Int?

    @Option(
        help: ArgumentHelp(
            "Where the model that the run began with is now, for --resume from another place.", valueName: "folder"))
    var base: String?

    @Flag(help: "Let --resume go on with other plugins, settings of plugins or plugin files than the run began with.")
    var allowPluginChanges = false

    @Option(
        help: ArgumentHelp(
            "Print a progress line every N steps. Default: one every few seconds.", valueName: "steps"))
    var progressEvery: Int?

    @Flag(help: "Print a line per logged step instead of a progress line.")
    var quiet = false

    @Flag(
        help: ArgumentHelp(
            "Record ten steps after the third: profile.json in the run folder, for Perfetto or chrome://tracing, and a table."
        ))
    var profile = false

    func run() throws { try run { _, _ in } }

    /// - Parameter saved: called when a checkpoint is saved, with its path and step.
    func run(saved: @escaping (String, Int) throws -> Void) throws {
        let trainer: Trainer
        let ranks = try RankedProcess.start()
        guard progressEvery.map({ $0 >= 1 }) ?? true else {
            throw CommandError(.usage, "--progress-every is \(progressEvery ?? 0); expected at least 1")
        }
        guard resume != nil || resumeStep == nil else {
            throw CommandError(.usage, "--resume-step is given without --resume; name the run too")
        }
        guard resume != nil || base == nil else {
            throw CommandError(.usage, "--base is for --resume; a new run's model is --model")
        }
        guard resume != nil || !allowPluginChanges else {
            throw CommandError(.usage, "--allow-plugin-changes is for --resume; a new run has nothing to change")
        }
        if let resume {
            guard out == nil else {
                throw CommandError(.usage, "--resume continues in the run's own folder; leave --out out")
            }
            try ResumedSettings(run: resume).check(options, allowsData: true)
            trainer = try Trainer(
                resuming: resume, from: resumeStep, steps: options.steps, allowsPluginChanges: allowPluginChanges,
                ranks: ranks,
                revise: { settings in
                    try options.revisePlugins(of: &settings)
                    options.reviseData(of: &settings)
                    if let base { settings.model = base }
                })
        } else {
            var settings = try options.settings()
            try RankedProcess.divideProcessors(&settings, given: options.threads)
            trainer = try Trainer(
                settings: settings, at: out ?? RunNames.fresh("train"), isFresh: out == nil, ranks: ranks)
        }
        if profile { trainer.profiledSteps = 3..<13 }
        let summary = try Session.train(trainer, quiet: quiet, progressEvery: progressEvery, saved: saved)
        Session.printSummary(summary)
        if profile { Session.printProfile(trainer) }
        if summary.wasStopped { throw ExitCode(130) }
    }
}

struct Plan: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Print the resolved data flow of a plugin list and what it costs, without training.",
        discussion: "craft plan --plugins BaselineL1,AnchorVariants,CRaFTProjection --dot | dot -Tsvg > plan.svg")

    @OptionGroup var options: TrainingOptions<TrainDefaults>

    @Flag(help: "Print the data flow as a graph for graphviz instead.")
    var dot = false

    func run() throws {
        let settings = try options.settings()
        let report = try PlanReport(settings: settings)
        print(dot ? report.dot : SettingFlags.sentence(report.text), terminator: dot ? "" : "\n")
    }
}
