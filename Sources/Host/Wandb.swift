import ArgumentParser
import Compatibility
import Processes
import Training

struct Wandb: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write a run's metrics as an offline run of Weights & Biases, for wandb sync.",
        discussion: """
            craft wandb runs/craft --project libero --entity my-team
            wandb sync runs/craft/wandb/offline-run-*

            The offline run is made from the run's metrics.jsonl and config.json, also while it trains. Made again, it has the \
            same id and takes the place of the first.
            """)

    @Argument(help: ArgumentHelp("Run folder.", valueName: "run"))
    var path: String

    @Option(help: "Project of the upload. Default: W&B's own.")
    var project: String?

    @Option(help: "User or team of the upload. Default: W&B's own.")
    var entity: String?

    func run() throws { try WandbRun(entity: entity, project: project).publish(path) }
}

extension WandbRun {
    /// Writes the offline run and says how it is uploaded.
    func publish(_ run: String) throws {
        print(ShellText.command(["wandb", "sync", try write(of: run)]))
    }
}
