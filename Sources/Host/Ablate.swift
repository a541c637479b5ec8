import ArgumentParser
import Experiments
import Formats
import Foundation
import PluginRuntime
import Processes
import Training

struct Ablate: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Train plugin combinations x settings x seeds, and compare them in one table.",
        discussion: """
            craft ablate paper --out runs/paper
            craft ablate GRID.yaml --dry-run
            craft ablate --combos "BaselineL1; BaselineL1+AnchorVariants" --seeds 0,1,2 --out runs/quick -- --steps 50

            Shows first what will run and how long. The same command takes up where a kill left it and never runs again what \
            is done with the same craft, plugins, model and data; a run that fails is listed and the others go on. What stands after -- goes to every craft train. The \
            table, with differences to the first row seed by seed, is printed and kept as table.txt, table.csv and table.tex.

            Exit codes: 0 all done, 1 some runs failed, 2 wrong input, 130 stopped by Ctrl-C.
            """)

    @Argument(help: ArgumentHelp("YAML file, or paper for the ablation of the CRaFT paper.", valueName: "grid"))
    var grid: String?

    @Option(help: ArgumentHelp("Combinations instead of a grid: A; A+B; full = A+B:key=value.", valueName: "list"))
    var combos: String?

    @Option(help: ArgumentHelp("Seeds, separated by commas. Default: the grid's, or 0.", valueName: "list"))
    var seeds: String?

    @OptionGroup var assignments: SettingAssignments

    @Option(
        help: ArgumentHelp(
            "Folder of the runs and the table. Default: runs/ablate and the grid's name.", valueName: "folder"))
    var out: String?

    @Flag(help: "Only show what would run and how long.")
    var dryRun = false

    @Flag(inversion: .prefixedNo, help: "Try every row for five steps first, to tell how long it takes.")
    var trial = true

    @Argument(parsing: .postTerminator, help: ArgumentHelp("Flags for every craft train.", valueName: "flags"))
    var train: [String] = []

    func run() throws {
        let (grid, name) = try read()
        let rows = try grid.rows()
        let runner = try AblationRunner(folder: out ?? "runs/ablate-\(name)") {
            try Train.parse($0).options.settings()
        }
        Interruption.install()
        let session = AblationSession(runner: runner, rows: rows, seeds: grid.seeds) { print($0) }
        if trial { try session.tryRows() }
        session.printSchedule()
        if Interruption.isRequested { throw ExitCode(130) }
        if dryRun { return }
        try session.runAll()
        try session.report()
        if session.isStopped { throw ExitCode(130) }
        if !session.failures.isEmpty { throw ExitCode(1) }
    }

    private func read() throws -> (AblationGrid, name: String) {
        var result: AblationGrid
        let name: String
        switch (grid, combos) {
        case (let path?, nil):
            let shipped = Installation.assets + "/grids/\(path).yaml"
            let isShipped =
                !path.contains("/") && !path.contains(".") && FileManager.default.fileExists(atPath: shipped)
            result = try AblationFile.read(isShipped ? shipped : path)
            name = URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent
        case (nil, let combos?):
            result = AblationGrid(combinations: try AblationGrid.combinations(parsing: combos))
            name = "combos"
        default:
            throw CommandError(.usage, "give either a grid (a YAML file, or paper) or --combos \"A; A+B\"")
        }
        if let seeds {
            result.seeds = try seeds.split(separator: ",", omittingEmptySubsequences: false).map { text in
                guard let seed = UInt64(text.trimmingCharacters(in: .whitespaces)) else {
                    throw CommandError(.usage, "--seeds '\(seeds)': a seed is a whole number from 0; write 0,1,2")
                }
                return seed
            }
        }
        result.overrides = try Self.flags(train) + assignments.texts.map(Self.flag(setting:))
        return (result, name)
    }

    /// `PLUGIN.key=value` as the grid takes it.
    private static func flag(setting text: String) throws -> AblationGrid.Flag {
        let assignment = try PluginAssignment(parsing: text)
        return .init("\(assignment.instance).\(assignment.key)", assignment.value)
    }

    /// `--name value`, `--name=value` and `--switch` as the grid takes them.
    private static func flags(_ arguments: [String]) throws -> [AblationGrid.Flag] {
        var flags: [AblationGrid.Flag] = []
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            guard argument.hasPrefix("--") else {
                throw CommandError(.usage, "'\(argument)' after -- is not a flag of craft train; write --name value")
            }
            let text = argument.dropFirst(2)
            if text == "set", let value = rest.popFirst() {
                flags.append(try flag(setting: value))
            } else if text.hasPrefix("set=") {
                flags.append(try flag(setting: String(text.dropFirst(4))))
            } else if let equals = text.firstIndex(of: "=") {
                flags.append(.init(String(text[..<equals]), String(text[text.index(after: equals)...])))
            } else if let value = rest.first, !value.hasPrefix("--") {
                flags.append(.init(String(text), value))
                rest.removeFirst()
            } else {
                let isOff = text.hasPrefix("no-")
                flags.append(.init(String(isOff ? text.dropFirst(3) : text), isOff ? "false" : "true", isSwitch: true))
            }
        }
        return flags
    }
}
