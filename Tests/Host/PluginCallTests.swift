import Foundation
import TestSupport
import Testing

extension HostTests {
    /// `craft plugins call`: values by name in, results in full precision out.
    @Suite struct PluginCallTests {
        private func call(_ plugin: String, _ hook: String, _ json: String) throws -> Command.Result {
            let folder = try TemporaryFolder()
            let path = folder.path("values.json")
            try Data(json.utf8).write(to: URL(fileURLWithPath: path))
            return try CraftCommand.run(["plugins", "call", plugin, hook, "--json", path])
        }

        private func object(_ result: Command.Result) throws -> [String: Any] {
            #expect(result.status == 0, "\(result.output)")
            let json = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
            return try #require(json as? [String: Any])
        }

        @Test func projectsAConflict() throws {
            // -dot / |r|^2 = 0.5 / 2 is added to the multiplier of the retention gradient.
            let result = try object(
                call(
                    "CRaFTProjection", "gradient_combine",
                    """
                    {"gram": [[[1, -0.5], [-0.5, 2]], [[1, 0.5], [0.5, 2]]], "weights": [[1, 0.3], [1, 0.3]],
                     "loss.action": 0.2}
                    """))
            let weights = try #require(result["weights"] as? [[Double]])
            #expect(weights == [[1, 0.55], [1, 0.3]])
            #expect(result["metric.conflict_ratio"] as? Double == 0.5)
        }

        /// A list of steps is printed as one; points may be written in several ways, and values in short.
        @Test(arguments: [
            ("UPGrad", "gradient-combine", #"{"gram": [[1, -1], [-1, 2]]}"#, #"{"weights": [1.0, 0.75]}"#),
            ("UPGrad", "combine", #"[{"gram": [[1, -1], [-1, 2]]}]"#, #"[{"weights": [1.0, 0.75]}]"#),
        ])
        func whatIsPrinted(_ plugin: String, _ hook: String, _ json: String, _ expected: String) throws {
            let result = try call(plugin, hook, json)
            #expect(result.standardOutput == expected + "\n", "\(result.output)")
        }

        @Test(arguments: [
            (#"{"gram": [[[1, 0], [0, 1]]], "weights": [[1, 1, 1]]}"#, ["axis", "m"]), ("{}", ["gram"]),
            (#"{"grm": 1}"#, ["grm", "gram: f64[k,m,m]"]), ("{", ["JSON"]),
        ])
        func wrongValuesAreNamed(_ json: String, _ words: [String]) throws {
            let result = try call("CRaFTProjection", "gradient_combine", json)
            CraftCommand.expectRefusal(result)
            for word in words { #expect(result.standardError.contains(word), "\(json): \(result.standardError)") }
        }

        /// Every strategy and rule on the pinned cases, as another program would try them.
        @Test func pinnedCasesThroughTheCommand() throws {
            let script = BuildFolder.repository.appendingPathComponent("scripts/check_strategies.py").path
            let result = try Command.run(["python3", script, "--craft", BuildFolder.craft])
            #expect(result.status == 0, "\(result.output)")
            #expect(result.output.contains("UPGrad_exact") && result.output.contains("nuPI"), "\(result.output)")
        }

        /// Results that training would refuse are shown, and then refused.
        @Test func notANumberIsShownAndReported() throws {
            let result = try call(
                "BaselineL1", "pre_backward",
                #"[{"predicted_actions": [[[1]]], "target_actions": [[[0]]]}, {"predicted_actions": [[["-inf"]]]}]"#)
            #expect(result.status == 2)
            #expect(result.standardOutput.contains(#""loss.action": "inf""#), "\(result.output)")
            #expect(result.standardError.contains("call 1") && result.standardError.contains("loss.action"))
        }

        /// What worked before a failure is printed.
        @Test func resultsBeforeAFailureArePrinted() throws {
            let result = try call(
                "CRaFTDual", "post_step", #"[{"loss.retention": 0.2, "lambda.retention": 0}, {"loss.retention": [1]}]"#)
            #expect(result.status == 2)
            #expect(result.standardOutput.contains(#""lambda.retention": 0.001"#), "\(result.output)")
            #expect(result.standardError.contains("call 1, 'loss.retention': it is a list; expected f64"))
        }

        @Test func stateGoesToAFileAndBack() throws {
            let folder = try TemporaryFolder()
            let (values, state) = (folder.path("values.json"), folder.path("state"))
            try Data(#"{"loss.retention": 0.2, "lambda.retention": 0}"#.utf8).write(to: URL(fileURLWithPath: values))
            let arguments = ["plugins", "call", "CRaFTDual", "post_step", "--json", values]
            for _ in 0..<2 {
                #expect(try CraftCommand.run(arguments + ["--state", state]).status == 0)
                #expect(FileManager.default.fileExists(atPath: state))
            }
            CraftCommand.expectRefusal(try CraftCommand.run(arguments + ["--state", state, "--load-state", state]))
            try Data("damaged".utf8).write(to: URL(fileURLWithPath: state))
            CraftCommand.expectRefusal(try CraftCommand.run(arguments + ["--state", state]), "CRaFTDual", "damaged")
        }

        @Test func wrongHooksAndPluginsAreNamed() throws {
            CraftCommand.expectRefusal(try call("CRaFTDual", "gradient_combine", "{}"), "CRaFTDual", "gradient_combine")
            CraftCommand.expectRefusal(try call("CRaFTDual", "post_stp", "{}"), "post_stp", "post_step")
            CraftCommand.expectRefusal(try call("CRaFTDul", "post_step", "{}"), "CRaFTDul")
            CraftCommand.expectRefusal(try call("CRaFTDual:budgt=1", "post_step", "{}"), "budgt", "budget")
        }
    }
}
