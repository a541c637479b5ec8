import Foundation
import TestSupport
import Testing

extension HostTests {
    /// Plugins that reach beyond their hooks: into the process, its end, or each other.
    @Suite struct HostilePluginTests {
        let folder: TemporaryFolder
        init() throws { folder = try TemporaryFolder() }

        private static let include = BuildFolder.repository.appendingPathComponent("Sources/PluginAPI/include").path

        private func compile(_ compiler: [String], _ source: String, to path: String, _ more: [String] = []) throws
            -> String
        {
            let result = try Command.run(
                compiler + ["-O1", "-fPIC", "-shared", "-I", Self.include, source, "-o", path, "-lm"] + more)
            try #require(result.status == 0, "\(result.output)")
            return path
        }

        /// A plugin of `BadPlugins`.
        private func build(_ name: String) throws -> String {
            try compile(
                ["cc", "-std=gnu99", "-fvisibility=hidden"],
                BuildFolder.repository.appendingPathComponent("Tests/Host/BadPlugins/\(name).c").path,
                to: folder.path("lib\(name).so"))
        }

        private func train(
            _ plugins: String, steps: Int = 4, out: String = "run", _ environment: [String: String] = [:]
        ) throws -> Command.Result {
            try Command.run(
                [BuildFolder.craft]
                    + CraftCommand.trainArguments(plugins, steps: steps, out: folder.path(out), ["--batch-size", "1"]),
                environment: CraftCommand.environment.merging(environment) { _, new in new })
        }

        // MARK: - What a process has only one of

        @Test(arguments: [
            ("folder", "gradient_combine hook, step 2", "it changed the working directory"),
            ("signals", "gradient_combine hook, step 1", "the handler of SIGINT and the handler of SIGTERM"),
            ("blocked", "gradient_combine hook, step 0", "the blocked signals"),
            ("locale", "gradient_combine hook, step 0", "the locale"),
            ("mask", "the plugin refuses these settings", "create: it changed the file mode mask"),
        ])
        func whatBelongsToTheHostIsLeftAlone(_ name: String, _ place: String, _ words: String) throws {
            let result = try train("BaselineL1,\(try build(name))")
            #expect(result.status == 2, "\(result.output)")
            #expect(
                result.standardError.contains(place) && result.standardError.contains(words), "\(result.standardError)")
            #expect(result.standardError.contains(name))
        }

        /// How a plugin computes is its own affair: the run's numbers are those of the same plugin without it.
        @Test(arguments: ["arithmetic", "opening"]) func theHostsArithmeticStaysAsItIs(_ name: String) throws {
            let plain = try train("BaselineL1,AnchorVariants", out: "plain")
            #expect(plain.status == 0, "\(plain.output)")
            let result = try train("BaselineL1,AnchorVariants,\(try build(name))", out: "other")
            #expect(result.status == 0, "\(result.output)")
            let models = try ["plain", "other"].map {
                try Data(
                    contentsOf: URL(fileURLWithPath: folder.path($0) + "/checkpoints/step-000004/model.safetensors"))
            }
            #expect(models[0] == models[1])
        }

        // MARK: - Ends

