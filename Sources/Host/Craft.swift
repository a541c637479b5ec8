import ArgumentParser
import Collectives
@preconcurrency import Foundation
import Glibc
import PluginRuntime
import Processes
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
        CrashReport.install(advice: "craft plugins check looks for the mistake in a plugin.")
        CrashReport.refuseExit()
        do {
            let arguments = try ConfigFile.expand(Array(CommandLine.arguments.dropFirst()))
            // The checks count threads, and have a time limit of their own.
            let watch = arguments.first == "plugins" && arguments.contains { $0.hasSuffix("check") } ? nil : HookWatch()
            defer { watch?.stop() }
            try RankedProcess.refuseOthers(arguments)
            var command = try parseAsRoot(arguments)
            try command.run()
            end(0)
        } catch {
            if exitCode(for: error) == .success {
                print(message(for: error))
                end(0)
            }
            if let code = error as? ExitCode { end(code.rawValue) }
            let text =
                isParserError(error) ? fullMessage(for: error) : "Error: \(SettingFlags.sentence(sentence(for: error)))"
            RankedProcess.fail(text, code: 2)
            FileHandle.standardError.write(Data((text + "\n").utf8))
            end(2)
        }
    }

    /// Ends the process without running what plugins registered for its end: results are on the disk by now, and a destructor
    /// that waits for a thread or throws shall not change what became of them.
    private static func end(_ code: Int32) -> Never {
        fflush(nil)
        if code != 2 { try? RankedProcess.ranks.finish() }
        _exit(code)
    }

    private static func isParserError(_ error: any Error) -> Bool {
        error is ValidationError || String(describing: type(of: error)) == "CommandError"
    }

    private static func sentence(for error: any Error) -> String {
        error is CocoaError || error is POSIXError ? error.localizedDescription : String(describing: error)
    }
}
