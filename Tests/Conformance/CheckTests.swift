import Conformance
import Foundation
import PluginRuntime
import TestSupport
import Testing

/// Single checks, in this process: those that a plugin can fail without ending it.
@Suite(.serialized) struct CheckTests {
    /// File of `Tests/Host/BadPlugins`, the check that catches it, words in what it says.
    private static let bad: [(String, PluginCheck, [String])] = [
        ("symbols", .symbols, ["helper_that_everybody_sees"]),
        ("descriptor", .descriptor, ["newest", "1.0.0"]),
        ("silent", .random, ["no message", "craft_fail"]),
        ("zero", .zero, ["not finite", "weights"]),
        ("tiny", .tiny, ["not finite", "weights"]),
        ("huge", .huge, ["not finite", "weights"]),
        ("nan", .nan, ["not finite", "weights"]),
        ("results", .results, ["did not write element", "weights"]),
        ("state", .state, ["saved state is incomplete"]),
        ("unsaved", .state, ["no save function"]),
        ("short_reads", .state, ["one byte at a time"]),
        ("truncated", .damagedState, ["cut from 16 to 0 bytes"]),
        ("reset", .reset, ["after reset"]),
        ("instances", .instances, ["share state"]),
    ]

    private func message(_ check: PluginCheck, of path: String) -> CheckMessage {
        check.message(of: PluginRequest(name: path), seed: 1)
    }

    @Test(arguments: bad)
    func whatIsWrongIsSaid(_ name: String, _ check: PluginCheck, _ words: [String]) throws {
        let folder = try TemporaryFolder()
        let root = BuildFolder.repository.path
        // A library of its own file: two of one soname would be one to the loader.
        let path = folder.path("lib\(name)_here.so")
        let built = try Command.run([
            "cc", "-std=gnu99", "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-I",
            "\(root)/Sources/PluginAPI/include", "\(root)/Tests/Host/BadPlugins/\(name).c", "-o", path, "-lm",
        ])
        try #require(built.status == 0, "\(built.output)")
        let message = message(check, of: path)
        for word in words { #expect(message.problem?.contains(word) == true, "\(name): \(message)") }
        #expect(message.isNoPlugin == false)
    }

    @Test(arguments: [PluginCheck.symbols, .descriptor, .settings, .random, .zero, .nan, .results, .state, .reset])
    func aShippedPluginPasses(_ check: PluginCheck) {
        let message = message(check, of: BuildFolder.plugin("CRaFTDual"))
        #expect(message.problem == nil && message.id == "craft.CRaFTDual", "\(message)")
    }

    @Test func whatIsNotAPluginIsTold() throws {
        let folder = try TemporaryFolder()
        let text = folder.path("libtext.so")
        try Data("no library".utf8).write(to: URL(fileURLWithPath: text))
        for path in [text, folder.path("libnone.so")] {
            let message = message(.load, of: path)
            #expect(message.isNoPlugin && message.problem?.contains(path) == true, "\(message)")
        }
    }

    /// The fingerprint of the results tells runs of two seeds apart, and two runs of one seed alike.
    @Test func equalSeedsGiveEqualResults() throws {
        let request = PluginRequest(name: BuildFolder.plugin("CRaFTProjection"))
        let digests = [1, 1, 2].map { PluginCheck.determinism.message(of: request, seed: $0).digest }
        #expect(digests[0] != nil && digests[0] == digests[1] && digests[0] != digests[2], "\(digests)")
    }

    @Test func aReportFailsWithItsFirstProblem() {
        var report = ValidationReport(CheckProcess(plugin: "a.so", path: "a.so", seed: 3, timeLimit: 1))
        var message = CheckMessage()
        (message.id, message.version) = ("org.example.a", "1.0.0")
        #expect(report.add(.load, message, seconds: 0).status == .passed)
        #expect(report.add(.scan, nil, seconds: 0).status == .skipped && report.passed)
        message.problem = "it leaks"
        #expect(report.add(.leaks, message, seconds: 0).message == "it leaks" && !report.passed)
        #expect(report.id == "org.example.a" && report.checks.count == 3 && report.seed == 3)
    }
}
