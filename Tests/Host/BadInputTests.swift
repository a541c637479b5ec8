import Foundation
import TestSupport
import Testing

/// Wrong input ends in a sentence and exit code 2, with nothing written.
extension HostTests {
    @Suite struct BadInputTests {
        static let cases: [(arguments: [String], says: [String])] = [
            (["--plugins", "BaselineL2"], ["BaselineL2", "did you mean 'BaselineL1'"]),
            (["--plugins", "CRaFTProjection,CRaFTDual"], ["provides a loss", "BaselineL1"]),
            (["--plugins", "BaselineL1,AnchorVariants:typ=concat"], ["typ", "type"]),
            (["--plugins", "BaselineL1,AnchorVariants,CRaFTDual:budget=-1"], ["budget", "-1"]),
            (["--plugins", "BaselineL1,BaselineL1"], ["BaselineL1"]),
            (["--steps", "0"], ["--steps", "0"]),
            (["--steps", "many"], ["many"]),
            (["--lr", "-1"], ["--lr"]),
            (["--adam-beta1", "1"], ["--adam-beta1 is 1", "below 1"]),
            (["--adam-beta2", "nan"], ["--adam-beta2 is nan"]),
            (["--adam-beta2", "0.999999999"], ["--adam-beta2 is 0.999999999", "0.9999999 at most"]),
            (["--adam-epsilon", "0"], ["--adam-epsilon is 0", "above 0"]),
            (["--weight-decay", "1.5"], ["--weight-decay is 1.5", "0 to 1"]),
            (["--ema", "1"], ["--ema is 1", "below 1"]),
            (["--ema", "nan"], ["--ema is nan"]),
            (["--ema-warmup", "0.75"], ["--ema-warmup", "--ema;"]),
            (["--ema", "0.9", "--ema-warmup", "0"], ["--ema-warmup is 0", "above 0"]),
            (["--schedule", "linear"], ["linear", "cosine"]),
            (["--anchor", "adaptersOff"], ["--lora-rank"]),
            (["--dataset", "libero_spatial"], ["libero_spatial"]),
            (["--data", "/nowhere"], ["/nowhere"]),
            (["--model", "/nowhere"], ["/nowhere"]),
            (["--cameras", "image"], ["cameras"]),
            (["--resume", "/nowhere"], ["/nowhere"]),
            (["--resume", "/nowhere", "--lr", "0.1"], ["/nowhere", "run.json", "--resume"]),
            (["--base", "/nowhere"], ["--base", "--resume"]),
            (["--config", "/nowhere.yaml"], ["/nowhere.yaml"]),
            (["--image-size", "70"], ["70 pixels", "8 pixels wide"]),
            (["--image-size", "0"], ["--image-size"]), (["--gate", "inf"], ["--gate"]),
            (["--proprio-gain", "0"], ["--proprio-gain", "above 0"]),
            (["--proprio-bandwidth", "0"], ["--proprio-bandwidth", "above 0"]),
            (["--proprio-gain", "10", "--no-proprio"], ["--proprio-gain", "--no-proprio"]),
            (["--proprio-dropout", "1"], ["--proprio-dropout is 1", "below 1"]),
            (["--proprio-dropout", "nan"], ["--proprio-dropout is nan"]),
            (["--proprio-dropout-steps", "5"], ["--proprio-dropout-steps", "give both"]),
            (["--proprio-dropout", "0.3", "--proprio-dropout-steps", "-5"], ["--proprio-dropout-steps"]),
            (["--proprio-dropout", "0.3", "--no-proprio"], ["--proprio-dropout", "--no-proprio"]),
            (["--policy", "large"], ["--policy", "large"]),
            (["--keep-checkpoints", "0"], ["--keep-checkpoints"]),
            (["--progress-every", "0"], ["--progress-every"]),
            (["--resume-step", "3"], ["--resume-step", "--resume"]),
            (["--no-such-flag"], ["no-such-flag"]),
            (["--set", "BaselinL1.weight=1"], ["BaselinL1", "did you mean 'BaselineL1'?"]),
            (["--set", "BaselineL1.wieght=1"], ["wieght", "did you mean 'weight'?"]),
            (["--set", "BaselineL1.weight=-1"], ["weight", "out of range"]),
            (["--set", "BaselineL1.weight"], ["PLUGIN.key=value"]),
            (["--allow-plugin-changes"], ["--allow-plugin-changes", "--resume"]),
        ]

