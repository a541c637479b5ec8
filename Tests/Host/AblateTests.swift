import Foundation
import TestSupport
import Testing

extension HostTests {
    /// `craft ablate` on the shipped model, with the smallest runs there are.
    @Suite struct AblateTests {
        let folder: TemporaryFolder
        init() throws { folder = try TemporaryFolder() }

        private static let small = [
            "--", "--batch-size", "2", "--questions", "none", "--hold-out-every", "0", "--steps",
        ]

        private func arguments(_ combos: String, steps: Int, _ more: [String] = []) -> [String] {
            ["ablate", "--combos", combos, "--seeds", "0,1", "--out", folder.path("out"), "--no-trial"]
                + Self.small + ["\(steps)"] + more
        }

        private func results() throws -> [String: Date] {
            var dates: [String: Date] = [:]
            for path in try CraftCommand.files(in: folder.path("out")) where path.hasSuffix("result.json") {
                let attributes = try FileManager.default.attributesOfItem(atPath: folder.path("out/" + path))
                dates[path] = attributes[.modificationDate] as? Date
            }
            return dates
        }

        /// One bad row does not stop the others; what is done stays as it is when rows are added.
        @Test func failuresAreIsolatedAndNothingRunsTwice() throws {
            let first = try CraftCommand.run(
                arguments("BaselineL1; bad = BaselineL1+CRaFTDual:budget=-1", steps: 2))
            #expect(first.status == 1, "\(first.output)")
            #expect(
                first.output.contains("2 of 4 runs failed") && first.output.contains("bad, seed 1:"), "\(first.output)")
            let done = try results()
            #expect(done.count == 2)

            let second = try CraftCommand.run(arguments("BaselineL1; two = BaselineL1+AnchorVariants", steps: 2))
            #expect(second.status == 0, "\(second.output)")
            #expect(second.output.contains("2 of 4 runs to do"), "\(second.output)")
            let more = try results()
            #expect(more.count == 4 && done.allSatisfy { more[$0.key] == $0.value })
            for file in ["table.txt", "table.csv", "table.tex"] {
                let text = try String(contentsOfFile: folder.path("out/\(file)"), encoding: .utf8)
                #expect(text.contains("two") && !text.contains("bad"), "\(text)")
            }
            let third = try CraftCommand.run(arguments("BaselineL1; two = BaselineL1+AnchorVariants", steps: 2))
            #expect(third.output.contains("0 of 4 runs to do"), "\(third.output)")
            #expect(try results() == more)
        }

        /// SIGKILL takes the running child along, and the next start goes on from its checkpoint to the same bits.
        @Test func goesOnAfterAKill() throws {
            let list = arguments("BaselineL1", steps: 40, ["--save-every", "2"])
            let process = try CraftCommand.start(list)
            var place: String?
            for _ in 0..<600 where place == nil {
                let rows = (try? FileManager.default.contentsOfDirectory(atPath: folder.path("out"))) ?? []
                place = rows.first { $0.hasPrefix("BaselineL1-") }.map { folder.path("out/\($0)/seed-0/run") }
                Thread.sleep(forTimeInterval: 0.05)
            }
            let target = try #require(place)
            #expect(CraftCommand.waitForCheckpoint(in: target))
            kill(process.processIdentifier, SIGKILL)
            process.waitUntilExit()
            Thread.sleep(forTimeInterval: 1)
            let metrics = target + "/metrics.jsonl"
            let size = try FileManager.default.attributesOfItem(atPath: metrics)[.size] as? Int
            Thread.sleep(forTimeInterval: 1)
            #expect(
                try FileManager.default.attributesOfItem(atPath: metrics)[.size] as? Int == size, "the child goes on")
            #expect(try results().isEmpty)

            let again = try CraftCommand.run(list)
            #expect(again.status == 0, "\(again.output)")
            #expect(try results().count == 2)
            let log = try String(
                contentsOfFile: URL(fileURLWithPath: target).deletingLastPathComponent().path + "/log.txt",
                encoding: .utf8)
            #expect(log.contains("continuing from step"), "\(log)")
            let whole = try CraftCommand.run(
                CraftCommand.trainArguments("BaselineL1", steps: 40, out: folder.path("whole"), ["--save-every", "2"]))
            #expect(whole.status == 0, "\(whole.output)")
            let model = "/checkpoints/step-000040/model.safetensors"
            #expect(
                try Data(contentsOf: URL(fileURLWithPath: target + model))
                    == Data(contentsOf: URL(fileURLWithPath: folder.path("whole") + model)))
        }

        @Test func paperGridAndDryRun() throws {
            let result = try CraftCommand.run(
                ["ablate", "paper", "--dry-run", "--no-trial", "--out", folder.path("paper"), "--seeds", "0"])
            #expect(result.status == 0, "\(result.output)")
            for row in ["full ", "no projection", "no dual", "aq_only", "raw_only"] {
                #expect(result.output.contains(row))
            }
            #expect(result.output.contains("5 of 5 runs to do"), "\(result.output)")
        }

        @Test(arguments: [
            ("combinations: {a: BaselineL1}\nseed: [1]", "there is no 'seed' in a grid"),
            ("combinations: [a]", "expected `combinations:`"), ("- 1", "expected `combinations:`"),
            ("combinations: {a: BaselineL1}\nseeds: [-1]", "a seed is a whole number"),
            ("combinations: {a: BaselineL1}\nsweep: {lr: 3}", "needs a list of values"),
            ("combinations: {a: BaselineL1}\nsettings: {out: x}", "'out' is not a setting of a grid"),
            ("combinations: {a: {plugin: BaselineL1}}", "there is no 'plugin' here"), ("a: [", "not YAML"),
        ])
        func badGrids(text: String, words: String) throws {
            let file = folder.path("grid.yaml")
            try Data(text.utf8).write(to: URL(fileURLWithPath: file))
            CraftCommand.expectRefusal(try CraftCommand.run(["ablate", file, "--out", folder.path("x")]), words)
        }

        @Test func badArguments() throws {
            CraftCommand.expectRefusal(try CraftCommand.run(["ablate"]), "give either a grid")
            CraftCommand.expectRefusal(try CraftCommand.run(["ablate", "none.yaml"]), "no such file")
            CraftCommand.expectRefusal(
                try CraftCommand.run(["ablate", "--combos", "BaselineL1", "--seeds", "a"]), "a seed is a whole number")
        }
    }
}
