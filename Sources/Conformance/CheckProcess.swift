import Dispatch
import Foundation
import Glibc
import PluginRuntime
import Processes

/// What a check process writes for the one that started it.
package struct CheckMessage: Codable {
    /// What is wrong; `nil` when nothing is.
    package var problem: String?
    /// A remark on a check that passed.
    package var note: String?
    /// Whether the file is not a plugin at all.
    package var isNoPlugin = false
    package var id: String?
    package var version: String?
    /// Fingerprint of the results, to be compared between processes.
    package var digest: String?

    package init(problem: String? = nil) { self.problem = problem }
}

/// Runs one check in a process of its own: whatever the plugin does there ends that process and no other.
package struct CheckProcess {
    /// The plugin by its path, with settings as in a plugin list (":key=value").
    package let plugin: String
    package let path: String
    /// Of the values.
    package let seed: UInt64
    package let timeLimit: Double

    package init(plugin: String, path: String, seed: UInt64, timeLimit: Double) {
        self.plugin = plugin
        self.path = path
        self.seed = seed
        self.timeLimit = timeLimit
    }

    package enum Ending {
        case finished(CheckMessage)
        /// It ended on its own or was ended; how, as a sentence.
        case died(String)
    }

    package func run(_ check: PluginCheck) throws -> Ending {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("craft-check-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let result = folder.appendingPathComponent("result.json")
        let output = folder.appendingPathComponent("output.txt")
        guard FileManager.default.createFile(atPath: output.path, contents: nil) else {
            throw CheckProblem("\(output.path): cannot be written; check the folder's permissions and space")
        }
        let file = try FileHandle(forWritingTo: output)
        defer { try? file.close() }

        let process = Process()
        process.executableURL = URL(fileURLWithPath: Installation.executable)
        process.arguments = [
            "plugins", "run-check", check.rawValue, plugin, "--seed", "\(seed)", "--result", result.path,
        ]
        // Without the allocator's per-thread cache, mallopt(M_PERTURB) reaches every block: uninitialised memory shows.
        process.environment = ProcessInfo.processInfo.environment.merging(
            ["GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"]
        ) { _, new in new }
        // What the plugin prints is not part of craft's output; the crash report is at its end.
        process.standardOutput = file
        process.standardError = file
        process.standardInput = FileHandle.nullDevice
        let done = DispatchSemaphore(value: 0)
        process.terminationHandler = { _ in done.signal() }
        try process.run()
        if done.wait(timeout: .now() + timeLimit) == .timedOut {
            kill(process.processIdentifier, SIGKILL)
            done.wait()
            return .died("it took longer than the time limit of \(timeLimit) s and was ended")
        }
        let printed = String(decoding: FileManager.default.contents(atPath: output.path) ?? Data(), as: UTF8.self)
        if process.terminationReason == .uncaughtSignal {
            return .died(Self.crash(process.terminationStatus, printed))
        }
        guard let data = FileManager.default.contents(atPath: result.path),
            let message = try? JSONDecoder().decode(CheckMessage.self, from: data)
        else {
            let ending = printed.split(separator: "\n").last { $0.contains(": it ended the process with exit status ") }
            if let ending { return .died(Self.withoutLabel(ending)) }
            let last = printed.split(separator: "\n").last.map { ": \($0)" } ?? ""
            return .died("the plugin ended the process with exit status \(process.terminationStatus)\(last)")
        }
        return .finished(message)
    }

    private static func withoutLabel(_ line: Substring) -> String {
        line.range(of: "Error: ").map { String(line[$0.upperBound...]) } ?? String(line)
    }

    /// The handler's own report where there is one, without its "Error: ".
    private static func crash(_ signal: Int32, _ printed: String) -> String {
        let report = printed.split(separator: "\n").last { $0.contains(": crashed with SIG") }
        if let report { return withoutLabel(report) }
        return "crashed with \(CrashReport.name(ofSignal: signal)) outside of its hooks, while it was opened or at exit"
    }
}
