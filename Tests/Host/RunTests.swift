import Foundation
import TestSupport
import Testing

/// Runs of the real command: resuming, stopping, being killed.
@Suite(.serialized) struct RunTests {
    @Test(arguments: [[], ["--lora-rank", "4"]])
    func resumingEqualsGoingOn(_ more: [String]) throws {
        let folder = try TemporaryFolder()
        let (straight, resumed) = (folder.path("straight"), folder.path("resumed"))
        var result = try CraftCommand.run(CraftCommand.trainArguments(CraftCommand.four, steps: 4, out: straight, more))
        #expect(result.status == 0, "\(result.output)")
        result = try CraftCommand.run(CraftCommand.trainArguments(CraftCommand.four, steps: 2, out: resumed, more))
        #expect(result.status == 0, "\(result.output)")
        result = try CraftCommand.run(["train", "--resume", resumed, "--steps", "4", "--quiet"])
        #expect(result.status == 0, "\(result.output)")

        let checkpoint = "/checkpoints/step-000004"
        let names = try FileManager.default.subpathsOfDirectory(atPath: straight + checkpoint).sorted()
        #expect(names.contains("optimizer.safetensors") && names.contains("trainer_state.json"))
        #expect(names.contains("dataset_statistics.json"))
        #expect(names.contains(more.isEmpty ? "model.safetensors" : "lora_adapter/adapter_model.safetensors"))
        for name in names {
            let (one, two) = [straight, resumed].map {
                FileManager.default.contents(atPath: $0 + checkpoint + "/" + name)
            }
            .pair
            #expect(one == two, "\(name) differs")
        }
        let state = String(
            decoding: FileManager.default.contents(atPath: straight + checkpoint + "/trainer_state.json") ?? Data(),
            as: UTF8.self)
        #expect(state.contains("\"retention\"") && state.contains("dataCursor"))
        for name in ["config.json", "plan.json", "plan.txt", "metrics.jsonl", "tensorboard"] {
            #expect(CraftCommand.exists(straight + "/" + name), "\(name)")
        }
        let metrics = try String(contentsOfFile: resumed + "/metrics.jsonl", encoding: .utf8)
        #expect(metrics.contains("VLA Train/Loss") && metrics.contains("CRaFT/Conflict Ratio"))
        #expect(metrics.split(separator: "\n").count == 4, "one line a step, none twice:\n\(metrics)")
    }

    @Test func interruptionSavesAndTheRunGoesOn() throws {
        let folder = try TemporaryFolder()
        let run = folder.path("run")
        let process = try CraftCommand.start(
            CraftCommand.trainArguments("BaselineL1", steps: 100_000, out: run, ["--save-every", "2"]))
        #expect(CraftCommand.waitForCheckpoint(in: run))
        kill(process.processIdentifier, SIGINT)
        process.waitUntilExit()
        #expect(process.terminationStatus == 130)
        let names = try FileManager.default.contentsOfDirectory(atPath: run + "/checkpoints").sorted()
        let last = try #require(names.compactMap { Int($0.dropFirst("step-".count)) }.max())
        let result = try CraftCommand.run(["train", "--resume", run, "--steps", "\(last + 1)", "--quiet"])
        #expect(result.status == 0, "\(result.output)")
    }

    @Test func aKillLeavesTheLastCheckpointWhole() throws {
        let folder = try TemporaryFolder()
        let run = folder.path("run")
        let process = try CraftCommand.start(
            CraftCommand.trainArguments("BaselineL1", steps: 100_000, out: run, ["--save-every", "1"]))
        #expect(CraftCommand.waitForCheckpoint(in: run))
        Thread.sleep(forTimeInterval: Double.random(in: 0.1...0.9))
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        let result = try CraftCommand.run(["train", "--resume", run, "--steps", "200000", "--help"])
        #expect(result.status == 0)
        let names = try FileManager.default.contentsOfDirectory(atPath: run + "/checkpoints")
        let last = try #require(names.compactMap { Int($0.dropFirst("step-".count)) }.max())
        let resumed = try CraftCommand.run(["train", "--resume", run, "--steps", "\(last + 1)", "--quiet"])
        #expect(resumed.status == 0, "\(resumed.output)")
    }

    /// A run goes on with the plugin files it began with.
    @Test func aReplacedPluginIsNoticed() throws {
        let folder = try TemporaryFolder()
        let plugin = folder.path("libBaselineL1.so")
        try FileManager.default.copyItem(atPath: BuildFolder.plugin("BaselineL1"), toPath: plugin)
        let run = folder.path("run")
        let arguments = CraftCommand.trainArguments(
            "BaselineL1", steps: 1, out: run, ["--plugin-path", folder.url.path])
        #expect(try CraftCommand.run(arguments).status == 0)
        try FileManager.default.removeItem(atPath: plugin)
        try (Data(contentsOf: URL(fileURLWithPath: BuildFolder.plugin("BaselineL1"))) + Data([0]))
            .write(to: URL(fileURLWithPath: plugin))
        let result = try CraftCommand.run(["train", "--resume", run, "--steps", "2"])
        #expect(result.status == 2)
        #expect(result.output.contains("BaselineL1") && result.output.contains("changed"), "\(result.output)")
    }
}

extension Array {
    fileprivate var pair: (Element, Element) { (self[0], self[1]) }
}
