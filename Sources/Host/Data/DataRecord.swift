import ArgumentParser
import Collectives
import Formats
import Foundation
import Processes
import Simulation
import Training

struct DataRecord: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "record",
        abstract: "Record demonstrations in the LIBERO simulator, as an RLDS data set.",
        discussion: """
            craft data record --suite libero_spatial --tasks 0,3 --episodes 20 --out recordings

            A scripted expert plays; its successes are written to OUT/<suite>_no_noops/1.0.0, which tensorflow-datasets and \
            craft train load. The same command takes up where an earlier one ended. Episodes that fail are counted in \
            OUT/.episodes/failed.json. The simulator is set up on first use in ~/.cache/craft/simulation (about 2 GB); \
            CRAFT_SIMULATION_ENV gives another folder.

            The expert picks, places, opens and closes drawers and turns knobs. Other tasks are refused before recording starts.

            Exit codes: 0 done; 1 no episode succeeded, or worker processes were killed and episodes are missing; 2 wrong input, \
            or no worker process stays alive; 130 stopped by Ctrl-C.
            """)

    @Option(help: "libero_spatial, libero_object, libero_goal or libero_10.")
    var suite: String

    @Option(help: ArgumentHelp("Numbers of tasks, separated by commas. Default: all ten.", valueName: "list"))
    var tasks: String?

    @Option(help: "Init states of each task, an episode from each.")
    var episodes: Int

    @Option(help: "Episodes from each init state, which noise and variety make different.")
    var takes = 1

    @Option(help: "The first init state; a task has 0 to 49.")
    var firstInit = 0

    @Option(help: "Folder of the data set.")
    var out: String

    @Option(
        help: ArgumentHelp(
            "Standard deviation of Gaussian noise on the executed translation, in units of the action (1 is 5 cm); the recorded "
                + "action is the expert's own.", valueName: "units"))
    var noise = 0.0

    @Option(
        help: ArgumentHelp(
            "0 to 1: how far the arm starts from its usual place and how hard it is pushed on the way; above 0, fingers may close late.",
            valueName: "amount"))
    var variety = 0.0

    @Option(help: "Worker processes. Default: one per core.")
    var processes: Int?

    @Option(help: "Seed of noise and variety.")
    var seed = 0

    @OptionGroup var setUp: SimulationSetUp

    func run() throws {
        let selection = try SimulationTasks(
            suite: suite, tasks: tasks, episodes: episodes, option: "--episodes", firstInit: firstInit)
        guard noise.isFinite, (0...1).contains(noise) else {
            throw CommandError(.usage, "--noise \(noise): expected 0 to 1, in units of the action")
        }
        guard variety.isFinite, (0...1).contains(variety) else {
            throw CommandError(.usage, "--variety \(variety): expected 0 to 1")
        }
        let workers = processes ?? ProcessorMask.count
        guard (1...256).contains(workers) else {
            throw CommandError(.usage, "--processes \(workers): expected 1 to 256")
        }
        guard (1...100).contains(takes) else { throw CommandError(.usage, "--takes \(takes): expected 1 to 100") }
        guard takes == 1 || noise > 0 || variety > 0 else {
            throw CommandError(
                .usage,
                "--takes \(takes): without --noise or --variety all episodes from one init state are the same")
        }
        guard seed >= 0 else { throw CommandError(.usage, "--seed \(seed): expected a whole number from 0") }
        let environment = try SimulationEnvironment()
        Interruption.install()
        try environment.prepare(isAgreed: setUp.yes)
        let status = try environment.run(
            script: "record.py",
            selection.arguments + [
                "--episodes", "\(episodes)", "--takes", "\(takes)", "--out", out, "--noise", "\(noise)", "--variety",
                "\(variety)",
                "--processes", "\(workers)", "--seed", "\(seed)",
            ])
        if status != 0 { throw ExitCode(status) }
    }
}
