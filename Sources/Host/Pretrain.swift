import ArgumentParser
import Collectives
import Formats
import Foundation
import Models
import PluginRuntime
import Processes
import Training

struct Pretrain: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Train a vision-language model from scratch on visual question answering.",
        discussion: """
            craft pretrain --data easy_vqa/data --out runs/pretrain --export Assets/small-vlm

            --data is a folder in easy-VQA's layout (train/ and test/ with images/ and questions.json, answers.txt), as \
            the Python package easy-vqa ships it. --model gives the architecture: its config.json and tokenizer.json.
            """)

    @OptionGroup var options: TrainingOptions<PretrainDefaults>

    @Option(help: ArgumentHelp("Folder of the new run. Default: runs/ and the time.", valueName: "folder"))
    var out: String?

    @Option(help: ArgumentHelp("Continue this run from its last checkpoint.", valueName: "run"))
    var resume: String?

    @Option(help: ArgumentHelp("Write the trained model there, in bfloat16.", valueName: "folder"))
    var export: String?

    @Flag(help: "Print a line per logged step instead of a progress line.")
    var quiet = false

    func run() throws {
        let trainer: Trainer
        let ranks = try RankedProcess.start()
        if let resume {
            try ResumedSettings(run: resume).check(options, allowsData: false)
            trainer = try Trainer(
                resuming: resume, steps: options.steps, ranks: ranks, revise: options.revisePlugins)
        } else {
            var settings = try options.settings()
            guard !settings.data.isEmpty else {
                throw CommandError(
                    .usage,
                    "--data is missing; give a folder in easy-VQA's layout (pip download easy-vqa has one)")
            }
            if options.questions == nil { settings.questions = settings.data }
            try RankedProcess.divideProcessors(&settings, given: options.threads)
            trainer = try Trainer(
                settings: settings, at: out ?? RunNames.fresh("pretrain"), isFresh: out == nil, ranks: ranks)
        }
        let summary = try Session.train(trainer, quiet: quiet)
        Session.printSummary(summary)
        if let export, !summary.wasStopped, ranks.rank == 0 {
            try ModelFolder.save(trainer.model, to: export, source: nil, storage: .bf16, withHead: false)
            print("model written to \(export)")
        }
        if summary.wasStopped { throw ExitCode(130) }
    }
}
