import Foundation
import TestSupport
import Testing

/// `craft measure` and `craft model blend`, on runs.
extension HostTests {
    @Suite struct MeasureTests {
        /// One episode is held out, so that there is no other instruction to exchange.
        private static let measured = ["--hold-out-every", "12", "--question-limit", "40"]

        private func measure(_ arguments: [String]) throws -> [String: Double] {
            let result = try CraftCommand.run(["measure", "--json"] + arguments)
            #expect(result.status == 0, "\(result.output)")
            let object = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
            return object as? [String: Double] ?? [:]
        }

        /// What a run logged after training, under the internal names.
        private func logged(_ run: String, _ suffix: String = "") throws -> [String: Double] {
            let names = [
                "VLA Eval/Held-out L1 Loss\(suffix)": "held_out_action_l1",
                "VQA Eval/Answer Accuracy\(suffix)": "held_out_answer_accuracy",
                "VLA Eval/Held-out L1 Loss, Other Images": "held_out_action_l1_other_images",
            ]
            var values: [String: Double] = [:]
            for line in try String(contentsOfFile: run + "/metrics.jsonl", encoding: .utf8).split(separator: "\n") {
                let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] ?? [:]
                for (name, value) in object { if let name = names[name] { values[name] = value as? Double } }
            }
            return values
        }

        @Test(arguments: [[], ["--lora-rank", "4"]])
        func aRunMeasuresAsItDidAfterTraining(_ more: [String]) throws {
            let folder = try TemporaryFolder()
            let run = folder.path("run")
            let questions = CraftCommand.assets + "/easy-vqa-heldout"
            let result = try CraftCommand.run(
                [
                    "train", "--plugins", "BaselineL1", "--steps", "2", "--out", run, "--batch-size", "8", "--quiet",
                    "--ema",
                    "0.5", "--questions", questions,
                ] + Self.measured + more)
            #expect(result.status == 0, "\(result.output)")
            let after = try logged(run)
            #expect(after.count == 3)
            #expect(try measure([more.isEmpty ? run : run + "/checkpoints/step-000002"]) == after)
            let average = try measure([run, "--average"])
            let want = try logged(run, ", Average")
            for name in ["held_out_action_l1", "held_out_answer_accuracy"] { #expect(average[name] == want[name]) }
            #expect(average["held_out_action_l1"] != after["held_out_action_l1"])
            // Flags go over the run's settings.
            let fewer = try measure([run, "--hold-out-every", "0", "--question-limit", "20"])
            #expect(Set(fewer.keys) == ["held_out_answer_accuracy"])
        }

        /// The ends of the line between base and tuned model measure as those, and what lies between is another model.
        @Test func blendsAreMeasuredLikeAnyModel() throws {
            let folder = try TemporaryFolder()
            let (run, base) = (folder.path("run"), CraftCommand.assets + "/small-vlm")
            let result = try CraftCommand.run(
                CraftCommand.trainArguments("BaselineL1", steps: 6, out: run, ["--lr", "0.005"]))
            #expect(result.status == 0, "\(result.output)")
            func blend(_ alpha: String) throws -> [String: Double] {
                let out = folder.path("blend-\(alpha)")
                let made = try CraftCommand.run(["model", "blend", base, run, "--alpha", alpha, "--out", out])
                #expect(made.status == 0, "\(made.output)")
                #expect(made.output.contains("note: \(base) has none of"))
                let info = try CraftCommand.run(["model", "info", out])
                #expect(info.status == 0 && info.output.contains("nothing is unexpected"), "\(info.output)")
                return try measure([out] + Self.measured)
            }
            let tuned = try measure([run + "/checkpoints/step-000006", "--questions", "none", "--hold-out-every", "12"])
            let one = try blend("1")
            for (name, value) in tuned { #expect(one[name] == value, "\(name)") }
            #expect(tuned.count == 2)
            let half = try blend("0.5,policy=1")
            #expect(half["held_out_action_l1"] != one["held_out_action_l1"])
            let start = try measure([base] + Self.measured)
            #expect(Set(start.keys) == ["held_out_answer_accuracy"], "a model without a head has no actions to measure")
            #expect(try blend("0")["held_out_answer_accuracy"] == start["held_out_answer_accuracy"])
        }

        @Test func wrongInputIsASentence() throws {
            let folder = try TemporaryFolder()
            let (out, base) = (folder.path("out"), CraftCommand.assets + "/small-vlm")
            for (arguments, words) in [
                (["model", "blend", base, "--out", out], ["at least two models"]),
                (["model", "blend", base, "/nowhere", "--out", out], ["/nowhere"]),
                (["model", "blend", base, base, "--alpha", "1.5", "--out", out], ["--alpha has '1.5'", "0 to 1"]),
                (["model", "blend", base, base, "--alpha", "nan", "--out", out], ["--alpha has 'nan'"]),
                (["model", "blend", base, base, "--alpha", "vison=1", "--out", out], ["'vison'", "vision"]),
                (["model", "blend", base, base, "--alpha", "1,0.5", "--out", out], ["two numbers"]),
                (["model", "blend", base, base, "--alpha", "vision=1,vision=1", "--out", out], ["twice"]),
                (["model", "blend", base, base, "--method", "slerp", "--out", out], ["slerp", "task-arithmetic"]),
                (
                    ["model", "blend", base, base, "--method", "soup", "--alpha", "1", "--out", out],
                    ["--alpha", "--weights"]
                ),
                (["model", "blend", base, base, "--weights", "1", "--out", out], ["--weights", "--alpha"]),
                (["model", "blend", base, base, "--density", "0.5", "--out", out], ["--density", "ties"]),
                (
                    ["model", "blend", base, base, "--method", "ties", "--density", "0", "--out", out],
                    ["--density is 0"]
                ),
                (
                    ["model", "blend", base, base, "--method", "soup", "--weights", "0,0", "--out", out],
                    ["--weights is 0,0", "above 0"]
                ),
                (["measure", "/nowhere"], ["/nowhere"]),
                (["measure", base, "--average"], ["no averaged weights"]),
                (["measure", base, "--questions", "none"], ["nothing to measure", "no action head"]),
                (["measure", base, "--threads", "0"], ["--threads is 0"]),
            ] {
                let result = try CraftCommand.run(arguments)
                #expect(result.status == 2 && result.standardOutput.isEmpty, "\(arguments): \(result.output)")
                for word in words {
                    #expect(result.standardError.contains(word), "\(arguments): \(result.standardError)")
                }
                #expect(!CraftCommand.exists(out), "\(arguments)")
            }
        }
    }
}
