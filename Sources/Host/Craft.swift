import ArgumentParser
@preconcurrency import Foundation
import PluginRuntime
import Training

@main
struct Craft: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "craft",
        abstract: "Fine-tunes vision-language-action models; objectives and gradient strategies are plugins.",
        discussion: """
            A strategy is a list of plugins: --plugins BaselineL1 fine-tunes plainly, --plugins \
            BaselineL1,AnchorVariants,CRaFTProjection,CRaFTDual keeps the inherited representation within a budget.

            Exit codes: 0 success, 1 some runs of an ablation failed, 2 wrong input or a run that could not go on, 130 stopped by Ctrl-C after saving.
            """,
        version: "craft \(craftVersion), plugin ABI \(PluginLibrary.hostABI)",
        subcommands: [
            Train.self, Finetune.self, Plan.self, Pretrain.self, Demo.self, Ablate.self, Evaluate.self, Measure.self,
            Serve.self,
            DataCommand.self,
            Bench.self, Plugins.self, Model.self, Wandb.self,
        ])

    /// Parses and runs. Whatever the user can put right ends in a sentence on standard error and exit code 2.
    static func main() {
        setvbuf(stdout, nil, _IOLBF, 0)
        ParentWatch.install()
        do {
            let arguments = try ConfigFile.expand(Array(CommandLine.arguments.dropFirst()))
            var command = try parseAsRoot(arguments)
            try command.run()
        } catch {
            if exitCode(for: error) == .success {
                print(message(for: error))
                Foundation.exit(0)
            }
            if let code = error as? ExitCode { Foundation.exit(code.rawValue) }
            let text = isParserError(error) ? fullMessage(for: error) : "Error: \(sentence(for: error))"
            FileHandle.standardError.write(Data((text + "\n").utf8))
            Foundation.exit(2)
        }
    }

    private static func isParserError(_ error: any Error) -> Bool {
        error is ValidationError || String(describing: type(of: error)).contains("CommandError")
    }

    private static func sentence(for error: any Error) -> String {
        error is CocoaError || error is POSIXError ? error.localizedDescription : String(describing: error)
    }
}
