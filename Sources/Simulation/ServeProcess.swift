import Formats
import Foundation
import Glibc
import Processes
import Training

/// `craft serve` as a child process, on a port of its own choice.
package final class ServeProcess {
    private let process = Process()
    private let life = Pipe()
    private let output = Pipe()
    /// ws://127.0.0.1:PORT
    package let address: String

    /// Starts the server and waits until it says where it listens.
    ///
    /// - Parameter base: folder of the base model of an adapter; nil takes the one that the adapter names.
    package init(checkpoint: String, base: String?) throws {
        process.executableURL = URL(fileURLWithPath: Installation.executable)
        process.arguments = ["serve", "--checkpoint", checkpoint, "--port", "0"] + (base.map { ["--base", $0] } ?? [])
        process.environment = ProcessInfo.processInfo.environment.merging([ParentWatch.variable: "1"]) { _, new in new }
        process.standardInput = life
        process.standardOutput = output
        try process.run()
        let reader = output.fileHandleForReading
        var text = ""
        var found: String?
        while found == nil {
            let data = reader.availableData
            if data.isEmpty || Interruption.isRequested { break }
            text += String(decoding: data, as: UTF8.self)
            // The last piece may be half a line.
            found = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
                .first { $0.contains("listening on ws://") }
                .flatMap { line in line.range(of: "ws://").map { String(line[$0.lowerBound...]) } }
        }
        guard let found else {
            process.terminate()
            process.waitUntilExit()
            if Interruption.isRequested { throw SimulationError(.stopped, "stopped") }
            throw SimulationError(
                .serverEnded,
                "craft serve --checkpoint \(checkpoint) ended (exit code \(process.terminationStatus)) before it listened; its "
                    + "message is above")
        }
        address = found.trimmingCharacters(in: .whitespaces)
        // A full pipe would stop the server.
        Thread.detachNewThread { while !reader.availableData.isEmpty {} }
    }

    package func stop() {
        if process.isRunning { process.terminate() }
        process.waitUntilExit()
    }
}
