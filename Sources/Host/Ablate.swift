import ArgumentParser
import Foundation
import PluginRuntime
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
        let runner = try AblationRunner(folder: out ?? "runs/ablate-\(name)")
        Interruption.install()
        let session = AblationSession(runner: runner, rows: rows, seeds: grid.seeds)
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
            throw TrainingError("give either a grid (a YAML file, or paper) or --combos \"A; A+B\"")
        }
        if let seeds {
            result.seeds = try seeds.split(separator: ",", omittingEmptySubsequences: false).map { text in
                guard let seed = UInt64(text.trimmingCharacters(in: .whitespaces)) else {
                    throw TrainingError("--seeds '\(seeds)': a seed is a whole number from 0; write 0,1,2")
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
                throw TrainingError("'\(argument)' after -- is not a flag of craft train; write --name value")
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

/// The runs of an ablation in order, and what became of them.
final class AblationSession {
    private let runner: AblationRunner
    private let rows: [AblationGrid.Row]
    private let seeds: [UInt64]
    private(set) var failures: [String] = []
    private(set) var isStopped = false

    init(runner: AblationRunner, rows: [AblationGrid.Row], seeds: [UInt64]) {
        self.runner = runner
        self.rows = rows
        self.seeds = seeds
    }

    private func missing(_ row: AblationGrid.Row) -> [UInt64] { seeds.filter { runner.result(row, $0) == nil } }

    /// Seconds that are left, as far as they are known.
    private var secondsLeft: Double {
        rows.reduce(0) { $0 + Double(missing($1).count) * (runner.estimate($1, seeds: seeds) ?? 0) }
    }

    /// Five steps of every row that has neither finished runs nor an earlier trial.
    func tryRows() throws {
        let unknown = rows.filter { !missing($0).isEmpty && runner.estimate($0, seeds: seeds) == nil }
        guard !unknown.isEmpty, let seed = seeds.first else { return }
        print("trying \(unknown.count) of \(rows.count) rows for five steps")
        for row in unknown where !Interruption.isRequested {
            if case .failed(let reason) = try runner.trial(row, seed: seed) { print("  \(row.title): \(reason)") }
        }
    }

    func printSchedule() {
        let width = rows.map { $0.title.count }.max() ?? 0
        for row in rows {
            let left = missing(row).count
            let estimate = runner.estimate(row, seeds: seeds)
            let each = estimate.map { "\(Self.duration($0)) each" } ?? "not yet known how long"
            let title = row.title + String(repeating: " ", count: width - row.title.count)
            for seed in seeds {
                let changes = runner.changes(row, seed)
                if !changes.isEmpty {
                    print(
                        "  \(row.title), seed \(seed): runs again, as these changed: \(changes.joined(separator: ", "))"
                    )
                }
            }
            print(
                "  \(title)  \(seeds.count - left)/\(seeds.count) done, \(left) to run" + (left > 0 ? ", \(each)" : ""))
        }
        let runs = rows.reduce(0) { $0 + missing($1).count }
        let isKnown = rows.allSatisfy { missing($0).isEmpty || runner.estimate($0, seeds: seeds) != nil }
        let time = secondsLeft > 0 ? ", \(isKnown ? "about" : "at least") \(Self.duration(secondsLeft))" : ""
        print("\(runs) of \(rows.count * seeds.count) runs to do\(runs > 0 ? time : ""), in \(runner.folder)")
    }

    /// Seed by seed, so that a stopped ablation has whole seeds to compare.
    func runAll() throws {
        let todo = seeds.flatMap { seed in rows.filter { runner.result($0, seed) == nil }.map { ($0, seed) } }
        for (index, (row, seed)) in todo.enumerated() {
            if Interruption.isRequested {
                isStopped = true
                return
            }
            let name = "[\(index + 1)/\(todo.count)] \(row.title), seed \(seed)"
            switch try runner.train(row, seed: seed) {
            case .done(let result):
                let measures = RunMeasures.columns.compactMap { column in
                    result.measures[column.title].map { "\(column.title) " + String(format: "%.\(column.digits)f", $0) }
                }
                let left = secondsLeft > 0 ? "; about \(Self.duration(secondsLeft)) left" : ""
                print("\(name): \(measures.joined(separator: ", ")) in \(Self.duration(result.seconds))\(left)")
            case .failed(let reason):
                failures.append("\(row.title), seed \(seed): \(reason)")
                print("\(name): failed: \(reason)")
            case .stopped:
                isStopped = true
                print("\(name): stopped; the same command goes on from here")
                return
            }
        }
    }

    /// Prints the table of what is done, and keeps it.
    func report() throws {
        let table = AblationTable(
            rows: rows.map { row in
                let runs = seeds.compactMap { seed in runner.result(row, seed).map { (seed, $0.measures) } }
                return .init(title: row.title, runs: Dictionary(uniqueKeysWithValues: runs), wanted: seeds.count)
            })
        print("\n\(table.text)\n")
        for (name, text) in [("table.txt", table.text + "\n"), ("table.csv", table.csv), ("table.tex", table.latex)] {
            try Data(text.utf8).write(to: URL(fileURLWithPath: "\(runner.folder)/\(name)"), options: .atomic)
        }
        print("\(runner.folder)/table.txt, table.csv, table.tex")
        if !failures.isEmpty {
            print("\n\(failures.count) of \(rows.count * seeds.count) runs failed; the same command tries them again:")
            for failure in failures { print("  \(failure)") }
        }
    }

    static func duration(_ seconds: Double) -> String {
        let total = Int(min(max(seconds, 0), 3_599_999).rounded())
        if total >= 3600 { return "\(total / 3600) h \(total / 60 % 60) min" }
        return total >= 60 ? "\(total / 60) min \(total % 60) s" : "\(total) s"
    }
}
