import Formats
import Foundation
import Models
import TestSupport
import Testing

/// Runs of the real command: resuming, stopping, being killed.
extension HostTests {
    @Suite struct RunTests {
        private static let four = CraftCommand.four

        @Test(arguments: [
            (four, []), (four, ["--lora-rank", "4"]),
            (four, ["--image-size", "72", "--policy", "pro", "--no-proprio"]),
            (four, ["--ema", "0.9"]), (four, ["--lora-rank", "4", "--ema", "0.9999", "--ema-warmup", "0.75"]),
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
            #expect(names.contains { $0.hasPrefix("average/") } == more.contains("--ema"))
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

        /// Until craft wrote `plugins.safetensors`, the states were in `trainer_state.json`, as base64, and the data cursor as a text.
        @Test func aCheckpointWithPluginStatesInItsJSONIsRead() throws {
            let folder = try TemporaryFolder()
            let (new, old) = (folder.path("new"), folder.path("old"))
            var result = try CraftCommand.run(CraftCommand.trainArguments(Self.four, steps: 2, out: new))
            #expect(result.status == 0, "\(result.output)")
            try FileManager.default.copyItem(atPath: new, toPath: old)

            let checkpoint = old + "/checkpoints/step-000002"
            func object(_ name: String) throws -> [String: Any] {
                let data = FileManager.default.contents(atPath: checkpoint + "/" + name) ?? Data()
                return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
            }
            func write(_ object: [String: Any], _ name: String) throws -> Int {
                let data = try JSONSerialization.data(withJSONObject: object, options: .sortedKeys)
                try data.write(to: URL(fileURLWithPath: checkpoint + "/" + name))
                return data.count
            }
            let file = try SafetensorsFile(path: checkpoint + "/plugins.safetensors")
            func base64(_ name: String) throws -> String {
                file.withBytes(try file.requiredEntry(name)) { Data($0) }.base64EncodedString()
            }
            var state = try object("trainer_state.json")
            #expect(state["format"] as? Int == 3 && state["plugins"] == nil)
            state["format"] = 1
            let cursor = try JSONSerialization.data(
                withJSONObject: try #require(state["dataCursor"] as? [String: Any]), options: .sortedKeys)
            state["dataCursor"] = String(decoding: cursor, as: UTF8.self)
            let instances = file.names.filter { $0.hasPrefix("state.") }.map { String($0.dropFirst(6)) }
            #expect(instances.sorted() == ["AnchorVariants", "BaselineL1", "CRaFTDual", "CRaFTProjection"])
            state["plugins"] = Dictionary(
                uniqueKeysWithValues: try instances.map { ($0, try base64("state." + $0)) })
            state["previousValues"] = try base64("previous_values")
            let size = try write(state, "trainer_state.json")
            try FileManager.default.removeItem(atPath: checkpoint + "/plugins.safetensors")
            var manifest = try object("manifest.json")
            var files = try #require(manifest["files"] as? [String: Any])
            files["trainer_state.json"] = size
            files["plugins.safetensors"] = nil
            manifest["files"] = files
            _ = try write(manifest, "manifest.json")

            for run in [new, old] {
                result = try CraftCommand.run(["train", "--resume", run, "--steps", "4", "--quiet"])
                #expect(result.status == 0, "\(result.output)")
            }
            let after = "/checkpoints/step-000004"
            let names = try CraftCommand.files(in: new + after)
            #expect(try CraftCommand.files(in: old + after) == names && names.contains("plugins.safetensors"))
            for name in names {
                let (one, two) = [new, old].map {
                    FileManager.default.contents(atPath: $0 + after + "/" + name)
                }
                .pair
                #expect(one == two, "\(name) differs")
            }
        }

        /// What is given is compared with the run, not with what a new run would have.
        @Test func resumingComparesFlagsWithTheRun() throws {
            let folder = try TemporaryFolder()
            let run = folder.path("run")
            let result = try CraftCommand.run([
                "train", "--batch-size", "2", "--seed", "5", "--accumulation", "2", "--no-augment", "--lr", "0.001",
                "--schedule",
                "cosine", "--warmup", "1", "--clip", "1", "--questions", "none", "--hold-out-every", "4", "--threads",
                "1",
                "--lora-rank", "4", "--steps", "1", "--quiet", "--out", run,
            ])
            #expect(result.status == 0, "\(result.output)")
            let resume = ["train", "--resume", run, "--steps", "1", "--quiet"]
            for (flag, value) in [
                ("--batch-size", "8"), ("--seed", "0"), ("--accumulation", "1"), ("--augment", nil),
                ("--schedule", "constant"),
                ("--warmup", "0"), ("--clip", "0"), ("--hold-out-every", "0"), ("--threads", "2"), ("--lora-rank", "8"),
                ("--lora-alpha", "4"), ("--no-proprio", nil), ("--read-ahead", "0"), ("--statistics", "selected"),
                ("--model", folder.url.path), ("--questions", "/nowhere"), ("--matmul-precision", "bf16"),
            ] {
                let name = flag == "--no-proprio" ? "--proprio" : flag
                CraftCommand.expectRefusal(
                    try CraftCommand.run(resume + [flag] + (value.map { [$0] } ?? [])), "\(name) is", "but the run has")
            }
            let same = try CraftCommand.run(
                resume + [
                    "--batch-size", "2", "--seed", "5", "--accumulation", "2", "--no-augment", "--lr", "1e-3",
                    "--schedule",
                    "cosine", "--warmup", "1", "--clip", "1.0", "--questions", "none", "--threads", "1", "--lora-rank",
                    "4",
                    "--read-ahead", "2", "--statistics", "all", "--proprio", "--matmul-precision", "float32",
                    "--model", CraftCommand.assets + "/../Assets/small-vlm", "--data",
                    CraftCommand.assets + "/libero-sample",
                ])
            #expect(same.status == 0, "\(same.output)")
        }

        /// In the same second, and into the same folder.
        @Test func runsThatBeginTogetherDoNotMix() throws {
            let folder = try TemporaryFolder()
            func start(_ out: [String]) throws -> Process {
                let process = try CraftCommand.start(
                    [
                        "train", "--steps", "1", "--threads", "1", "--batch-size", "1", "--questions", "none",
                        "--hold-out-every", "0",
                        "--quiet",
                    ] + out)
                return process
            }
            for round in 0..<3 {
                let out = folder.path("run-\(round)")
                let pair = [try start(["--out", out]), try start(["--out", out])]
                for process in pair { process.waitUntilExit() }
                #expect(pair.map(\.terminationStatus).sorted() == [0, 2])
                let lines = try String(contentsOfFile: out + "/metrics.jsonl", encoding: .utf8).split(separator: "\n")
                #expect(lines.count == 1, "\(lines)")
            }
        }

        /// What this process cannot have is said before it is asked for, in place of an abort.
        @Test func aBatchThatDoesNotFitIsASentence() throws {
            let folder = try TemporaryFolder()
            let out = folder.path("run")
            let result = try Command.run(
                [
                    "bash", "-c", "ulimit -v 6000000; exec \"$@\"", "bash", BuildFolder.craft, "train", "--batch-size",
                    "20000",
                    "--questions", "none", "--steps", "1", "--threads", "1", "--out", out,
                ], environment: CraftCommand.environment)
            CraftCommand.expectRefusal(
                result, "needs at least", "this process can have", "--batch-size 1", "which fits")
            #expect(!CraftCommand.exists(out))
        }

        @Test func weightsThatAreNotFiniteAreNotSaved() throws {
            let folder = try TemporaryFolder()
            let run = folder.path("run")
            let result = try CraftCommand.run([
                "train", "--lr", "10", "--on-non-finite", "skip", "--steps", "30", "--batch-size", "2", "--questions",
                "none",
                "--threads", "1", "--hold-out-every", "0", "--quiet", "--out", run,
            ])
            #expect(result.status == 2, "\(result.output)")
            // The weights themselves, or what is computed with them.
            let isSaid =
                result.standardError.contains("is not written: tensor")
                || result.standardError.contains("steps were all skipped")
            #expect(isSaid, "\(result.output)")
            #expect(try CraftCommand.files(in: run + "/checkpoints").filter { $0.hasSuffix(".safetensors") }.isEmpty)
        }

        /// The policy is also measured with the images, and with the instructions, of other samples.
        @Test func reliesOnImagesAndInstructions() throws {
            let folder = try TemporaryFolder()
            let run = folder.path("run")
            let result = try CraftCommand.run(
                CraftCommand.trainArguments("BaselineL1", steps: 1, out: run, ["--hold-out-every", "2"]))
            #expect(result.status == 0, "\(result.output)")
            var values: [String: Double] = [:]
            for line in try String(contentsOfFile: run + "/metrics.jsonl", encoding: .utf8).split(separator: "\n") {
                let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] ?? [:]
                for (name, value) in object where name.hasPrefix("VLA Eval/") { values[name] = value as? Double }
            }
            let own = try #require(values["VLA Eval/Held-out L1 Loss"])
            for other in ["Other Images", "Other Instructions"] {
                let value = try #require(values["VLA Eval/Held-out L1 Loss, \(other)"], "\(other)")
                #expect(value > 0 && value != own, "\(other): \(value)")
            }
        }

        /// Another image size and action head than the model folder's are in the checkpoint's own configuration.
        @Test func anotherImageSizeAndActionHead() throws {
            let folder = try TemporaryFolder()
            let run = folder.path("run")
            var result = try CraftCommand.run(
                CraftCommand.trainArguments(
                    "BaselineL1", steps: 1, out: run, ["--image-size", "96", "--policy", "pro", "--gate", "1"]))
            #expect(result.status == 0, "\(result.output)")
            result = try CraftCommand.run(["model", "info", run])
            #expect(result.output.contains("96") && result.output.contains("Pro action head"), "\(result.output)")
            let checkpoint = run + "/checkpoints/step-000001"
            let head = try SafetensorsFile(path: checkpoint + "/action_head--checkpoint.safetensors")
            let gates = try head.names.filter { $0.hasSuffix("gating_factor") }.map { try head.floats($0)[0] }
            #expect(gates.count == 4 && gates.allSatisfy { abs($0 - 1) < 0.01 }, "\(gates)")
            let again = folder.path("again")
            let training = CraftCommand.trainArguments("BaselineL1", steps: 1, out: again, ["--model", checkpoint])
            for (arguments, words) in [
                (training + ["--policy", "base"], ["--policy is base", "the Pro one", checkpoint]),
                (
                    ["plan", "--plugins", "BaselineL1", "--model", checkpoint, "--policy", "base"],
                    ["--policy is base", "the Pro one", checkpoint]
                ),
                (training + ["--gate", "1"], ["--gate is", "holds a trained one", checkpoint]),
                (
                    ["plan", "--plugins", "BaselineL1", "--model", checkpoint, "--gate", "1"],
                    ["--gate is", "holds a trained one", checkpoint]
                ),
                (training + ["--proprio-gain", "9"], ["--proprio-gain is", "holds a trained one", checkpoint]),
                (
                    training + ["--proprio-bandwidth", "4"],
                    ["--proprio-bandwidth is", "holds a trained one", checkpoint]
                ),
            ] {
                result = try CraftCommand.run(arguments)
                #expect(result.status == 2)
                for word in words { #expect(result.output.contains(word), "\(word) in \(result.output)") }
                #expect(!FileManager.default.fileExists(atPath: again))
            }
        }

        /// A run goes on with the plugins it began with; with others when told, and then says which.
        @Test func changedPluginsAreRefusedUnlessAllowed() throws {
            let folder = try TemporaryFolder()
            let run = folder.path("run")
            var result = try CraftCommand.run(
                CraftCommand.trainArguments("BaselineL1,AnchorVariants,CRaFTDual", steps: 2, out: run))
            #expect(result.status == 0, "\(result.output)")
            let resume = ["train", "--resume", run, "--quiet", "--steps"]
            let before = try CraftCommand.files(in: run)
            for (arguments, words) in [
                (["--set", "CRaFTDual.budget=0.5"], "CRaFTDual had budget=0.1, now 0.5"),
                (["--plugins", "BaselineL1,AnchorVariants"], "CRaFTDual is no longer in the list"),
                (["--plugins", "BaselineL1,CRaFTDual,AnchorVariants"], "the list has another order"),
                (["--plugins", "BaselineL1,AnchorVariants,CRaFTDual=nuPI"], "CRaFTDual was craft.CRaFTDual"),
            ] {
                let refused = try CraftCommand.run(resume + ["3"] + arguments)
                CraftCommand.expectRefusal(refused, words, "--allow-plugin-changes")
            }
            #expect(try CraftCommand.files(in: run) == before)
            // Naming the same ones is no change.
            result = try CraftCommand.run(
                resume + ["3", "--plugins", "BaselineL1,AnchorVariants,CRaFTDual:budget=0.1"])
            #expect(result.status == 0 && !result.output.contains("changed plugins"), "\(result.output)")
            result = try CraftCommand.run(
                resume + [
                    "4", "--allow-plugin-changes", "--plugins", "BaselineL1,AnchorVariants,CRaFTProjection,CRaFTDual",
                    "--set", "CRaFTDual.lr=0.5",
                ])
            #expect(result.status == 0, "\(result.output)")
            for words in ["CRaFTProjection was not in the list", "CRaFTDual had lr=0.01, now 0.5"] {
                #expect(result.output.contains("changed plugins: " + words), "\(result.output)")
            }
            #expect(CraftCommand.exists(run + "/plan-until-step-3.json"))
            // From here on these are the run's plugins.
            result = try CraftCommand.run(resume + ["5"])
            #expect(result.status == 0 && !result.output.contains("changed plugins"), "\(result.output)")
        }

        /// A run goes on with other demonstrations when it is given them, in an order that begins anew.
        @Test func aRunGoesOnWithOtherData() throws {
            let folder = try TemporaryFolder()
            let (run, other) = (folder.path("run"), folder.path("other"))
            try FileManager.default.copyItem(atPath: CraftCommand.assets + "/libero-sample", toPath: other)
            var result = try CraftCommand.run(CraftCommand.trainArguments("BaselineL1", steps: 2, out: run))
            #expect(result.status == 0, "\(result.output)")
            let resume = ["train", "--resume", run, "--quiet", "--steps"]
            let before = try CraftCommand.files(in: run)
            let refused = try CraftCommand.run(resume + ["3", "--data", folder.path("nowhere")])
            CraftCommand.expectRefusal(refused, "nowhere")
            CraftCommand.expectRefusal(
                try CraftCommand.run(resume + ["3", "--data", other, "--lr", "0.1"]), "--resume", "--data")
            #expect(try CraftCommand.files(in: run) == before)
            result = try CraftCommand.run(resume + ["3", "--data", other])
            #expect(result.status == 0, "\(result.output)")
            #expect(result.output.contains("changed data: \(other), until step 2 "), "\(result.output)")
            #expect(CraftCommand.exists(run + "/config-until-step-2.json"))
            // From here on it is the run's data, and a position in it is kept.
            result = try CraftCommand.run(resume + ["4"])
            #expect(result.status == 0 && !result.output.contains("changed data"), "\(result.output)")
        }

        /// Any subset of the four plugins is a run as long as it has an objective.
        @Test(arguments: 1..<16) func everySubsetOfTheMethod(_ bits: Int) throws {
            let names = ["BaselineL1", "AnchorVariants", "CRaFTProjection", "CRaFTDual"]
            let chosen = names.indices.filter { bits >> $0 & 1 == 1 }.map { names[$0] }
            let folder = try TemporaryFolder()
            let run = folder.path("run")
            let hasObjective = bits & 3 != 0
            // The plan says as much as a step would, faster; the new ones train.
            let trains = [0b1001, 0b1101, 0b1110].contains(bits) || !hasObjective
            let list = chosen.joined(separator: ",")
            let result = try CraftCommand.run(
                trains
                    ? CraftCommand.trainArguments(list, steps: 2, out: run) : ["plan", "--plugins", list])
            guard hasObjective else {
                CraftCommand.expectRefusal(result, "no plugin in the list provides a loss", "BaselineL1")
                #expect(!CraftCommand.exists(run))
                return
            }
            #expect(result.status == 0, "\(result.output)")
            let isIdle = chosen.contains("CRaFTDual") && !chosen.contains("AnchorVariants")
            #expect(result.output.contains("note: CRaFTDual is about 'loss.retention'") == isIdle, "\(result.output)")
            guard bits == 0b1001 else { return }
            // Nothing to do is nothing done.
            let plain = try CraftCommand.run(
                CraftCommand.trainArguments("BaselineL1", steps: 2, out: folder.path("plain")))
            #expect(plain.status == 0, "\(plain.output)")
            let models = try [run, folder.path("plain")].map {
                try Data(contentsOf: URL(fileURLWithPath: $0 + "/checkpoints/step-000002/model.safetensors"))
            }
            #expect(models[0] == models[1])
        }

        /// A hook that does not return is named when the run is interrupted.
        @Test func aHookThatHangsIsNamed() throws {
            let folder = try TemporaryFolder()
            let source = folder.path("Hang.c")
            try Data(
                """
                #include <craft_plugin.h>
                #include <unistd.h>
                #define IN(X) X(i64, step, "step", "")
                CRAFT_HOOK(hang, IN, CRAFT_NONE) {
                    if (step == 1) fclose(fopen("\(folder.path("hanging"))", "w"));
                    while (step == 1) sleep(1);
                    return CRAFT_OK;
                }
                static craft_hook hooks[] = {CRAFT_HOOK_ENTRY("post_step", hang)};
                static const craft_plugin plugin = {CRAFT_PLUGIN_HEADER(0), "org.example.hang", "1.0.0", "Hangs.",
                    CRAFT_NO_TABLE(craft_parameter), CRAFT_TABLE(hooks), NULL, NULL, NULL, NULL, NULL, NULL};
                CRAFT_PLUGIN_ENTRY(plugin, hooks)
                """.utf8
            ).write(to: URL(fileURLWithPath: source))
            let library = folder.path("libHang.so")
            let include = BuildFolder.repository.appendingPathComponent("Sources/PluginAPI/include").path
            let built = try Command.run(["cc", "-shared", "-fPIC", "-I", include, source, "-o", library])
            try #require(built.status == 0, "\(built.output)")

            let run = folder.path("run")
            let process = Process()
            process.executableURL = URL(fileURLWithPath: BuildFolder.craft)
            process.arguments = CraftCommand.trainArguments(
                "BaselineL1,\(library)", steps: 5, out: run, ["--save-every", "1"])
            process.environment = ProcessInfo.processInfo.environment.merging(CraftCommand.environment) { _, new in new
            }
            process.standardOutput = FileHandle.nullDevice
            let errors = Pipe()
            process.standardError = errors
            try process.run()
            for _ in 0..<600 where !CraftCommand.exists(folder.path("hanging")) {
                Thread.sleep(forTimeInterval: 0.1)
            }
            for _ in 0..<2 {
                kill(process.processIdentifier, SIGINT)
                Thread.sleep(forTimeInterval: 0.3)
            }
            process.waitUntilExit()
            #expect(process.terminationStatus == 130)
            let text = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            let call = "plugin Hang, post_step hook, step 1"
            #expect(text.contains("which is inside of \(call)") && text.contains("ended inside of \(call)"), "\(text)")
            try expectWhole(run + "/checkpoints/step-000001")
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

        /// Ctrl-C after the last step, while the model is measured: what is missing is measured by the resumed run.
        @Test func interruptionOfTheMeasurement() throws {
            let folder = try TemporaryFolder()
            let run = folder.path("run")
            let questions = BuildFolder.repository.appendingPathComponent("Assets/easy-vqa-heldout").path
            let process = try CraftCommand.start(
                CraftCommand.trainArguments("BaselineL1", steps: 1, out: run, ["--questions", questions]))
            #expect(CraftCommand.waitForCheckpoint(in: run))
            kill(process.processIdentifier, SIGINT)
            process.waitUntilExit()
            #expect(process.terminationStatus == 130)
            let result = try CraftCommand.run(["train", "--resume", run])
            #expect(result.status == 0, "\(result.output)")
            #expect(result.output.contains("step 1: held_out_answer_accuracy"), "\(result.output)")
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
