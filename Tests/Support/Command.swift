public import Foundation

/// Runs a program and waits for it.
public enum Command {
    public struct Result {
        public let status: Int32
        /// Standard output and standard error together.
        public let output: String
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
        process.standardError = pipe
        try process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return Result(status: process.terminationStatus, output: String(decoding: data, as: UTF8.self))
    }
}
