import Foundation
import TestSupport

/// The built `craft` on the shipped model and data, with runs small enough for tests.
enum CraftCommand {
    static let four = "BaselineL1,AnchorVariants,CRaFTProjection,CRaFTDual"
    static let assets = BuildFolder.repository.appendingPathComponent("Assets").path
    static let environment = ["CRAFT_ASSETS": assets]

    static func run(_ arguments: [String]) throws -> Command.Result {
        try Command.run([BuildFolder.craft] + arguments, environment: environment)
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