        @Test(arguments: cases.indices) func saysWhatIsWrong(_ index: Int) throws {
            let (arguments, says) = Self.cases[index]
            let folder = try TemporaryFolder()
            let out = folder.path("run")
            let place = arguments.first == "--resume" ? [] : ["--out", out]
            let result = try CraftCommand.run(["train", "--quiet"] + place + arguments)
            #expect(result.status == 2, "\(arguments): \(result.output)")
            #expect(result.standardOutput.isEmpty, "\(arguments): \(result.standardOutput)")
            for word in says { #expect(result.standardError.contains(word), "\(arguments): \(result.standardError)") }
            #expect(!CraftCommand.exists(out), "\(arguments) left \(out) behind")
        }

        /// `plan` sizes buffers by these settings and must refuse what `train` refuses.
        @Test(arguments: [["--batch-size", "0"], ["--image-size", "0"], ["--proprio-dropout", "1.5"]])
        func planRefusesWhatTrainRefuses(_ arguments: [String]) throws {
            CraftCommand.expectRefusal(try CraftCommand.run(["plan"] + arguments), arguments[0])
        }

        @Test func aTextFileIsNoPlugin() throws {
            let folder = try TemporaryFolder()
            let path = folder.path("libText.so")
            try Data("not a library".utf8).write(to: URL(fileURLWithPath: path))
            let result = try CraftCommand.run(["train", "--plugins", path, "--out", folder.path("run")])
            CraftCommand.expectRefusal(result, path)
            #expect(!CraftCommand.exists(folder.path("run")))
        }

        @Test(arguments: ["truncated", "flipped"]) func aDamagedShardIsNamed(_ damage: String) throws {
            let folder = try TemporaryFolder()
            let root = folder.path("data")
            try FileManager.default.copyItem(atPath: CraftCommand.assets + "/libero-sample", toPath: root)
            let version = root + "/libero_spatial_no_noops/1.0.0"
            let shard = try #require(
                FileManager.default.contentsOfDirectory(atPath: version).filter { $0.contains("tfrecord") }.min())
            var bytes = try Data(contentsOf: URL(fileURLWithPath: version + "/" + shard))
            if damage == "truncated" { bytes.removeLast(100) } else { bytes[bytes.count / 2] ^= 4 }
            try bytes.write(to: URL(fileURLWithPath: version + "/" + shard))
            let result = try CraftCommand.run(
                CraftCommand.trainArguments("BaselineL1", steps: 1, out: folder.path("run"), ["--data", root]))
            CraftCommand.expectRefusal(result, shard)
            #expect(result.standardError.contains(/record \d+/), "\(result.standardError)")
            #expect(result.standardError.contains(/offset \d+/), "\(result.standardError)")
            #expect(!CraftCommand.exists(folder.path("run")))
        }

