public import Foundation

/// Runs a program and waits for it.
public enum Command {
    public struct Result {
        public let status: Int32
        public let standardOutput: String
        public let standardError: String
        /// Both, one after the other.
        public var output: String { standardOutput + standardError }
    }

    /// - Parameters:
    ///   - arguments: program and arguments; the program is looked up in `PATH`.
    ///   - environment: added to this process's own.
    public static func run(
        _ arguments: [String], in folder: URL? = nil, environment: [String: String] = [:]
    ) throws -> Result {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = arguments
        if let folder { process.currentDirectoryURL = folder }
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { _, new in new }
        let pipe = Pipe()
        process.standardOutput = pipe
        // Errors go through a file: reading two pipes in turn can wait forever on the one that is not being filled.
        let errors = FileManager.default.temporaryDirectory.appendingPathComponent("craft-test-\(UUID().uuidString)")
        try Data().write(to: errors)
        defer { try? FileManager.default.removeItem(at: errors) }
        process.standardError = try FileHandle(forWritingTo: errors)
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return Result(
            status: process.terminationStatus, standardOutput: String(decoding: data, as: UTF8.self),
            standardError: try String(contentsOf: errors, encoding: .utf8))
    }
}
