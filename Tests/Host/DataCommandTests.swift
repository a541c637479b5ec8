import Foundation
import TestSupport
import Testing

extension HostTests {
    @Suite struct DataCommandTests {
        private static let sample = CraftCommand.assets + "/libero-sample"
        private static let name = "libero_spatial_no_noops"

        private func json(_ arguments: [String]) throws -> [String: Any] {
            let result = try CraftCommand.run(arguments)
            #expect(result.status == 0, "\(result.output)")
            let value = try JSONSerialization.jsonObject(with: Data(result.standardOutput.utf8))
            return value as? [String: Any] ?? [:]
        }

        /// The sample as a folder of its own, to be damaged.
        private func copy(in folder: TemporaryFolder) throws -> (root: String, version: String) {
            let root = folder.path("data")
            try FileManager.default.copyItem(atPath: Self.sample, toPath: root)
            return (root, root + "/\(Self.name)/1.0.0/")
        }

        @Test func infoCountsWhatIsThere() throws {
            let info = try json(["data", "info", Self.sample, "--json"])
            #expect(info["episodes"] as? Int == 12 && info["steps"] as? Int == 1363 && info["shards"] as? Int == 2)
            #expect((info["images"] as? [[String: Any]])?.count == 2)
            let text = try CraftCommand.run(["data", "info", Self.sample, "--shots", "1", "--shots-seed", "3"])
            #expect(text.status == 0 && text.standardOutput.contains("image 96x96, wrist_image 96x96"))
            #expect(text.standardOutput.contains("    1 episodes"))
            CraftCommand.expectRefusal(
                try CraftCommand.run(["data", "info", "/nowhere"]), "/nowhere", "no such folder")
        }

        /// Images are trained on whatever their size: what features.json says of it is no more than a note.
        @Test func imagesOfAnotherSizeAreANote() throws {
            let folder = try TemporaryFolder()
            let (root, version) = try copy(in: folder)
            let features = version + "features.json"
            let text = try String(contentsOfFile: features, encoding: .utf8)
            try text.replacingOccurrences(of: "\"96\"", with: "\"64\"").write(
                toFile: features, atomically: true, encoding: .utf8)
            #expect(try CraftCommand.run(["data", "info", root]).status == 0)
            let result = try CraftCommand.run(["data", "verify", root])
            #expect(result.status == 0 && result.standardOutput.contains(": sound"), "\(result.output)")
            #expect(result.standardOutput.contains("note: ") && result.standardOutput.contains("is 96x96, not 64x64"))
            CraftCommand.expectRefusal(try CraftCommand.run(["data", "info", features]), "is a file, not a folder")
        }

