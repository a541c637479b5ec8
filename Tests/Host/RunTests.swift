import Foundation
import TestSupport
import Testing

/// Runs of the real command: resuming, stopping, being killed.
extension HostTests {
    @Suite struct RunTests {
        private static let four = CraftCommand.four

        @Test(arguments: [
            (four, []), (four, ["--lora-rank", "4"]),
            (
                "BaselineL1,ProbeTokens:interval=2:start=1,CRaFTDual:objective=probe:budget=0",
                ["--accumulation", "2", "--lr-scale", "vision=0.1,policy=2"]
            ),
        ])
        func resumingEqualsGoingOn(_ plugins: String, _ more: [String]) throws {
            let folder = try TemporaryFolder()
            let (straight, resumed) = (folder.path("straight"), folder.path("resumed"))
            var result = try CraftCommand.run(
                CraftCommand.trainArguments(plugins, steps: 4, out: straight, more))
            #expect(result.status == 0, "\(result.output)")
            result = try CraftCommand.run(CraftCommand.trainArguments(plugins, steps: 2, out: resumed, more))
            #expect(result.status == 0, "\(result.output)")
            result = try CraftCommand.run(["train", "--resume", resumed, "--steps", "4", "--quiet"])
            #expect(result.status == 0, "\(result.output)")

            let checkpoint = "/checkpoints/step-000004"
            let names = try CraftCommand.files(in: straight + checkpoint)
            #expect(try CraftCommand.files(in: resumed + checkpoint) == names)
            #expect(names.contains("optimizer.safetensors") && names.contains("trainer_state.json"))
            #expect(names.contains("dataset_statistics.json"))
            #expect(
                names.contains(
                    more.contains("--lora-rank") ? "lora_adapter/adapter_model.safetensors" : "model.safetensors"))
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
            #expect(
                state.contains(plugins == Self.four ? "\"retention\"" : "\"probe\"") && state.contains("dataCursor"))
            #expect(state.contains("learningRateScales") == more.contains("--lr-scale"))
            for name in ["config.json", "plan.json", "plan.txt", "metrics.jsonl", "tensorboard"] {
                #expect(CraftCommand.exists(straight + "/" + name), "\(name)")
            }
            #expect(
                try CraftCommand.files(in: straight + "/tensorboard").contains { $0.hasPrefix("events.out.tfevents") })
            let metrics = try String(contentsOfFile: resumed + "/metrics.jsonl", encoding: .utf8)
            let logged = plugins == Self.four ? "CRaFT/Conflict Ratio" : "Plugin/probe_text"
            #expect(metrics.contains("VLA Train/Loss") && metrics.contains(logged))
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
            let names = try FileManager.default.contentsOfDirectory(atPath: run + "/checkpoints")
            let last = try #require(names.compactMap { Int($0.dropFirst("step-".count)) }.max())
            // Resuming would fall back to an older checkpoint; this one itself has to be whole.
            let newest = try #require(names.first { Int($0.dropFirst("step-".count)) == last })
            try expectWhole(run + "/checkpoints/" + newest)
            let resumed = try CraftCommand.run(["train", "--resume", run, "--steps", "\(last + 1)", "--quiet"])
            #expect(resumed.status == 0, "\(resumed.output)")
            #expect(!resumed.output.contains("step \(last)/"), "\(resumed.output)")
        }

        /// Every file that the manifest lists is there in full, and none besides.
        func expectWhole(_ checkpoint: String) throws {
            struct Manifest: Decodable { var files: [String: Int] }
            let data = try Data(contentsOf: URL(fileURLWithPath: checkpoint + "/manifest.json"))
            let manifest = try JSONDecoder().decode(Manifest.self, from: data)
            #expect(manifest.files.keys.contains("model.safetensors"))
            for (name, size) in manifest.files {
                let attributes = try FileManager.default.attributesOfItem(atPath: checkpoint + "/" + name)
                #expect(attributes[.size] as? Int == size, "\(name)")
            }
            let isFile = { (name: String) in
                var isFolder: ObjCBool = false
                return FileManager.default.fileExists(atPath: checkpoint + "/" + name, isDirectory: &isFolder)
                    && !isFolder.boolValue
            }
            let present = try CraftCommand.files(in: checkpoint).filter(isFile)
            #expect(Set(present) == Set(manifest.files.keys).union(["manifest.json"]))
        }

        @Test func aCheckpointOfAnotherModelIsRefused() throws {
            let folder = try TemporaryFolder()
            let run = folder.path("run")
            #expect(try CraftCommand.run(CraftCommand.trainArguments("BaselineL1", steps: 1, out: run)).status == 0)
            let checkpoint = run + "/checkpoints/step-000001"
            // The optimizer's state has other tensors than the model; its size goes into the manifest, so only content tells.
            let (model, other) = (checkpoint + "/model.safetensors", checkpoint + "/optimizer.safetensors")
            let size = try #require(try FileManager.default.attributesOfItem(atPath: other)[.size] as? Int)
            let old = try #require(try FileManager.default.attributesOfItem(atPath: model)[.size] as? Int)
            try FileManager.default.removeItem(atPath: model)
            try FileManager.default.copyItem(atPath: other, toPath: model)
            let manifest = checkpoint + "/manifest.json"
            let text = try String(contentsOfFile: manifest, encoding: .utf8)
            let name = "\"model.safetensors\" : "
            #expect(text.contains(name + "\(old)"))
            try text.replacingOccurrences(of: name + "\(old)", with: name + "\(size)")
                .write(toFile: manifest, atomically: true, encoding: .utf8)
            let before = try CraftCommand.files(in: run)
            let result = try CraftCommand.run(["train", "--resume", run, "--steps", "2", "--quiet"])
            CraftCommand.expectRefusal(result, "model.safetensors")
            #expect(try CraftCommand.files(in: run) == before)
        }

        @Test func aFolderThatIsNoRunIsRefused() throws {
            let folder = try TemporaryFolder()
            try Data("mine".utf8).write(to: URL(fileURLWithPath: folder.path("notes.txt")))
            let result = try CraftCommand.run(["train", "--resume", folder.url.path, "--steps", "2"])
            CraftCommand.expectRefusal(result, folder.url.path)
            #expect(try CraftCommand.files(in: folder.url.path) == ["notes.txt"])
        }

        @Test func aProfileOpensAsATrace() throws {
            struct Trace: Decodable {
                struct Event: Decodable {
                    var name: String
                    var cat: String
                    var ph: String
                    var ts: Double
                    var dur: Double
                }
                var traceEvents: [Event]
            }
            let folder = try TemporaryFolder()
            let run = folder.path("run")
            let result = try CraftCommand.run(
                CraftCommand.trainArguments(CraftCommand.four, steps: 5, out: run, ["--profile"]))
            #expect(result.status == 0, "\(result.output)")
            #expect(result.output.contains("GFLOP/s"))
            let data = try Data(contentsOf: URL(fileURLWithPath: run + "/profile.json"))
            let events = try JSONDecoder().decode(Trace.self, from: data).traceEvents
            #expect(events.allSatisfy { $0.ph == "X" && $0.ts >= 0 && $0.dur >= 0 })
            let updates = events.filter { $0.cat == "phase" && $0.name == "update" }
            #expect(updates.count == 2, "steps 4 and 5")
            for phase in ["forward", "backward"] {
                let spans = events.filter { $0.cat == "phase" && $0.name == phase }
                let operations = events.filter { $0.cat == phase && $0.name == "linear" }
                #expect(!operations.isEmpty)
                #expect(
                    operations.contains { inner in
                        spans.contains { $0.ts <= inner.ts && inner.ts + inner.dur <= $0.ts + $0.dur + 1 }
                    })
            }
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
            CraftCommand.expectRefusal(result, "BaselineL1", "changed")
        }
    }
}

extension Array {
    fileprivate var pair: (Element, Element) { (self[0], self[1]) }
}
