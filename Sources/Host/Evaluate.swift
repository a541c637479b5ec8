import ArgumentParser
import Collectives
import Formats
import Foundation
import Processes
import Simulation
import Training

struct Evaluate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "eval",
        abstract: "Measure a policy's success rate in the LIBERO simulator.",
        discussion: """
            craft eval --checkpoint runs/a --suite libero_spatial --tasks 0,8 --trials 20 --first-init 30

            Starts craft serve on the checkpoint and the simulator, and follows the official protocol: trial k begins from init \
            state k, ten steps to settle, at most 220 (spatial), 280 (object), 300 (goal) or 520 (10) steps. Success per task \
            comes with its 95 % Wilson interval. OUT is written after every episode, and the same command goes on from there. \
            --address evaluates a server that runs already and speaks the openpi policy protocol.

            Exit codes: 0 done, 2 wrong input or a server that failed, 130 stopped by Ctrl-C.
            """)

    @Option(help: "The run, or one of its checkpoints.")
    var checkpoint: String?

    @Flag(help: "Evaluate the moving average of the weights, which a run with --ema saves beside them.")
    var average = false

    @Option(
        help: ArgumentHelp(
            "Folder of the base model of an adapter. Default: the one that the run names.", valueName: "folder"))
    var base: String?

    @Option(help: ArgumentHelp("A running policy server instead of a checkpoint.", valueName: "ws://host:port"))
    var address: String?

    @Option(help: "libero_spatial, libero_object, libero_goal or libero_10.")
    var suite: String

    @Option(help: ArgumentHelp("Numbers of tasks, separated by commas. Default: all ten.", valueName: "list"))
    var tasks: String?

    @Option(help: "Episodes per task.")
    var trials = 50

    @Option(help: "The init state of the first trial; a task has 0 to 49.")
    var firstInit = 0

    @Option(help: "Actions executed of each chunk before the policy is asked again. Default: all.")
    var execute: Int?

    @Option(help: "Simulators at a time. Default: one per core.")
    var processes: Int?

    @Option(help: ArgumentHelp("Folder for a GIF of every episode.", valueName: "folder"))
    var video: String?

    @Option(
        help: ArgumentHelp(
            "Results. Default: CHECKPOINT/eval-SUITE.json, or eval-SUITE.json; eval-SUITE-average.json with --average.",
            valueName: "file"))
    var out: String?

    @Option(
        help: ArgumentHelp(
            "What tells the policy at --address from others, where its server does not say (craft's does): results are continued under the same only.",
            valueName: "text"))
    var identity: String?

    @Option(help: ArgumentHelp("Seconds that an answer of the server may take. Default: 120.", valueName: "seconds"))
    var timeout: Double?

    @OptionGroup var setUp: SimulationSetUp

    func run() throws {
        let selection = try SimulationTasks(
            suite: suite, tasks: tasks, episodes: trials, option: "--trials", firstInit: firstInit)
        if let execute, !(1...1000).contains(execute) {
            throw CommandError(.usage, "--execute \(execute): expected a number of actions from 1 to 1000")
        }
        guard !average || address == nil else {
            throw CommandError(
                .usage,
                "--average is for --checkpoint; start the server of --address with craft serve --average")
        }
        guard base == nil || address == nil else {
            throw CommandError(
                .usage, "--base is for --checkpoint; start the server of --address with craft serve --base")
        }
        if let timeout, !(timeout > 0 && timeout <= 86_400) {
            throw CommandError(.usage, "--timeout \(timeout): expected a number of seconds above 0, at most 86400")
        }
        let workers = processes ?? ProcessorMask.count
        guard (1...256).contains(workers) else {
            throw CommandError(.usage, "--processes \(workers): expected 1 to 256")
        }
        switch (checkpoint, address) {
        case (let path?, nil):
            var isFolder: ObjCBool = false
            guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue else {
                throw CommandError(
                    .missingFile, "--checkpoint '\(path)': there is no such folder; give a run's or a checkpoint's")
            }
        case (nil, let address?):
            guard let url = URL(string: address), url.scheme == "ws" || url.scheme == "wss", url.host != nil else {
                throw CommandError(.usage, "--address '\(address)': expected ws://HOST:PORT")
            }
        default:
            throw CommandError(.usage, "give either --checkpoint RUN or the --address of a running server")
        }
        // One checkpoint for all of it, under its own name: a run grows, and results of another are not to be continued.
        let served = try checkpoint.map { try CheckpointFolders.model(in: $0, isAveraged: average) }
        let environment = try SimulationEnvironment()
        Interruption.install()
        let server = try served.map { try ServeProcess(checkpoint: $0, base: base) }
        defer { server?.stop() }
        // After the server: a checkpoint that cannot be served needs no simulator.
        try environment.prepare(isAgreed: setUp.yes)
        var arguments =
            selection.arguments + [
                "--trials", "\(trials)", "--processes", "\(workers)", "--address", server?.address ?? address ?? "",
                "--policy", served.map { URL(fileURLWithPath: $0).standardizedFileURL.path } ?? address ?? "",
                "--out", out ?? (checkpoint.map { $0 + "/" } ?? "") + "eval-\(suite)\(average ? "-average" : "").json",
            ]
        if let execute { arguments += ["--execute", "\(execute)"] }
        if let identity { arguments += ["--identity", identity] }
        if let timeout { arguments += ["--limit", "\(timeout)"] }
        if let video { arguments += ["--video", video] }
        let status = try environment.run(script: "evaluate.py", arguments)
        if status != 0 {
            server?.stop()
            throw ExitCode(status)
        }
    }
}