        @Test(arguments: [
            ("opening", "opening it"), ("entry", "craft_plugin_entry"), ("create", "plugin crash, create"),
            ("plan", "plugin crash, plan hook"), ("save", "plugin crash, save"),
            ("thread", "plugin crash, gradient_combine hook, step 2"),
        ])
        func aCrashIsNamedWhereverItIs(_ place: String, _ words: String) throws {
            let result = try train("BaselineL1,\(try build("crash"))", ["CRASH": place])
            #expect(result.status == SIGSEGV || result.status == 128 + SIGSEGV, "\(result.output)")
            #expect(result.standardError.contains("\(words): crashed with SIGSEGV"), "\(result.standardError)")
            #expect(
                result.standardError.contains("on a thread of its own") == (place == "thread"),
                "\(result.standardError)")
        }

        @Test func aCrashInPlanAndCallIsNamed() throws {
            let path = try build("crash")
            for arguments in [
                ["plan", "--plugins", "BaselineL1,\(path)"], ["plugins", "call", path, "plan", "--json", "-"],
            ] {
                let input = folder.path("input.json")
                try Data("{}".utf8).write(to: URL(fileURLWithPath: input))
                let result = try Command.run(
                    [BuildFolder.craft] + arguments.map { $0 == "-" ? input : $0 },
                    environment: CraftCommand.environment.merging(["CRASH": "plan"]) { _, new in new })
                #expect(result.standardError.contains("crash, plan hook"), "\(result.output)")
                #expect(result.standardError.contains("crashed with SIGSEGV"), "\(result.output)")
            }
        }

        /// After ten seconds a line says who is waited for, before the first step too.
        @Test func aPlanThatHangsIsNamed() throws {
            let result = try Command.run(
                ["timeout", "-k", "1", "14", BuildFolder.craft]
                    + CraftCommand.trainArguments("BaselineL1,\(try build("crash"))", steps: 1, out: folder.path("run")),
                environment: CraftCommand.environment.merging(["HANG": "plan"]) { _, new in new })
            #expect(result.status != 0, "\(result.output)")
            #expect(
                result.standardError.contains("plugin crash, plan hook, has been running for 1"),
                "\(result.output)")
        }

        /// `exit` in a hook is no success, whatever its status says.
        @Test func exitInAHookIsNoSuccess() throws {
            let path = try build("crash")
            for status in ["0", "7"] {
                let result = try train("BaselineL1,\(path)", out: "run\(status)", ["EXIT": status])
                #expect(result.status == 2, "\(result.output)")
                let words =
                    "plugin crash, gradient_combine hook, step 2: it ended the process with exit status \(status)"
                #expect(result.standardError.contains(words), "\(result.standardError)")
                #expect(!CraftCommand.exists(folder.path("run\(status)/done.json")))
            }
        }

        /// An ablation asks the run itself whether it was done: `_exit` leaves no other trace.
        @Test(arguments: ["EXIT", "PLAIN_EXIT"]) func anAblationTakesNoExitForADoneRun(_ variable: String) throws {
            let result = try Command.run(
                [
                    BuildFolder.craft, "ablate", "--combos",
                    "plain = BaselineL1; bad = BaselineL1+\(try build("crash"))",
                    "--seeds", "0", "--out", folder.path("out"), "--no-trial", "--", "--batch-size", "1", "--questions",
                    "none",
                    "--hold-out-every", "0", "--steps", "4",
                ], environment: CraftCommand.environment.merging([variable: "0"]) { _, new in new })
            #expect(result.status == 1, "\(result.output)")
            #expect(
                result.output.contains("1 of 2 runs failed") && result.output.contains("bad, seed 0:"),
                "\(result.output)")
            let words = variable == "EXIT" ? "it ended the process with exit status 0" : "before the run was done"
            #expect(result.output.contains(words), "\(result.output)")
            let table = try String(contentsOfFile: folder.path("out/table.txt"), encoding: .utf8)
            #expect(table.contains("plain") && !table.contains("bad 1/1"), "\(table)")
        }

        /// A run that is done is done: what a plugin's threads and destructors do at the process's end changes nothing.
        @Test(arguments: ["", "~Logger() { thread.join(); } "]) func threadsLeftBehindDoNotUndoARun(
            _ destructor: String
        ) throws {
            let source = folder.path("logger.cc")
            try Data(
                """
                #include <craft_plugin.h>
                #include <chrono>
                #include <thread>
                struct Logger {
                    std::thread thread;
                    \(destructor)
                    Logger() : thread([] { for (;;) std::this_thread::sleep_for(std::chrono::seconds(1)); }) {}
                };
                #define IN(X) X(i64, step, "step", "")
                CRAFT_HOOK(count, IN, CRAFT_NONE) { static Logger logger; return step < 0; }
                static craft_hook hooks[] = {CRAFT_HOOK_ENTRY("post_step", count)};
                static const craft_plugin plugin = {CRAFT_PLUGIN_HEADER(0), "org.example.logger", "1.0.0", "Logs.",
                    CRAFT_NO_TABLE(craft_parameter), CRAFT_TABLE(hooks), NULL, NULL, NULL, NULL, NULL, NULL};
                CRAFT_PLUGIN_ENTRY(plugin, hooks)
                """.utf8
            ).write(to: URL(fileURLWithPath: source))
            let path = try compile(
                ["c++", "-std=c++17", "-fvisibility=hidden"], source, to: folder.path("libLogger.so"), ["-lpthread"])
            let result = try Command.run(
                ["timeout", "-k", "1", "60", BuildFolder.craft]
                    + CraftCommand.trainArguments("BaselineL1,\(path)", steps: 2, out: folder.path("run")),
                environment: CraftCommand.environment)
            #expect(result.status == 0, "\(result.output)")
            #expect(result.standardOutput.contains("done: step 2"), "\(result.output)")
            #expect(CraftCommand.exists(folder.path("run/done.json")))
        }

        // MARK: - Each other

        private func scale(_ source: String, _ name: String, id: String) -> String {
            """
            #include <craft_plugin.h>
            \(source)
            #define IN(X) X(f64_array, weights, "weights", "[k,m]")
            #define OUT(X) X(f64_array, out, "weights", "[k,m]")
            CRAFT_HOOK(scale, IN, OUT) {
                for (int64_t i = 0; i < craft_count(weights); i++) craft_write_f64(out)[i] = craft_read_f64(weights)[i] * \(name);
                return CRAFT_OK;
            }
            static craft_hook hooks[] = {CRAFT_HOOK_ENTRY("gradient_combine", scale)};
            static const craft_plugin plugin = {CRAFT_PLUGIN_HEADER(0), "org.example.\(id)", "1.0.0", "Scales.",
                CRAFT_NO_TABLE(craft_parameter), CRAFT_TABLE(hooks), NULL, NULL, NULL, NULL, NULL, NULL};
            CRAFT_PLUGIN_ENTRY(plugin, hooks)
            """
        }

        /// Two plugins, each with a library of its own beside it, of one soname: the linker would give both the first.
        @Test func librariesOfOneSonameAreRefused() throws {
            var paths: [String] = []
            for factor in [2, 3] {
                let place = folder.path("\(factor)")
                try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
                let helper = place + "/helper.c"
                try Data("double helper_factor(void); double helper_factor(void) { return \(factor); }".utf8)
                    .write(to: URL(fileURLWithPath: helper))
                _ = try compile(["cc"], helper, to: place + "/libhelper.so.1", ["-Wl,-soname,libhelper.so.1"])
                try FileManager.default.createSymbolicLink(
                    atPath: place + "/libhelper.so", withDestinationPath: "libhelper.so.1")
                let source = place + "/scale.c"
                try Data(scale("double helper_factor(void);", "helper_factor()", id: "h\(factor)").utf8)
                    .write(to: URL(fileURLWithPath: source))
                paths.append(
                    try compile(
                        ["cc", "-fvisibility=hidden"], source, to: place + "/libH\(factor).so",
                        ["-L" + place, "-lhelper", "-Wl,-rpath,$ORIGIN"]))
            }
            let both = try train("BaselineL1,\(paths[0]),\(paths[1])")
            #expect(both.status == 2, "\(both.output)")
            for words in ["libhelper.so.1", "/2/", "/3/", "another one of that name"] {
                #expect(both.standardError.contains(words), "\(both.standardError)")
            }
            // One alone runs, and its library is part of what the run is recorded with.
            let one = try train("BaselineL1,\(paths[0])", out: "one")
            #expect(one.status == 0, "\(one.output)")
            let plan = try String(contentsOfFile: folder.path("one/plan.json"), encoding: .utf8)
            #expect(plan.contains("libhelper.so.1"), "\(plan)")
            let inspected = try CraftCommand.run(["plugins", "inspect", paths[0]])
            #expect(inspected.output.contains("brings libhelper.so.1, SHA-256: "), "\(inspected.output)")
            // Another library under the same name is another plugin.
            try FileManager.default.removeItem(atPath: folder.path("2/libhelper.so.1"))
            try FileManager.default.copyItem(
                atPath: folder.path("3/libhelper.so.1"), toPath: folder.path("2/libhelper.so.1"))
            let resumed = try CraftCommand.run(["train", "--resume", folder.path("one"), "--steps", "5", "--quiet"])
            #expect(
                resumed.status == 2 && resumed.output.contains("libhelper.so.1, which H2 brings, changed"),
                "\(resumed.output)")
        }

        /// A static member of a template, in two plugins compiled without hidden visibility: a process has one of it.
        @Test func uniqueVariablesAreRefused() throws {
            let paths = try [2, 3].map { factor in
                let source = folder.path("unique\(factor).cc")
                try Data(
                    scale(
                        "template <class T> struct Scale { static inline T factor = T(\(factor)); };",
                        "Scale<double>::factor",
                        id: "u\(factor)"
                    ).utf8
                ).write(to: URL(fileURLWithPath: source))
                return try compile(["g++", "-std=c++17"], source, to: folder.path("libU\(factor).so"))
            }
            let both = try train("BaselineL1,\(paths[0]),\(paths[1])")
            #expect(both.status == 2, "\(both.output)")
            for words in ["_ZN5ScaleIdE6factorE", "STB_GNU_UNIQUE", "libU2.so", "libU3.so", "-fvisibility=hidden"] {
                #expect(both.standardError.contains(words), "\(both.standardError)")
            }
            #expect(try train("BaselineL1,\(paths[0])", out: "one").status == 0)
            let check = try CraftCommand.run(["plugins", "check", paths[0], "--only", "symbols"])
            #expect(check.status == 1 && check.output.contains("STB_GNU_UNIQUE"), "\(check.output)")
        }
    }
}
