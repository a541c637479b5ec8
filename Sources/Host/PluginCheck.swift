import ArgumentParser
import Collectives
import Conformance
import Formats
import Foundation
import Glibc
import PluginRuntime
import Processes
import Training

extension Plugins {
    /// Validates a plugin; each check runs in a process of its own.
    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Validate a plugin: memory, values, state, leaks, what it says about itself.",
            discussion: """
                craft plugins check ./libMyRule.so
                craft plugins check MyRule:budget=0.1 --seed 7 --json
                craft plugins check build/*.so

                Each check runs in a process of its own with a time limit: a plugin that crashes or hangs fails that check.
                Values are made up from the seed, which is printed; the same seed makes the same ones.

                Exit codes: 0 every check passed, 1 some failed, 2 a file is no plugin.
                """)

        @Argument(
            help: ArgumentHelp("Plugin names or .so files, each with settings: NAME:key=value.", valueName: "plugin"))
        var plugins: [String]

        @Flag(help: "Print the result as JSON: an object for one plugin, a list of them for several.")
        var json = false

        @Option(help: ArgumentHelp("Seed of the values. Default: a new one each time.", valueName: "n"))
        var seed: UInt64?

        @Option(help: ArgumentHelp("Seconds that one check may take.", valueName: "s"))
        var timeLimit = 30.0

        @Option(help: ArgumentHelp("Only these checks, separated by commas. Default: all.", valueName: "checks"))
        var only: String?

        @Option(help: ArgumentHelp("Checks at a time. Default: the processors of the machine.", valueName: "n"))
        var jobs: Int?

        @Flag(help: "Run the checks in this process, for a debugger: the first crash ends them.")
        var inProcess = false

        @OptionGroup var assignments: SettingAssignments

        @OptionGroup var folders: PluginFolders

        func run() throws {
            guard timeLimit > 0, timeLimit <= 86400 else {
                throw CommandError(.usage, "--time-limit is \(timeLimit); give seconds between 0 and 86400")
            }
            let jobs = jobs ?? ProcessorMask.count
            guard (1...256).contains(jobs) else { throw CommandError(.usage, "--jobs is \(jobs); expected 1 to 256") }
            let checks = try selectedChecks()
            let seed = seed ?? UInt64.random(in: 0..<1_000_000_000)
            let search = folders.search
            let lists = try assignments.apply(to: plugins.map { try PluginRequest.parseList($0) })
            let processes = try lists.flatMap(\.self).map { request in
                var request = request
                request.name = try search.locate(request.name)
                return CheckProcess(
                    plugin: request.listText, path: request.name, seed: seed, timeLimit: timeLimit)
            }
            if inProcess { return try runInProcess(processes, checks) }
            let pool = CheckPool(jobs: jobs)
            // All are started; they are shown in the order in which they were named.
            let runs = processes.map { PendingValidation($0, checks: checks, pool: pool) }
            let reports = try runs.map { run in
                if !json { print("\(run.path), seed \(seed) (--seed \(seed) makes the same values again)") }
                let report = try run.report { if !json { print(Self.text($0)) } }
                if !json { print(Self.summary(report) + (runs.count > 1 ? "\n" : "")) }
                return report
            }
            if json {
                print(try reports.count == 1 ? JSONText.document(reports[0]) : JSONText.document(reports))
            } else if reports.count > 1 {
                let failed = reports.filter { !$0.passed }
                print(
                    failed.isEmpty
                        ? "all \(reports.count) plugins passed"
                        : "\(failed.count) of \(reports.count) plugins failed: \(failed.map(\.plugin).joined(separator: ", "))"
                )
            }
            if !reports.allSatisfy(\.passed) { throw ExitCode(1) }
        }

        /// Every check here, one after the other, with its line as soon as it is over.
        private func runInProcess(_ processes: [CheckProcess], _ checks: [PluginCheck]) throws {
            var hasPassed = true
            for process in processes {
                var report = ValidationReport(process)
                guard let request = try PluginRequest.parseList(process.plugin).first else { continue }
                print("\(process.path), seed \(process.seed), in this process")
                for check in PluginCheck.allCases where check == .load || checks.contains(check) {
                    let message = check.message(of: request, seed: process.seed)
                    print(Self.text(report.add(check, message, seconds: 0)))
                    if check == .load, !report.passed { break }
                }
                print(Self.summary(report))
                hasPassed = hasPassed && report.passed
            }
            if !hasPassed { throw ExitCode(1) }
        }

        private static func summary(_ report: ValidationReport) -> String {
            let failed = report.checks.filter { $0.status == .failed }
            let name = report.id.map { "\($0) \(report.version ?? "")" } ?? report.plugin
            return failed.isEmpty
                ? "\(name): all \(report.checks.count) checks passed"
                : "\(name): \(failed.count) of \(report.checks.count) checks failed: "
                    + failed.map(\.check).joined(separator: ", ")
        }

        private func selectedChecks() throws -> [PluginCheck] {
            guard let only else { return PluginCheck.allCases }
            return try only.split(separator: ",").map { name in
                guard let check = PluginCheck(rawValue: String(name)) else {
                    let known = PluginCheck.allCases.map(\.rawValue).joined(separator: ", ")
                    throw CommandError(.usage, "there is no check '\(name)'; there are \(known)")
                }
                return check
            }
        }

        private static func text(_ line: CheckReport) -> String {
            func padded(_ text: String, _ width: Int) -> String {
                text.padding(toLength: max(width, text.count), withPad: " ", startingAt: 0)
            }
            let word = ["passed": "ok", "failed": "FAILED", "skipped": "skipped"][line.status.rawValue] ?? ""
            var text = "\(padded(word, 7)) \(padded(line.check, 13)) \(line.title)"
            if let message = line.message {
                text += line.status == .failed ? "\n        \(message)" : " (\(message))"
            }
            return text
        }
    }

    /// One check, in this process. Started by ``Check``; useful by hand under a debugger.
    struct RunCheck: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "run-check", abstract: "Run one check of craft plugins check in this process.",
            shouldDisplay: false)

        @Argument var check: String
        @Argument var plugin: String
        @Option var seed: UInt64 = 0
        @Option var result: String?

        func run() throws {
            guard let check = PluginCheck(rawValue: check) else {
                let known = PluginCheck.allCases.map(\.rawValue).joined(separator: ", ")
                throw CommandError(.usage, "there is no check '\(check)'; there are \(known)")
            }
            guard let request = try PluginRequest.parseList(plugin).first else {
                throw CommandError(.usage, "no plugin is given")
            }
            Self.limitResources()
            CrashReport.install(advice: "")
            let message = check.message(of: request, seed: seed)
            if let result {
                try AtomicFile.write([UInt8](try JSONEncoder().encode(message)), to: result)
            } else {
                print(message.problem ?? message.note ?? "passed")
            }
            // The plugin's own exit handlers are not what is checked.
            fflush(nil)
            _exit(message.problem == nil ? 0 : 1)
        }

        /// No core dumps, and a limit on memory: a plugin that allocates without end shall not take the machine along.
        private static func limitResources() {
            var none = rlimit(rlim_cur: 0, rlim_max: 0)
            setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
            let memory: rlim_t = 4 << 30
            var some = rlimit(rlim_cur: memory, rlim_max: memory)
            setrlimit(__rlimit_resource_t(RLIMIT_DATA.rawValue), &some)
        }
    }
}
