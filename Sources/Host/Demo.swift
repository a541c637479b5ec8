import ArgumentParser
import Foundation
import PluginRuntime
import Training

struct Demo: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Fine-tune the shipped model on the shipped demonstrations, plainly and with CRaFT, and compare.",
        discussion: "Same model, data, seed and steps for both runs; only the plugin list differs.")

    @OptionGroup var options: TrainingOptions<TrainDefaults>

    @Option(help: ArgumentHelp("Folder for both runs. Default: runs/ and the time.", valueName: "folder"))
    var out: String?

    @Option(help: ArgumentHelp("The second run's plugins. Default: the CRaFT four.", valueName: "list"))
    var craft: String =
        "BaselineL1,AnchorVariants:distance=relative_mse,CRaFTProjection,CRaFTDual:budget=0.05:rule=normalised:lr=0.05"

    @Flag(help: "Print a line per logged step instead of a progress line.")
    var quiet = false

    func run() throws {
        var (settings, others) = try options.settings(and: [PluginRequest.parseList(craft)])
        let folder = try out ?? RunDirectory.claimFolder(RunNames.fresh("demo"))
        let rows: [(name: String, plugins: [PluginRequest])] = [
            ("baseline", settings.plugins), ("craft", others[0]),
        ]
        var results: [(name: String, summary: RunSummary)] = []
        for row in rows {
            settings.plugins = row.plugins
            let trainer = try Trainer(settings: settings, at: "\(folder)/\(row.name)")
            let summary = try Session.train(trainer, quiet: quiet)
            Session.printSummary(summary)
            print("")
            if summary.wasStopped { throw ExitCode(130) }
            results.append((row.name, summary))
        }
        print(ComparisonTable(results).text)
    }
}

/// Runs side by side, one row a measure.
struct ComparisonTable {
    let text: String

    init(_ results: [(name: String, summary: RunSummary)]) {
        typealias Value = (RunSummary) -> Double?
        func metric(_ name: String) -> Value { { $0.lastMetrics[name] } }
        func evaluation(_ name: String) -> Value { { $0.evaluations[name] } }
        let rows: [(title: String, format: String, value: Value)] = [
            ("train action L1 (last steps)", "%.4f", metric("loss.action")),
            ("held-out action L1 before", "%.4f", evaluation("before.held_out_action_l1")),
            ("held-out action L1 after", "%.4f", evaluation("after.held_out_action_l1")),
            ("  the same, other images", "%.4f", evaluation("after.held_out_action_l1_other_images")),
            ("  the same, other instructions", "%.4f", evaluation("after.held_out_action_l1_other_instructions")),
            ("VQA accuracy before", "%.3f", evaluation("before.held_out_answer_accuracy")),
            ("VQA accuracy after", "%.3f", evaluation("after.held_out_answer_accuracy")),
            ("held-out action L1, average", "%.4f", evaluation("after.held_out_action_l1_average")),
            ("VQA accuracy, average", "%.3f", evaluation("after.held_out_answer_accuracy_average")),
            ("L_ret (last steps)", "%.5f", metric("loss.retention")),
            ("L_ret / budget", "%.2f", metric("retention_over_budget")),
            ("lambda", "%.4f", metric("lambda.retention")),
            ("conflict ratio", "%.3f", metric("conflict_ratio")),
            ("gradient cosine", "%+.3f", metric("gradient_cosine")),
            ("ms/step (median)", "%.1f", { $0.medianStepMilliseconds }),
        ]
        let width = max(12, results.map { $0.name.count }.max() ?? 0)
        func cell(_ text: String) -> String { String(repeating: " ", count: max(0, width - text.count)) + text }
        let title = rows.map { $0.title.count }.max() ?? 0
        var lines = [
            String(repeating: " ", count: title) + results.map { "  " + cell($0.name) }.joined()
        ]
        for row in rows
        where !row.title.hasSuffix("average") || results.contains(where: { row.value($0.summary) != nil }) {
            let cells = results.map { result in
                "  " + cell(row.value(result.summary).map { String(format: row.format, $0) } ?? "-")
            }
            lines.append(row.title.padding(toLength: title, withPad: " ", startingAt: 0) + cells.joined())
        }
        lines.append("")
        lines += results.map { "\($0.name): \($0.summary.path)" }
        text = lines.joined(separator: "\n")
    }
}