        /// The plan's peak is that of the data's longest prompt.
        @Test func planCountsLongInstructions() throws {
            let folder = try TemporaryFolder()
            let (root, version) = try copy(in: folder)
            let script = """
                import glob, sys
                sys.path.insert(0, "\(BuildFolder.repository.path)/simulation")
                import tfrecord
                for path in glob.glob(sys.argv[1] + "*.tfrecord-*"):
                    records = []
                    for payload in tfrecord.read_records(path):
                        entries = []
                        for key, feature in tfrecord.example_entries(payload):
                            if key == "steps/language_instruction":
                                texts = tfrecord.bytes_values(feature)
                                feature = tfrecord.bytes_feature([b"pick up the bowl " * 100] * len(texts))
                            entries.append((key, feature))
                        records.append(tfrecord.example(entries))
                    tfrecord.write_records(path, records)
                """
            let file = folder.url.appendingPathComponent("long.py")
            try script.write(to: file, atomically: true, encoding: .utf8)
            let python = BuildFolder.repository.appendingPathComponent(".venv/bin/python").path
            let long = try Command.run([python, file.path, version], in: folder.url)
            #expect(long.status == 0, "\(long.output)")
            let settings = ["--data", root, "--questions", "none", "--threads", "1"]
            func megabytes(_ arguments: [String], _ pattern: Regex<(Substring, Substring)>) throws -> Double {
                let result = try CraftCommand.run(arguments + settings)
                #expect(result.status == 0, "\(result.output)")
                return Double(try #require(result.standardOutput.firstMatch(of: pattern)?.1)) ?? 0
            }
            let plan = try megabytes(["plan"], /peak +([0-9.]+) MiB/)
            let run = try megabytes(
                ["train", "--steps", "2", "--quiet", "--out", folder.path("run")], /peak memory ([0-9.]+) MiB/)
            #expect(run <= 1.1 * plan && plan > 400, "planned \(plan), took \(run)")
        }

        /// Six joints and no gripper: a new head is made for them, a trained one for seven numbers is refused.
        @Test func widthsComeFromTheData() throws {
            let folder = try TemporaryFolder()
            let (root, version) = try copy(in: folder)
            let script = """
                import glob, json, sys
                sys.path.insert(0, "\(BuildFolder.repository.path)/simulation")
                import numpy as np, tfrecord
                folder = sys.argv[1]
                for path in glob.glob(folder + "*.tfrecord-*"):
                    records = []
                    for payload in tfrecord.read_records(path):
                        entries = []
                        for key, feature in tfrecord.example_entries(payload):
                            width = {"steps/action": 7, "steps/observation/state": 8}.get(key)
                            if width:
                                packed = next(value for _, value in tfrecord.fields(feature))
                                values = next(value for _, value in tfrecord.fields(packed))
                                rows = np.frombuffer(values, "<f4").reshape(-1, width)[:, :6]
                                feature = tfrecord.float_feature(rows)
                            entries.append((key, feature))
                        records.append(tfrecord.example(entries))
                    tfrecord.write_records(path, records)
                text = json.load(open(folder + "features.json"))
                steps = text["featuresDict"]["features"]["steps"]["sequence"]["feature"]["featuresDict"]["features"]
                for tensor in (steps["action"], steps["observation"]["featuresDict"]["features"]["state"]):
                    tensor["tensor"]["shape"]["dimensions"] = ["6"]
                json.dump(text, open(folder + "features.json", "w"))
                """
            let file = folder.url.appendingPathComponent("cut.py")
            try script.write(to: file, atomically: true, encoding: .utf8)
            let python = BuildFolder.repository.appendingPathComponent(".venv/bin/python").path
            let cut = try Command.run([python, file.path, version], in: folder.url)
            #expect(cut.status == 0, "\(cut.output)")
            let info = try json(["data", "info", root, "--json"])
            #expect(info["actionWidth"] as? Int == 6 && info["gripper"] as? String == "asStored", "\(info)")
            #expect(try CraftCommand.run(["plan", "--data", root]).status == 0)

            let run = folder.path("run")
            let train = [
                "--questions", "none", "--batch-size", "2", "--steps", "1", "--quiet", "--hold-out-every", "0",
            ]
            let result = try CraftCommand.run(["train", "--data", root, "--out", run] + train)
            #expect(result.status == 0, "\(result.output)")
            let statistics = try JSONSerialization.jsonObject(
                with: Data(contentsOf: URL(fileURLWithPath: run + "/dataset_statistics.json")))
            let action = ((statistics as? [String: Any])?[Self.name] as? [String: Any])?["action"] as? [String: Any]
            #expect((action?["mask"] as? [Bool]) == [Bool](repeating: true, count: 6))
            let model = try CraftCommand.run(["model", "info", run])
            #expect(model.status == 0 && model.standardOutput.contains("actions of 6 numbers"), "\(model.output)")

            let other = try CraftCommand.run(
                ["train", "--model", run + "/checkpoints/step-000001", "--out", folder.path("other")] + train)
            CraftCommand.expectRefusal(other, "made for 6 action and 6 state numbers", "7 action and 8 state numbers")
        }

        /// The data set is there, and damaged: not the exit code of a wrong path.
        @Test func verifyListsALostInfoFile() throws {
            let folder = try TemporaryFolder()
            let (root, version) = try copy(in: folder)
            try FileManager.default.removeItem(atPath: version + "dataset_info.json")
            let result = try CraftCommand.run(["data", "verify", root])
            #expect(result.status == 1, "\(result.output)")
            for word in ["dataset_info.json: is missing, though features.json and 2 shards are there", ": 1 problem"] {
                #expect(result.standardOutput.contains(word), "\(result.output)")
            }
            CraftCommand.expectRefusal(try CraftCommand.run(["data", "info", root]), "dataset_info.json: is missing")
        }

        @Test func verifyTellsSoundFromDamagedFromMissing() throws {
            var result = try CraftCommand.run(["data", "verify", Self.sample])
            #expect(result.status == 0 && result.standardOutput.contains("12 records"), "\(result.output)")
            let folder = try TemporaryFolder()
            let (root, version) = try copy(in: folder)
            for shard in try FileManager.default.contentsOfDirectory(atPath: version).filter({ $0.contains("tfrecord") }
            ) {
                var bytes = try Data(contentsOf: URL(fileURLWithPath: version + shard))
                bytes[bytes.count / 2] ^= 4
                try bytes.write(to: URL(fileURLWithPath: version + shard))
            }
            result = try CraftCommand.run(["data", "verify", root])
            #expect(result.status == 1 && result.standardOutput.contains("2 problems"), "\(result.output)")
            #expect(result.standardOutput.matches(of: /record \d+ \(payload of \d+ bytes at offset \d+\)/).count == 2)
            #expect(try CraftCommand.run(["data", "verify", root, "--json"]).status == 1)
            CraftCommand.expectRefusal(try CraftCommand.run(["data", "verify", folder.path("x")]), "no such folder")
        }

        @Test func statsAreWhatTrainingUses() throws {
            let folder = try TemporaryFolder()
            let (file, run) = (folder.path("statistics.json"), folder.path("run"))
            var result = try CraftCommand.run(["data", "stats", Self.sample, "--out", file])
            #expect(result.status == 0, "\(result.output)")
            result = try CraftCommand.run(CraftCommand.trainArguments("BaselineL1", steps: 1, out: run))
            #expect(result.status == 0, "\(result.output)")
            #expect(
                FileManager.default.contents(atPath: file)
                    == FileManager.default.contents(atPath: run + "/dataset_statistics.json"))

            let (few, fewRun) = (folder.path("few.json"), folder.path("few"))
            result = try CraftCommand.run([
                "data", "stats", Self.sample, "--shots", "1", "--shots-seed", "4", "--out", few,
            ])
            #expect(result.status == 0, "\(result.output)")
            result = try CraftCommand.run(
                CraftCommand.trainArguments(
                    "BaselineL1", steps: 1, out: fewRun,
                    ["--shots", "1", "--shots-seed", "4", "--statistics", "selected"]))
            #expect(result.status == 0, "\(result.output)")
            #expect(
                FileManager.default.contents(atPath: few)
                    == FileManager.default.contents(atPath: fewRun + "/dataset_statistics.json"))
            #expect(FileManager.default.contents(atPath: few) != FileManager.default.contents(atPath: file))
        }

