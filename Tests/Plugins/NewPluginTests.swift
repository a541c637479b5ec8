import Foundation
import PluginRuntime
import TestSupport
import Testing
import Training

/// `craft plugins new`: what it writes builds with what it prints, gives the same numbers in every language, and trains.
@Suite struct NewPluginTests {
    let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func craft(_ arguments: [String]) throws -> Command.Result {
        let assets = BuildFolder.repository.appendingPathComponent("Assets").path
        return try Command.run([BuildFolder.craft] + arguments, in: folder.url, environment: ["CRAFT_ASSETS": assets])
    }

    /// The printed command under a label.
    private func command(_ label: String, in output: String) throws -> String {
        let line = try #require(output.split(separator: "\n").first { $0.hasPrefix(label + " ") }, "\(output)")
        return line.dropFirst(label.count).trimmingCharacters(in: .whitespaces)
    }

    @Test(arguments: ["c", "cpp", "rust", "swift"])
    func buildsAndTrains(language: String) throws {
        let name = "Rule\(language.capitalized)"
        let written = try craft(["plugins", "new", name, "--lang", language, "--out", "my rules/\(name)"])
        try #require(written.status == 0, "\(written.output)")
        let source = try #require(
            written.output.split(separator: "\n").first { $0.contains("holds the rule") }?.split(separator: " holds")[0]
        )
        let lines = try String(contentsOfFile: folder.path(String(source)), encoding: .utf8).split(
            separator: "\n", omittingEmptySubsequences: false)
        #expect((20...42).contains(lines.count), "\(lines.count) lines")

        // Without the tools (scripts/install.sh --tests installs them) this fails, and says what was not found.
        let built = try Command.run(["bash", "-c", try command("build", in: written.output)], in: folder.url)
        try #require(built.status == 0, "\(built.output)")
        #expect(!built.output.contains("warning"), "\(built.output)")

        let checkCommand = try command("check", in: written.output)
        let library = try #require(checkCommand.components(separatedBy: "check ").last)
            .trimmingCharacters(in: CharacterSet(charactersIn: "'"))
        let symbols = try Command.run(["nm", "-D", "--defined-only", folder.path(library)]).output
        #expect(symbols.hasSuffix(" T craft_plugin_entry\n") && symbols.split(separator: "\n").count == 1, "\(symbols)")
        try expectNumbers(folder.path(library))
        let checked = try Command.run(["bash", "-c", checkCommand], in: folder.url)
        #expect(checked.status == 0, "\(checked.output)")

