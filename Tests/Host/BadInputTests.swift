import Foundation
import TestSupport
import Testing

/// Wrong input ends in a sentence and exit code 2, with nothing written.
@Suite(.serialized) struct BadInputTests {
    static let cases: [(arguments: [String], says: [String])] = [
        (["--plugins", "BaselineL2"], ["BaselineL2", "BaselineL1"]),
        (["--plugins", "BaselineL1,CRaFTDual"], ["loss.retention", "AnchorVariants"]),
        (["--plugins", "BaselineL1,AnchorVariants:typ=concat"], ["typ", "type"]),
        (["--plugins", "BaselineL1,AnchorVariants,CRaFTDual:budget=-1"], ["budget", "-1"]),
        (["--plugins", "BaselineL1,BaselineL1"], ["BaselineL1"]),
        (["--steps", "0"], ["--steps", "0"]),
        (["--steps", "many"], ["many"]),
        (["--lr", "-1"], ["--lr"]),
        (["--schedule", "linear"], ["linear", "cosine"]),
        (["--anchor", "adaptersOff"], ["--lora-rank"]),
        (["--dataset", "libero_spatial"], ["libero_spatial"]),
        (["--data", "/nowhere"], ["/nowhere"]),
        (["--model", "/nowhere"], ["/nowhere"]),
        (["--cameras", "image"], ["cameras"]),
        (["--resume", "/nowhere"], ["/nowhere"]),
        (["--resume", "/nowhere", "--lr", "0.1"], ["--resume", "--steps"]),
        (["--config", "/nowhere.yaml"], ["/nowhere.yaml"]),
        (["--no-such-flag"], ["no-such-flag"]),
    ]

    @Test(arguments: cases.indices) func saysWhatIsWrong(_ index: Int) throws {
        let (arguments, says) = Self.cases[index]
        let folder = try TemporaryFolder()
        let out = folder.path("run")
        let place = arguments.first == "--resume" ? [] : ["--out", out]
        let result = try CraftCommand.run(["train", "--quiet"] + place + arguments)
        #expect(result.status == 2, "\(arguments): \(result.output)")
        for word in says { #expect(result.output.contains(word), "\(arguments): \(result.output)") }
        #expect(!CraftCommand.exists(out), "\(arguments) left \(out) behind")
    }

    @Test func aTextFileIsNoPlugin() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("libText.so")
        try Data("not a library".utf8).write(to: URL(fileURLWithPath: path))
        let result = try CraftCommand.run(["train", "--plugins", path, "--out", folder.path("run")])
        #expect(result.status == 2)
        #expect(result.output.contains(path), "\(result.output)")
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
        #expect(result.status == 2)
        #expect(result.output.contains(shard) && result.output.contains("record"), "\(result.output)")
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

    @Test func unknownYAMLKeysNameTheFile() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("run.yaml")
        try Data("steps: 3\nstepps: 4\n".utf8).write(to: URL(fileURLWithPath: path))
        let result = try CraftCommand.run(["train", "--config", path, "--out", folder.path("run")])
        #expect(result.status == 2)
        #expect(result.output.contains("run.yaml") && result.output.contains("stepps"), "\(result.output)")
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
            plugins:
              - BaselineL1
              - AnchorVariants: {type: aq_only}
            """
        try Data(yaml.utf8).write(to: URL(fileURLWithPath: path))
        let (one, two) = (folder.path("one"), folder.path("two"))
        var result = try CraftCommand.run(["train", "--config", path, "--seed", "7", "--quiet", "--out", one])
        #expect(result.status == 0, "\(result.output)")
        result = try CraftCommand.run(
            CraftCommand.trainArguments(
                "BaselineL1,AnchorVariants:type=aq_only", steps: 1, out: two, ["--no-augment", "--seed", "7"]))
        #expect(result.status == 0, "\(result.output)")
        let settings = [one, two].map { FileManager.default.contents(atPath: $0 + "/config.json") }
        #expect(settings[0] == settings[1])
    }

    @Test func planPrintsTheFlowAndWritesNothing() throws {
        let result = try CraftCommand.run(["plan", "--plugins", CraftCommand.four])
        #expect(result.status == 0)
        for word in ["BaselineL1", "gradient_combine", "lambda.retention", "loss.retention"] {
            #expect(result.output.contains(word), "\(result.output)")
        }
    }
}
