import Foundation
import TestSupport
import Testing

extension HostTests {
    /// `craft plugins check` on plugins that are bad in one way each, and on those that ship.
    @Suite struct ValidatorTests {
        /// File, the check that catches it, words in its message: flaws that end the process, or are seen between two. Tests/Conformance
        /// has the others.
        private static let bad: [(String, String, [String])] = [
            ("load", "load", ["signature hash", "gradient_combine", "CRAFT_HOOK"]),
            ("scan", "scan", ["opening it took", "more than 100"]),
            ("settings", "settings", ["SIGFPE", "gradient_combine"]),
            ("random", "random", ["SIGSEGV", "NULL", "m = 3", "random input"]),
            ("abort", "zero", ["SIGABRT", "zero input"]),
            ("exit", "huge", ["gradient_combine hook", "ended the process with exit status 0"]),
            ("hang", "nan", ["time limit"]),
            ("determinism", "determinism", ["two fresh instances", "weights"]),
            ("process", "determinism", ["two processes"]),
            ("bounds_end", "bounds", ["SIGSEGV", "byte 1 past the end of input 'gram'"]),
            ("bounds_start", "bounds", ["SIGSEGV", "before the start of input 'weights'"]),
            ("bounds_write", "bounds", ["SIGSEGV", "past the end of result 'weights'"]),
            ("read-only", "read-only", ["SIGSEGV", "read-only input 'gram'"]),
            ("damaged-state", "damaged-state", ["SIGSEGV"]),
            ("leaks", "leaks", ["it leaks", "bytes of heap"]),
            ("thread", "leaks", ["a thread running after destroy", "'line-logger'"]),
            ("folder", "process", ["step 2", "the working directory"]),
            ("signals", "process", ["the handler of SIGINT, the handler of SIGTERM"]),
            ("blocked", "process", ["the blocked signals"]),
            ("mask", "process", ["create: it changed the file mode mask"]),
            ("locale", "process", ["the locale"]),
            ("arithmetic", "process", ["the floating-point environment"]),
            ("opening", "process", ["opening it changes the floating-point environment"]),
        ]

        private struct Report: Decodable {
            struct Check: Decodable {
                var check: String
                var status: String
                var message: String?
            }

            var passed: Bool
            var seed: UInt64
            var checks: [Check]
        }

        /// Compiles a plugin of `BadPlugins` and returns its path.
        private func build(_ name: String, in folder: TemporaryFolder) throws -> String {
            let source = BuildFolder.repository.appendingPathComponent("Tests/Host/BadPlugins/\(name).c").path
            let include = BuildFolder.repository.appendingPathComponent("Sources/PluginAPI/include").path
            let path = folder.path("lib\(name).so")
            let result = try Command.run([
                "cc", "-std=gnu99", "-Wall", "-Wextra", "-Werror", "-O1", "-fPIC", "-shared", "-fvisibility=hidden",
                "-I",
                include, source, "-o", path, "-lm",
            ])
            try #require(result.status == 0, "\(result.output)")
            return path
        }

        private func report(_ result: Command.Result) throws -> Report {
            try JSONDecoder().decode(Report.self, from: Data(result.standardOutput.utf8))
        }