        let train = try command("train", in: written.output).replacingOccurrences(of: "--steps 20", with: "--steps 2")
        let trained = try Command.run(
            ["bash", "-c", train + " --batch-size 2 --questions none --hold-out-every 0 --quiet --out run"],
            in: folder.url,
            environment: ["CRAFT_ASSETS": BuildFolder.repository.appendingPathComponent("Assets").path])
        #expect(trained.status == 0, "\(trained.output)")
        let plan = try String(contentsOfFile: folder.path("run/plan.txt"), encoding: .utf8)
        #expect(plan.contains(name), "\(plan)")
        #expect(FileManager.default.fileExists(atPath: folder.path("run/checkpoints/step-000002")))
    }

    /// The rule's values to the last bit, computed here; every language is held to the same.
    private func expectNumbers(_ library: String) throws {
        let composition = try compose("BaselineL1,AnchorVariants,\(library):ratio=2.5")
        var numbers = TestNumbers(seed: 7)
        let (blocks, count) = (4, 3)
        var gram: [Double] = []
        for block in 0..<blocks {
            let scale = [1, 1e-12, 1e12, 0][block]
            let rows = (0..<count).map { row in
                numbers.array(5).map { $0 * scale * [1, 30, row == block ? 0 : 0.01][row] }
            }
            for a in rows { for b in rows { gram.append(zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }) } }
        }
        let weights = numbers.array(blocks * count)
        var expected: [Double] = []
        for block in 0..<blocks {
            let norms = (0..<count).map {
                abs(weights[block * count + $0]) * gram[(block * count + $0) * count + $0].squareRoot()
            }
            let limit = 2.5 * (norms.filter { $0 > 0 }.min() ?? .infinity)
            for (i, norm) in norms.enumerated() {
                expected.append(weights[block * count + i] * (norm > limit ? limit / norm : 1))
            }
        }
        func run(_ gram: [Double]) throws -> [Double] {
            let values = ValueStore()
            let matrix = TestArray(gram, shape: [blocks, count, count])
            let factors = TestArray(weights, shape: [blocks, count])
            values.set("gram", matrix.view)
            values.set("weights", factors.view)
            try composition.run(.gradientCombine, values: values, step: 0)
            return withExtendedLifetime((matrix, factors)) { values.array("weights").map { Array($0.doubles) } ?? [] }
        }
        let found = try run(gram)
        #expect(found.map(\.bitPattern) == expected.map(\.bitPattern))
        #expect(found != weights)

        gram[(count + 1) * count + 1] = .nan
        let failure = try #require(throws: PluginFailure.self) { _ = try run(gram) }
        #expect(failure.message.contains("block 1, objective 1: the norm is"), "\(failure)")
    }

    @Test(arguments: [
        (["lower", "--lang", "c"], "'lower' cannot be a plugin's name"),
        (["My-Rule", "--lang", "c"], "'My-Rule' cannot be a plugin's name"),
        (["Räte", "--lang", "c"], "cannot be a plugin's name"),
        (["../Rule", "--lang", "c"], "cannot be a plugin's name"),
        (["", "--lang", "c"], "cannot be a plugin's name"),
        ([String(repeating: "A", count: 65), "--lang", "c"], "at most 64"),
        (["Self", "--lang", "swift"], "'Self' means something else"),
        (["CRaFTDual", "--lang", "c"], "ships with craft"),
        (["Rule", "--lang", "go"], "'cpp'"),
        (["Rule"], "--lang"), (["--lang", "c"], "name"),
        (["Rule", "--lang", "c", "--out", ""], "--out needs the path"),
        (["Rule", "--lang", "c", "--out", "there"], "'there' is there already"),
        (["Rule", "--lang", "c", "--out", "file/below"], "cannot write 'file/below'"),
    ])
    func refusals(arguments: [String], words: String) throws {
        try FileManager.default.createDirectory(atPath: folder.path("there"), withIntermediateDirectories: true)
        try Data().write(to: folder.url.appendingPathComponent("file"))
        let before = try FileManager.default.subpathsOfDirectory(atPath: folder.url.path).sorted()
        let result = try craft(["plugins", "new"] + arguments)
        #expect(result.status == 2)
        #expect(result.output.contains(words), "\(result.output)")
        #expect(try FileManager.default.subpathsOfDirectory(atPath: folder.url.path).sorted() == before)
    }

    /// A copy of the executable alone finds the SDK through the environment, and says so when there is none.
    @Test func worksAwayFromTheCheckout() throws {
        let binary = folder.path("craft")
        try FileManager.default.copyItem(atPath: BuildFolder.craft, toPath: binary)
        let lost = try Command.run([binary, "plugins", "new", "Rule", "--lang", "c"], in: folder.url)
        #expect(lost.status == 2 && lost.output.contains("there is no plugin SDK above"), "\(lost.output)")
        let script = BuildFolder.repository.appendingPathComponent("scripts/install-sdk.sh").path
        let installed = try Command.run([script, folder.path("sdk")])
        try #require(installed.status == 0, "\(installed.output)")
        for language in ["c", "cpp", "rust", "swift"] {
            let name = "Rule\(language.capitalized)"
            let there = try craft(["plugins", "new", name, "--lang", language, "--out", "a/\(name)"])
            let away = try Command.run(
                [binary, "plugins", "new", name, "--lang", language, "--out", "b/\(name)"], in: folder.url,
                environment: ["CRAFT_SDK": folder.path("sdk")])
            #expect(there.status == 0 && away.status == 0, "\(there.output) \(away.output)")
        }
        let difference = try Command.run(["diff", "-r", "a", "b"], in: folder.url)
        #expect(difference.status == 0, "\(difference.output)")
    }
}
