import Foundation
import TestSupport
import Testing

/// Probes and learning rates by group, as a user of the command meets them.
extension HostTests {
    @Suite struct ProbeCommandTests {
        @Test func thePlanShowsWhatAProbeCosts() throws {
            let result = try CraftCommand.run(["plan", "--plugins", "BaselineL1,ProbeTokens:interval=5"])
            #expect(result.status == 0, "\(result.output)")
            for words in [
                "probe.ProbeTokens.interval", "a forward pass every 5 steps", "the same under the initial weights",
                "a backward pass of its own when its probe runs",
            ] {
                #expect(result.output.contains(words), "\(words): \(result.output)")
            }
            func peak(_ plugins: String) throws -> Double {
                let output = try CraftCommand.run(["plan", "--plugins", plugins]).output
                let line = try #require(output.split(separator: "\n").last { $0.contains("activations") })
                return try #require(line.split(separator: " ").compactMap { Double($0) }.first)
            }
            #expect(try peak("BaselineL1,ProbeTokens") > peak("BaselineL1"), "both forward passes are in memory")
            let dot = try CraftCommand.run(["plan", "--plugins", "BaselineL1,ProbeTokens", "--dot"]).output
            #expect(dot.contains("probe.ProbeTokens.feature.text") && dot.contains("pre_backward_1"))
        }

        @Test func ratesByGroupFromFlagAndFile() throws {
            let folder = try TemporaryFolder()
            let file = folder.path("run.yaml")
            try Data("lr: 0.001\nlr-scale: {vision: 0.1, policy: 2}\n".utf8).write(to: URL(fileURLWithPath: file))
            for arguments in [["--config", file], ["--lr", "0.001", "--lr-scale", "vision=0.1,policy=2"]] {
                let result = try CraftCommand.run(["plan"] + arguments)
                #expect(result.status == 0, "\(result.output)")
                #expect(result.output.contains("vision     0.0001  (0.1 x 0.001)"), "\(result.output)")
                #expect(
                    result.output.contains("policy     0.002  (2.0 x 0.001)")
                        && result.output.contains("decoder    0.001\n"))
            }
            let refused = try CraftCommand.run(["plan", "--lr-scale", "visoin=0.1"])
            CraftCommand.expectRefusal(refused, "--lr-scale names 'visoin'", "vision, projector, decoder")
        }

        /// A run goes on with the rates it began with.
        @Test func otherRatesAreRefusedOnResuming() throws {
            let folder = try TemporaryFolder()
            let run = folder.path("run")
            let more = ["--lr-scale", "vision=0.5"]
            let result = try CraftCommand.run(CraftCommand.trainArguments("BaselineL1", steps: 1, out: run, more))
            #expect(result.status == 0, "\(result.output)")
            CraftCommand.expectRefusal(
                try CraftCommand.run(["train", "--resume", run, "--steps", "2", "--quiet", "--lr-scale", "vision=0.4"]),
                "--lr-scale is 0.4, but the run has 0.5")
            let config = run + "/config.json"
            let text = try String(contentsOfFile: config, encoding: .utf8)
            #expect(text.contains("\"vision\" : 0.5"), "\(text)")
            try text.replacingOccurrences(of: "\"vision\" : 0.5", with: "\"vision\" : 0.25")
                .write(toFile: config, atomically: true, encoding: .utf8)
            CraftCommand.expectRefusal(
                try CraftCommand.run(["train", "--resume", run, "--steps", "2", "--quiet"]),
                "has other learning rates by parameter group")
        }
    }
}
