import ArgumentParser
import Foundation
import Glibc
import Models
import PluginRuntime
import Training

extension Plugins {
    /// Validates a plugin; each check runs in a process of its own.
    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Validate a plugin: memory, values, state, leaks, what it says about itself.",
            discussion: """
                craft plugins check ./libMyRule.so
                craft plugins check MyRule:budget=0.1 --seed 7 --json

                Each check runs in a process of its own with a time limit: a plugin that crashes or hangs fails that check.
                Values are made up from the seed, which is printed; the same seed makes the same ones.

                Exit codes: 0 every check passed, 1 some failed, 2 the file is no plugin.
                """)

        @Argument(help: ArgumentHelp("Plugin name or .so file, with settings: NAME:key=value.", valueName: "plugin"))
        var plugin: String

        @Flag(help: "Print the result as JSON.")
        var json = false

        @Option(help: ArgumentHelp("Seed of the values. Default: a new one each time.", valueName: "n"))
        var seed: UInt64?

        @Option(help: ArgumentHelp("Seconds that one check may take.", valueName: "s"))
        var timeLimit = 30.0

        @Option(help: ArgumentHelp("Folders to search first, separated by colons.", valueName: "folders"))
        var pluginPath: String?

        func run() throws {
            guard timeLimit > 0, timeLimit <= 86400 else {
                throw TrainingError("--time-limit is \(timeLimit); give seconds between 0 and 86400")
            }
            let requests = try PluginRequest.parseList(plugin)
            guard var request = requests.first, requests.count == 1 else {
                throw TrainingError("'\(plugin)' names \(requests.count) plugins; check takes one")
            }
            let path = try PluginSearch(paths: Installation.pluginPath(pluginPath)).locate(request.name)
            request.name = path
            let process = CheckProcess(
                plugin: request.listText, seed: seed ?? UInt64.random(in: 0..<1_000_000_000), timeLimit: timeLimit)
            if !json {
                print("\(path), seed \(process.seed) (--seed \(process.seed) makes the same values again)")
            }
            let report = try ValidationReport(process, path: path) { line in
                if !json { print(Self.text(line)) }
            }
            if json {
                let encoder = JSONEncoder()
                encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
                print(String(decoding: try encoder.encode(report), as: UTF8.self))
            } else {
                let failed = report.checks.filter { $0.status == .failed }
                let name = report.id.map { "\($0) \(report.version ?? "")" } ?? path
                print(
                    failed.isEmpty
                        ? "\(name): all \(report.checks.count) checks passed"
                        : "\(name): \(failed.count) of \(report.checks.count) checks failed: "
                            + failed.map(\.check).joined(separator: ", "))
            }
            if !report.passed { throw ExitCode(1) }
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
                throw TrainingError("there is no check '\(check)'; there are \(known)")
            }
            guard let request = try PluginRequest.parseList(plugin).first else {
                throw TrainingError("no plugin is given")
            }
            Self.limitResources()
            CrashReport.install(advice: "")
            let message = Self.message(check, request, seed)
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

        private static func message(_ check: PluginCheck, _ request: PluginRequest, _ seed: UInt64) -> CheckMessage {
            var message = CheckMessage()
            do {
                let start = ContinuousClock.now
                let library = try PluginLibrary(path: request.name)
                let milliseconds = Int((ContinuousClock.now - start) / .milliseconds(1))
                (message.id, message.version) = (library.id, library.version)
                if check == .scan && milliseconds > PluginCheck.scanMilliseconds {
                    throw CheckProblem(
                        "opening it took \(milliseconds) ms, more than \(PluginCheck.scanMilliseconds): "
                            + "move work from constructors and craft_plugin_entry into create")
                }
                let plugin = TrialPlugin(library: library, request: request, seed: seed)
                message.note = try check.run(plugin)
                if check == .determinism { message.digest = try ValueChecks.digest(plugin) }
            } catch let error as PluginLoadError {
                message.problem = error.description
                message.isNoPlugin =
                    [.missingFile, .notALibrary, .openFailed, .missingEntry].contains(error.cause)
            } catch {
                message.problem = "\(error)"
            }
            return message
        }
    }
}
