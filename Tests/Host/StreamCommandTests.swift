import Foundation
import TestSupport
import Testing

/// Data streams, as a user of the command meets them.
extension HostTests {
    @Suite struct StreamCommandTests {
        private static let questions = "vqa=questions:\(CraftCommand.assets)/easy-vqa-heldout/test"
        private static let earlier = "replay=demonstrations:\(CraftCommand.assets)/libero-sample"
        private static let plugins =
            "BaselineL1,CoTraining,Replay:interval=2:start=1,ActionAnchor,AGEM:constraint=replay"

        @Test(arguments: [[], ["--lora-rank", "4", "--accumulation", "2"]])
        func resumingEqualsGoingOn(_ more: [String]) throws {
            let folder = try TemporaryFolder()
            let (straight, resumed) = (folder.path("straight"), folder.path("resumed"))
            let more = more + ["--stream", Self.questions, "--stream", Self.earlier]
            for (run, steps) in [(straight, 4), (resumed, 2)] {
                let result = try CraftCommand.run(
                    CraftCommand.trainArguments(Self.plugins, steps: steps, out: run, more))
                #expect(result.status == 0, "\(result.output)")
            }
            let result = try CraftCommand.run(["train", "--resume", resumed, "--steps", "4", "--quiet"])
            #expect(result.status == 0, "\(result.output)")
            let checkpoint = "/checkpoints/step-000004"
            for name in try CraftCommand.files(in: straight + checkpoint) {
                let contents = [straight, resumed].map {
                    FileManager.default.contents(atPath: $0 + checkpoint + "/" + name)
                }
                #expect(contents[0] == contents[1], "\(name) differs")
            }
            let config = try String(contentsOfFile: straight + "/config.json", encoding: .utf8)
            #expect(config.contains("easy-vqa-heldout/test") && config.contains("\"kind\" : \"questions\""))
            let metrics = try String(contentsOfFile: resumed + "/metrics.jsonl", encoding: .utf8)
            #expect(metrics.contains("cotraining_accuracy"))
        }

        @Test func thePlanShowsWhatAStreamCosts() throws {
            let streams = ["--stream", Self.questions, "--stream", Self.earlier]
            let result = try CraftCommand.run(
                ["plan", "--plugins", "BaselineL1,CoTraining:interval=3:batch=5,Replay"] + streams)
            #expect(result.status == 0, "\(result.output)")
            for words in [
                "a forward pass of 5 samples every 3 steps; its memory is in activations", "stream.replay",
                "a backward pass of its own when its stream runs",
            ] {
                #expect(result.output.contains(words), "\(words): \(result.output)")
            }
            let anchored = try CraftCommand.run(["plan", "--plugins", "BaselineL1,ActionAnchor"])
            #expect(anchored.output.contains("anchor_actions"), "\(anchored.output)")
        }

        @Test(arguments: [
            ("CoTraining", [String](), ["data stream 'vqa'", "give --stream vqa=questions:FOLDER"]),
            (
                "Replay", ["--stream", questions],
                ["data stream 'replay'", "give --stream replay=demonstrations:FOLDER"]
            ),
            ("AnswerLoss", [], ["answer_logits", "demonstrations have no answers", "--stream NAME=questions:FOLDER"]),
            ("CoTraining", ["--stream", "vqa=answers:x"], ["--stream is 'vqa=answers:x'", "NAME=questions:FOLDER"]),
        ])
        func refusesAtThePlan(_ plugin: String, _ streams: [String], _ words: [String]) throws {
            let result = try CraftCommand.run(["plan", "--plugins", "BaselineL1,\(plugin)"] + streams)
            #expect(result.status != 0 && words.allSatisfy { result.standardError.contains($0) }, "\(result.output)")
        }

        @Test func fromAFileWithANote() throws {
            let folder = try TemporaryFolder()
            let file = folder.path("run.yaml")
            let (name, path) = (Self.questions.prefix(3), Self.questions.dropFirst(4))
            try Data("stream: {\(name): \"\(path)\"}\n".utf8).write(to: URL(fileURLWithPath: file))
            let result = try CraftCommand.run(
                CraftCommand.trainArguments("BaselineL1", steps: 1, out: folder.path("run"), ["--config", file]))
            #expect(result.status == 0, "\(result.output)")
            #expect(result.output.contains("no plugin of the list asks for the data stream 'vqa'"), "\(result.output)")
            let missing = try CraftCommand.run(
                CraftCommand.trainArguments(
                    "BaselineL1,CoTraining", steps: 1, out: folder.path("none"), ["--stream", "vqa=questions:nowhere"]))
            CraftCommand.expectRefusal(missing, "--stream vqa: ", "nowhere/answers.txt")
        }
    }
}