        /// Reading ahead, and being interrupted while reading ahead of a mixture, changes nothing.
        @Test func mixturesResumeBitForBit() throws {
            let folder = try TemporaryFolder()
            let root = folder.path("data")
            for name in ["one", "two"] {
                try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: true)
                try FileManager.default.copyItem(atPath: Self.sample + "/\(Self.name)", toPath: root + "/\(name)")
            }
            let more = ["--data", root, "--dataset", "one:0.7,two:0.3"]
            let runs = ["straight", "resumed", "plain"].map { folder.path($0) }
            for (run, steps, ahead) in [(runs[0], 4, "3"), (runs[1], 2, "2"), (runs[2], 4, "0")] {
                let result = try CraftCommand.run(
                    CraftCommand.trainArguments("BaselineL1", steps: steps, out: run, more + ["--read-ahead", ahead]))
                #expect(result.status == 0, "\(result.output)")
            }
            let result = try CraftCommand.run(["train", "--resume", runs[1], "--steps", "4", "--quiet"])
            #expect(result.status == 0, "\(result.output)")
            for file in ["model.safetensors", "optimizer.safetensors", "trainer_state.json", "dataset_statistics.json"]
            {
                let contents = runs.map {
                    FileManager.default.contents(atPath: $0 + "/checkpoints/step-000004/" + file)
                }
                #expect(contents[0] != nil && contents[0] == contents[1] && contents[0] == contents[2], "\(file)")
            }
            let statistics = try String(contentsOfFile: runs[0] + "/dataset_statistics.json", encoding: .utf8)
            #expect(statistics.contains("\"one\"") && statistics.contains("\"two\""))
            CraftCommand.expectRefusal(
                try CraftCommand.run(
                    CraftCommand.trainArguments("BaselineL1", steps: 1, out: folder.path("no"), ["--data", root])),
                "holds 2 data sets", "one", "two")
        }

        @Test func benchPrintsJSON() throws {
            let report = try json([
                "data", "bench", Self.sample, "--seconds", "0.2", "--batch", "2", "--image-size", "32",
            ])
            #expect((report["samplesPerSecond"] as? Double ?? 0) > 0 && (report["peakMiB"] as? Double ?? 0) > 0)
        }
    }
}
