import Formats
import Foundation
import Processes
import Training

/// The runs of an ablation in order, and what became of them.
package final class AblationSession {
    private let runner: AblationRunner
    private let rows: [AblationGrid.Row]
    private let seeds: [UInt64]
    private let say: (String) -> Void
    package private(set) var failures: [String] = []
    package private(set) var isStopped = false

    /// - Parameter say: takes the lines that a user is to see.
    package init(
        runner: AblationRunner, rows: [AblationGrid.Row], seeds: [UInt64], say: @escaping (String) -> Void
    ) {
        self.say = say
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
    package func tryRows() throws {
        let unknown = rows.filter { !missing($0).isEmpty && runner.estimate($0, seeds: seeds) == nil }
        guard !unknown.isEmpty, let seed = seeds.first else { return }
        say("trying \(unknown.count) of \(rows.count) rows for five steps")
        for row in unknown where !Interruption.isRequested {
            if case .failed(let reason) = try runner.trial(row, seed: seed) { say("  \(row.title): \(reason)") }
        }
    }

    package func printSchedule() {
        let width = rows.map { $0.title.count }.max() ?? 0
        for row in rows {
            let left = missing(row).count
            let estimate = runner.estimate(row, seeds: seeds)
            let each = estimate.map { "\(Self.duration($0)) each" } ?? "not yet known how long"
            let title = row.title + String(repeating: " ", count: width - row.title.count)
            for seed in seeds {
                let changes = runner.changes(row, seed)
                if !changes.isEmpty {
                    say(
                        "  \(row.title), seed \(seed): runs again, as these changed: \(changes.joined(separator: ", "))"
                    )
                }
            }
            say(
                "  \(title)  \(seeds.count - left)/\(seeds.count) done, \(left) to run" + (left > 0 ? ", \(each)" : ""))
        }
        let runs = rows.reduce(0) { $0 + missing($1).count }
        let isKnown = rows.allSatisfy { missing($0).isEmpty || runner.estimate($0, seeds: seeds) != nil }
        let time = secondsLeft > 0 ? ", \(isKnown ? "about" : "at least") \(Self.duration(secondsLeft))" : ""
        say("\(runs) of \(rows.count * seeds.count) runs to do\(runs > 0 ? time : ""), in \(runner.folder)")
    }

    /// Seed by seed, so that a stopped ablation has whole seeds to compare.
    package func runAll() throws {
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
                say("\(name): \(measures.joined(separator: ", ")) in \(Self.duration(result.seconds))\(left)")
            case .failed(let reason):
                failures.append("\(row.title), seed \(seed): \(reason)")
                say("\(name): failed: \(reason)")
            case .stopped:
                isStopped = true
                say("\(name): stopped; the same command goes on from here")
                return
            }
        }
    }

    /// Prints the table of what is done, and keeps it.
    package func report() throws {
        let table = AblationTable(
            rows: rows.map { row in
                let runs = seeds.compactMap { seed in runner.result(row, seed).map { (seed, $0.measures) } }
                return .init(title: row.title, runs: Dictionary(uniqueKeysWithValues: runs), wanted: seeds.count)
            })
        say("\n\(table.text)\n")
        for (name, text) in [("table.txt", table.text + "\n"), ("table.csv", table.csv), ("table.tex", table.latex)] {
            try AtomicFile.write(text, to: "\(runner.folder)/\(name)")
        }
        say("\(runner.folder)/table.txt, table.csv, table.tex")
        if !failures.isEmpty {
            say("\n\(failures.count) of \(rows.count * seeds.count) runs failed; the same command tries them again:")
            for failure in failures { say("  \(failure)") }
        }
    }

    package static func duration(_ seconds: Double) -> String {
        let total = Int(min(max(seconds, 0), 3_599_999).rounded())
        if total >= 3600 { return "\(total / 3600) h \(total / 60 % 60) min" }
        return total >= 60 ? "\(total / 60) min \(total % 60) s" : "\(total) s"
    }
}