        @Test func aRunFolderIsNotOverwritten() throws {
            let folder = try TemporaryFolder()
            try Data("mine".utf8).write(to: URL(fileURLWithPath: folder.path("notes.txt")))
            let result = try CraftCommand.run(CraftCommand.trainArguments("BaselineL1", steps: 1, out: folder.url.path))
            #expect(result.status == 2)
            #expect(result.output.contains(folder.url.path), "\(result.output)")
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder.url.path) == ["notes.txt"])
        }

        /// A limit on the size of files stands in for a full disk: writing fails half-way through the model.
        @Test func aFullDiskLeavesNoHalfCheckpoint() throws {
            let folder = try TemporaryFolder()
            let run = folder.path("run")
            let arguments = CraftCommand.trainArguments("BaselineL1", steps: 1, out: run)
            let command = (["exec", BuildFolder.craft] + arguments).map { "'\($0)'" }.joined(separator: " ")
            let result = try Command.run(
                ["bash", "-c", "trap '' XFSZ; ulimit -f 4096; \(command)"], environment: CraftCommand.environment)
            #expect(result.status == 2, "\(result.output)")
            #expect(result.standardError.contains(run), "\(result.standardError)")
            #expect(try CraftCommand.files(in: run + "/checkpoints").isEmpty)
        }

        @Test func unknownYAMLKeysNameTheFile() throws {
            let folder = try TemporaryFolder()
            let path = folder.path("run.yaml")
            try Data("steps: 3\nstepps: 4\n".utf8).write(to: URL(fileURLWithPath: path))
            let result = try CraftCommand.run(["train", "--config", path, "--out", folder.path("run")])
            CraftCommand.expectRefusal(result, "run.yaml", "stepps", "steps")
            #expect(!CraftCommand.exists(folder.path("run")))
        }

        @Test func aFileAndFlagsGiveTheSameSettings() throws {
            let folder = try TemporaryFolder()
            let path = folder.path("run.yaml")
            let yaml = """
                steps: 1
                batch_size: 2
                augment: false
                questions: none
                hold-out-every: 0
                seed: 5
                lr: 0.01
                plugins:
                  - BaselineL1
                  - AnchorVariants: {type: raw_only, pooling: none}
                set:
                  AnchorVariants: {type: aq_only}
                  AnchorVariants.pooling: mean
                """
            try Data(yaml.utf8).write(to: URL(fileURLWithPath: path))
            let (one, two) = (folder.path("one"), folder.path("two"))
            var result = try CraftCommand.run([
                "train", "--config", path, "--seed", "7", "--lr", "0.002", "--quiet", "--out", one,
            ])
            #expect(result.status == 0, "\(result.output)")
            result = try CraftCommand.run(
                CraftCommand.trainArguments(
                    "BaselineL1,AnchorVariants:type=raw_only:pooling=mean", steps: 1, out: two,
                    ["--no-augment", "--seed", "7", "--lr", "0.002", "--set", "AnchorVariants.type=aq_only"]))
            #expect(result.status == 0, "\(result.output)")
            let settings = [one, two].map { FileManager.default.contents(atPath: $0 + "/config.json") }
            #expect(settings[0] == settings[1])
        }

        @Test func versionNamesThePluginABI() throws {
            let header = try String(
                contentsOf: BuildFolder.repository.appendingPathComponent("Sources/PluginAPI/include/craft_plugin.h"),
                encoding: .utf8)
            let numbers = header.matches(of: /#define CRAFT_ABI_M(?:AJOR|INOR) (\d+)u/).map { String($0.1) }
            let result = try CraftCommand.run(["--version"])
            #expect(result.status == 0)
            #expect(result.output.contains(/^craft \d+\.\d+\.\d+, plugin ABI/))
            #expect(result.output.hasSuffix("ABI \(numbers.joined(separator: "."))\n"))
        }

        @Test func helpListsEveryFlagWithItsDefault() throws {
            let help = try CraftCommand.run(["train", "--help"])
            #expect(help.status == 0)
            let source = try String(
                contentsOf: BuildFolder.repository.appendingPathComponent("Sources/Host/TrainingOptions.swift"),
                encoding: .utf8)
            var flags = source.matches(of: /^    var (\w+): \w+\?$/.anchorsMatchLineEndings()).map { String($0.1) }
            #expect(flags.count > 25)
            flags.removeAll { $0.hasPrefix("learningRate") }
            let names =
                flags.map { $0.replacing(/[A-Z]/) { "-" + $0.0.lowercased() } } + ["lr", "lr-scale", "out", "resume"]
            let entries = help.output.components(separatedBy: "\n  --").dropFirst()
            for name in names {
                let entry = entries.first {
                    $0.hasPrefix(name + " ") || $0.hasPrefix(name + "\n") || $0.hasPrefix(name + "/")
                }
                #expect(entry != nil, "--\(name) is not in the help")
                if name == "resume" || name == "plugin-path" { continue }
                #expect(entry?.contains("Default:") == true, "--\(name) has no default in the help")
            }
        }

        @Test func planPrintsTheFlowAndWritesNothing() throws {
            let folder = try TemporaryFolder()
            let result = try CraftCommand.run(["plan", "--plugins", CraftCommand.four], in: folder.url)
            #expect(result.status == 0)
            #expect(try CraftCommand.files(in: folder.url.path).isEmpty)
            for word in [
                "BaselineL1", "gradient_combine", "lambda.retention", "loss.retention", "forward pass", "GFLOP",
                "gradient of retention", "3 inner products",
            ] {
                #expect(result.output.contains(word), "\(result.output)")
            }
            // Coordinates are paid for visibly.
            let coordinates = try CraftCommand.run(["plan", "--plugins", "BaselineL1,GradDrop"])
            for word in ["grads", "combined", "coordinates"] { #expect(coordinates.output.contains(word)) }
        }

        /// A graph that graphviz reads: every arrow is between boxes that are declared.
        @Test func planDrawsItself() throws {
            let result = try CraftCommand.run(["plan", "--dot", "--plugins", CraftCommand.four])
            #expect(result.status == 0 && result.standardOutput.hasPrefix("digraph plan {"))
            let lines = result.standardOutput.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
            let nodes = Set(
                lines.filter { $0.contains(" [label=") && !$0.contains("->") }.map { $0.prefix { $0 != " " } })
            let arrows = lines.filter { $0.contains(" -> ") }
            for arrow in arrows {
                let ends = arrow.components(separatedBy: " [")[0].components(separatedBy: " -> ")
                #expect(ends.count == 2 && ends.allSatisfy { nodes.contains(Substring($0)) }, "\(arrow)")
            }
            #expect(arrows.contains { $0.hasPrefix("post_step_0 -> gradient_combine_0") && $0.contains("dashed") })
            #expect(
                result.standardOutput.filter { $0 == "{" }.count == result.standardOutput.filter { $0 == "}" }.count)
        }
    }
}
