import Formats
import Foundation
import TestSupport
import Testing

/// `--ema`: what is saved, reported and refused.
extension HostTests {
    @Suite struct AverageCommandTests {
        private static let files = [
            "model.safetensors", "action_head--checkpoint.safetensors", "proprio_projector--checkpoint.safetensors",
        ]

        /// Every tensor of a checkpoint's model by file and name.
        private static func values(_ folder: String) throws -> [String: [Float]] {
            var values: [String: [Float]] = [:]
            for name in files {
                let file = try SafetensorsFile(path: folder + "/" + name)
                for tensor in file.names { values[name + tensor] = try file.floats(tensor) }
            }
            return values
        }

        /// From checkpoint to checkpoint: average = d * average + (1 - d) * weights, d = min(0.5, 1 - t^-0.75).
        @Test func theSavedAverageIsThatOfTheSavedWeights() throws {
            let folder = try TemporaryFolder()
            let run = folder.path("run")
            let result = try CraftCommand.run(
                CraftCommand.trainArguments(
                    "BaselineL1", steps: 3, out: run,
                    ["--ema", "0.5", "--ema-warmup", "0.75", "--save-every", "1", "--hold-out-every", "12"]))
            #expect(result.status == 0, "\(result.output)")
            func checkpoint(_ step: Int) -> String { run + "/checkpoints/step-00000\(step)" }
            var average = try Self.values(checkpoint(1) + "/average")
            #expect(try average == Self.values(checkpoint(1)), "the first decay is 1 - 1 = 0")
            for (step, decay) in [(2, 1 - pow(2, -0.75)), (3, 0.5)] {
                let weights = try Self.values(checkpoint(step))
                let saved = try Self.values(checkpoint(step) + "/average")
                #expect(Set(saved.keys) == Set(weights.keys))
                var moved = 0
                for (name, values) in saved {
                    let (old, new) = try (#require(average[name]), #require(weights[name]))
                    for i in values.indices {
                        let expected = decay * Double(old[i]) + (1 - decay) * Double(new[i])
                        #expect(abs(Double(values[i]) - expected) <= 1e-7 + 2e-7 * abs(expected), "\(name)")
                        if values[i] != new[i] { moved += 1 }
                    }
                }
                #expect(moved > 1_000_000)
                average = saved
            }
            // Measured beside the weights, and a model folder like any other.
            let metrics = try String(contentsOfFile: run + "/metrics.jsonl", encoding: .utf8)
            #expect(metrics.contains("VLA Eval/Held-out L1 Loss, Average"))
            #expect(result.output.contains("held_out_action_l1_average"))
            let info = try CraftCommand.run(["model", "info", checkpoint(3) + "/average"])
            #expect(info.status == 0, "\(info.output)")
        }

        @Test func whatDoesNotFitIsRefused() throws {
            let folder = try TemporaryFolder()
            let run = folder.path("run")
            var result = try CraftCommand.run(
                CraftCommand.trainArguments("BaselineL1", steps: 1, out: run, ["--ema", "0.9"]))
            #expect(result.status == 0, "\(result.output)")
            CraftCommand.expectRefusal(
                try CraftCommand.run(["train", "--resume", run, "--steps", "2", "--ema", "0.5"]), "--resume")
            // The settings file says another average than the checkpoint holds.
            let config = run + "/config.json"
            let text = try String(contentsOfFile: config, encoding: .utf8)
            #expect(text.contains("\"decay\" : 0.9"))
            try text.replacingOccurrences(of: "\"decay\" : 0.9", with: "\"decay\" : 0.5")
                .write(toFile: config, atomically: true, encoding: .utf8)
            CraftCommand.expectRefusal(
                try CraftCommand.run(["train", "--resume", run, "--steps", "2"]), "moving average", "--ema")
            let plain = folder.path("plain")
            result = try CraftCommand.run(CraftCommand.trainArguments("BaselineL1", steps: 1, out: plain))
            #expect(result.status == 0, "\(result.output)")
            #expect(try CraftCommand.files(in: plain).allSatisfy { !$0.contains("average") })
            for command in [["serve"], ["eval", "--suite", "libero_spatial"]] {
                CraftCommand.expectRefusal(
                    try CraftCommand.run(command + ["--checkpoint", plain, "--average"]), "no averaged weights")
            }
        }
    }
}
