import Foundation
import Glibc

/// A child process whose output goes where this process's goes.
package enum ForwardingProcess {
    /// Runs it and waits. Ctrl-C and SIGTERM reach the child as SIGINT; it ends when this process does.
    ///
    /// - Returns: its exit code; 128 and the signal's number when a signal ended it; 130 after Ctrl-C.
    package static func run(_ arguments: [String], environment: [String: String] = [:]) throws -> Int32 {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: arguments[0])
        process.arguments = Array(arguments.dropFirst())
        process.environment = ProcessInfo.processInfo.environment.merging(
            environment.merging([ParentWatch.variable: "1"]) { given, _ in given }
        ) { _, new in new }
        let life = Pipe()
        process.standardInput = life
        try process.run()
        var isTold = false
        while process.isRunning {
            if Interruption.isRequested, !isTold {
                process.interrupt()
                isTold = true
            }
            usleep(50_000)
        }
        process.waitUntilExit()
        withExtendedLifetime(life) {}
        if Interruption.isRequested, process.terminationStatus != 0 { return 130 }
        return process.terminationReason == .uncaughtSignal
            ? 128 + process.terminationStatus : process.terminationStatus
    }
}
