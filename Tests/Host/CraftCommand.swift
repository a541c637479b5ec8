import Foundation
import TestSupport
import Testing

/// Tests of the built command take turns: each of them uses all cores.
@Suite(.serialized) enum HostTests {}

/// The built `craft` on the shipped model and data, with runs small enough for tests.
enum CraftCommand {
    static let four = "BaselineL1,AnchorVariants,CRaFTProjection,CRaFTDual"
    static let assets = BuildFolder.repository.appendingPathComponent("Assets").path
    static let environment = ["CRAFT_ASSETS": assets]

    static func run(_ arguments: [String], in folder: URL? = nil) throws -> Command.Result {
        try Command.run([BuildFolder.craft] + arguments, in: folder, environment: environment)
    }

    /// Expects exit code 2, the words in a message on standard error, and nothing on standard output.
    static func expectRefusal(
        _ result: Command.Result, _ words: String..., at location: SourceLocation = #_sourceLocation
    ) {
        #expect(result.status == 2, "\(result.output)", sourceLocation: location)
        #expect(result.standardOutput.isEmpty, "\(result.standardOutput)", sourceLocation: location)
        for word in words {
            #expect(result.standardError.contains(word), "\(result.standardError)", sourceLocation: location)
        }
    }

    /// Every file below `folder`, sorted.
    static func files(in folder: String) throws -> [String] {
        try FileManager.default.subpathsOfDirectory(atPath: folder).sorted()
    }

    static func trainArguments(_ plugins: String, steps: Int, out: String, _ more: [String] = []) -> [String] {
        [
            "train", "--plugins", plugins, "--steps", "\(steps)", "--out", out, "--batch-size", "2", "--questions",
            "none",
            "--hold-out-every", "0", "--quiet",
        ] + more
    }

    /// Starts a run in the background.
    static func start(_ arguments: [String]) throws -> Process {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: BuildFolder.craft)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { _, new in new }
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        return process
    }

    static func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

    /// Waits until a checkpoint is there, at most a minute.
    static func waitForCheckpoint(in run: String) -> Bool {
        for _ in 0..<600 {
            let names = (try? FileManager.default.contentsOfDirectory(atPath: run + "/checkpoints")) ?? []
            if names.contains(where: { $0.hasPrefix("step-") && !$0.hasSuffix(".partial") }) { return true }
            Thread.sleep(forTimeInterval: 0.1)
        }
        return false
    }
}