        @Test(arguments: bad)
        func badPluginIsCaught(_ name: String, _ check: String, _ words: [String]) throws {
            let folder = try TemporaryFolder()
            let path = try build(name, in: folder)
            let limit = name == "hang" ? "2" : "30"
            let result = try CraftCommand.run([
                "plugins", "check", path, "--json", "--seed", "1", "--time-limit", limit, "--only", check,
            ])
            #expect(result.status == 1, "\(result.output)")
            let caught = try report(result).checks.first { $0.check == check }
            #expect(caught?.status == "failed", "\(result.output)")
            for word in words { #expect(caught?.message?.contains(word) == true, "\(name): \(caught?.message ?? "")") }
        }

        @Test func oneFlawFailsOneCheck() throws {
            let folder = try TemporaryFolder()
            let result = try CraftCommand.run(["plugins", "check", try build("results", in: folder), "--seed", "1"])
            #expect(result.status == 1)
            #expect(result.standardOutput.contains("1 of 20 checks failed: results"), "\(result.output)")
            #expect(result.standardOutput.contains("--seed 1"))
        }

        @Test func shippedPluginsPass() throws {
            let list = try CraftCommand.run(["plugins", "list"])
            let names = list.standardOutput.split(separator: "\n").compactMap { $0.split(separator: " ").first }
            #expect(names.count >= 5)
            let result = try CraftCommand.run(
                ["plugins", "check"] + names.map(String.init) + ["--json", "--seed", "1", "--time-limit", "120"])
            #expect(result.status == 0, "\(result.output)")
            let reports = try JSONDecoder().decode([Report].self, from: Data(result.standardOutput.utf8))
            #expect(reports.count == names.count && reports.allSatisfy(\.passed))
        }

        /// Several are checked in one go, each with its own result.
        @Test func severalAtOnce() throws {
            let folder = try TemporaryFolder()
            let arguments = ["Sum", try build("results", in: folder), "--seed", "1", "--only", "results,zero"]
            let text = try CraftCommand.run(["plugins", "check"] + arguments + ["--jobs", "2"])
            #expect(text.status == 1)
            #expect(text.standardOutput.contains("craft.Sum 1.0.0: all 3 checks passed"), "\(text.output)")
            #expect(text.standardOutput.contains("1 of 2 plugins failed: "), "\(text.output)")
            let json = try CraftCommand.run(["plugins", "check"] + arguments + ["--json", "--jobs", "1"])
            let reports = try JSONDecoder().decode([Report].self, from: Data(json.standardOutput.utf8))
            #expect(reports.map(\.passed) == [true, false])
            CraftCommand.expectRefusal(try CraftCommand.run(["plugins", "check", "Sum", "--jobs", "0"]), "--jobs")
        }

        @Test func whatIsNoPluginIsRefused() throws {
            let folder = try TemporaryFolder()
            let text = folder.path("libtext.so")
            try Data("no library".utf8).write(to: URL(fileURLWithPath: text))
            CraftCommand.expectRefusal(try CraftCommand.run(["plugins", "check", text, "--json"]), "ELF")
            CraftCommand.expectRefusal(
                try CraftCommand.run(["plugins", "check", folder.path("libnone.so"), "--json"]), "there is no file")
            let plain = folder.path("plain.c")
            try Data("int plain(void) { return 1; }\n".utf8).write(to: URL(fileURLWithPath: plain))
            let library = folder.path("libplain.so")
            #expect(try Command.run(["cc", "-shared", "-fPIC", plain, "-o", library]).status == 0)
            CraftCommand.expectRefusal(
                try CraftCommand.run(["plugins", "check", library, "--json"]), "craft_plugin_entry")
        }

        @Test func aCrashInTrainingIsReportedAndTheCheckpointIsWhole() throws {
            let folder = try TemporaryFolder()
            let path = try build("crash_in_training", in: folder)
            let run = folder.path("run")
            let result = try CraftCommand.run(
                CraftCommand.trainArguments("BaselineL1,\(path)", steps: 8, out: run, ["--save-every", "1"]))
            #expect(result.status == SIGSEGV || result.status == 128 + SIGSEGV, "\(result.output)")
            let words = "plugin crash_in_training, post_step hook, step 3: crashed with SIGSEGV"
            #expect(result.standardError.contains(words), "\(result.standardError)")
            #expect(result.standardError.contains("--resume \(run)"), "\(result.standardError)")
            let names = try FileManager.default.contentsOfDirectory(atPath: run + "/checkpoints")
            #expect(names.contains("step-000003") && !names.contains("step-000004"), "\(names)")
            try RunTests().expectWhole(run + "/checkpoints/step-000003")
        }
    }
}
