import Formats
import Foundation
import Glibc
import Processes
package import Training

/// The folder of an ablation, and the child processes that fill it.
///
///     OUT/<row>/seed-<n>/run            an ordinary run folder
///     OUT/<row>/seed-<n>/log.txt        what craft train printed
///     OUT/<row>/seed-<n>/inputs.json    hashes of what the run depends on
///     OUT/<row>/seed-<n>/result.json    written last: the run is done
///     OUT/<row>/trial.json              seconds of a short trial, for the estimate
package final class AblationRunner {
    /// What is kept of a finished run.
    package struct Result: Codable {
        package var arguments: [String]
        package var seed: UInt64
        /// Wall-clock seconds of the process that finished it.
        package var seconds: Double
        /// Whether one process did it all, so that `seconds` tells what another such run takes.
        package var isWhole: Bool
        package var measures: [String: Double]
        /// Hashes of what the run depended on, by name; nil in results of before they were kept.
        package var inputs: [String: String]?
    }

    package enum Outcome {
        case done(Result)
        case failed(String)
        case stopped
    }

    private struct Trial: Codable {
        var seconds: Double
    }

    package let folder: String
    private let settings: ([String]) throws -> RunSettings
    private let lock: Int32
    private let files = FileManager.default
    private let identity = ContentIdentity()
    /// By row folder; nil where they cannot be found, and then training says why.
    private var inputs: [String: [String: String]?] = [:]

    /// - Parameter settings: of a run with these arguments of `craft train`.
    package init(folder: String, settings: @escaping ([String]) throws -> RunSettings) throws {
        self.folder = folder
        self.settings = settings
        do {
            try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
        } catch {
            throw ExperimentError(.folder, "cannot make the folder '\(folder)': \(error.localizedDescription)")
        }
        lock = open(folder + "/.lock", O_CREAT | O_RDWR | O_CLOEXEC, 0o644)
        guard lock >= 0, flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            throw ExperimentError(
                .folder,
                "'\(folder)' is in use by another craft ablate, or cannot be written; wait for it, or give another --out"
            )
        }
    }

    deinit { close(lock) }

    package func place(_ row: AblationGrid.Row, _ seed: UInt64) -> String { "\(folder)/\(row.folder)/seed-\(seed)" }

    /// The result of an earlier run with the same arguments, program, plugins, model and data.
    package func result(_ row: AblationGrid.Row, _ seed: UInt64) -> Result? {
        guard let result = stored(row, seed), let current = inputs(of: row), result.inputs == current else {
            return nil
        }
        return result
    }

    /// What is not as it was when the stored result was made; empty when there is none, or it is still good.
    package func changes(_ row: AblationGrid.Row, _ seed: UInt64) -> [String] {
        guard let result = stored(row, seed), let current = inputs(of: row), result.inputs != current else { return [] }
        let earlier = result.inputs ?? [:]
        return Set(earlier.keys).union(current.keys).sorted().filter { earlier[$0] != current[$0] }
    }

    private func stored(_ row: AblationGrid.Row, _ seed: UInt64) -> Result? {
        guard let data = files.contents(atPath: place(row, seed) + "/result.json") else { return nil }
        return try? JSONDecoder().decode(Result.self, from: data)
    }

    /// Hashes of everything that the row's runs depend on.
    private func inputs(of row: AblationGrid.Row) -> [String: String]? {
        if let known = inputs[row.folder] { return known }
        let found = try? identity.inputs(
            of: settings(row.arguments), executable: Installation.executable)
        inputs[row.folder] = .some(found)
        return found
    }

    // MARK: - Estimates

    /// Seconds another run of the row takes: from its own finished runs, else from a trial; `nil` without either.
    package func estimate(_ row: AblationGrid.Row, seeds: [UInt64]) -> Double? {
        let known = seeds.compactMap { result(row, $0) }.filter(\.isWhole).map(\.seconds)
        if !known.isEmpty { return known.reduce(0, +) / Double(known.count) }
        guard let data = files.contents(atPath: "\(folder)/\(row.folder)/trial.json") else { return nil }
        return (try? JSONDecoder().decode(Trial.self, from: data))?.seconds
    }

    /// Runs the row for a few steps and keeps how long the whole would take. Finds at once what cannot run at all.
    package func trial(_ row: AblationGrid.Row, seed: UInt64) throws -> Outcome {
        let steps = min(5, row.steps)
        let place = "\(folder)/\(row.folder)/trial"
        try? files.removeItem(atPath: place)
        try files.createDirectory(atPath: place, withIntermediateDirectories: true)
        let start = Date()
        let status = try run(
            ["train"] + row.arguments + ["--seed=\(seed)", "--steps=\(steps)", "--out=\(place)/run", "--quiet"],
            log: place + "/log.txt")
        let seconds = Date().timeIntervalSince(start)
        if status == 130 { return .stopped }
        guard status == 0 else { return .failed(reason(place + "/log.txt", status)) }
        guard RunDirectory.stepsDone(by: place + "/run") == steps else { return .failed(Self.unfinished(place)) }
        let measures = try RunMeasures.read(place + "/run/metrics.jsonl")
        let whole = seconds + Double(row.steps - steps) * (measures["ms/step"] ?? 0) / 1000
        try AtomicFile.write(
            Array(try JSONEncoder().encode(Trial(seconds: whole))), to: "\(folder)/\(row.folder)/trial.json")
        try? files.removeItem(atPath: place)
        return .done(Result(arguments: [], seed: seed, seconds: whole, isWhole: false, measures: measures))
    }

    // MARK: - Runs

    /// Starts the run, or takes it up where a kill left it.
    package func train(_ row: AblationGrid.Row, seed: UInt64) throws -> Outcome {
        let place = place(row, seed)
        let target = place + "/run"
        try files.createDirectory(atPath: place, withIntermediateDirectories: true)
        let reached = lastCheckpoint(of: target)
        let current = inputs(of: row)
        let begun = files.contents(atPath: place + "/inputs.json").flatMap {
            try? JSONDecoder().decode([String: String].self, from: $0)
        }
        // What is half done by another program, plugin or data begins anew.
        let continues = reached > 0 && reached < row.steps && begun != nil && begun == current
        if !continues {
            try? files.removeItem(atPath: target)
            try AtomicFile.write(Array(try JSONEncoder().encode(current ?? [:])), to: place + "/inputs.json")
        }
        let start = Date()
        let arguments =
            continues
            ? ["train", "--resume=\(target)", "--steps=\(row.steps)", "--quiet"]
            : ["train"] + row.arguments + ["--seed=\(seed)", "--out=\(target)", "--quiet"]
        let status = try run(arguments, log: place + "/log.txt")
        if status == 130 { return .stopped }
        guard status == 0 else { return .failed(reason(place + "/log.txt", status)) }
        guard RunDirectory.stepsDone(by: target) == row.steps else { return .failed(Self.unfinished(place)) }
        let result = Result(
            arguments: row.arguments, seed: seed, seconds: Date().timeIntervalSince(start), isWhole: !continues,
            measures: try RunMeasures.read(target + "/metrics.jsonl"), inputs: current)
        // By rename, and last: a kill at any moment leaves the run either done or to be done.
        try AtomicFile.write(json: result, to: place + "/result.json")
        return .done(result)
    }

    /// Step of the last whole checkpoint; 0 when there is none.
    private func lastCheckpoint(of run: String) -> Int {
        let names = (try? files.contentsOfDirectory(atPath: run + "/checkpoints")) ?? []
        return names.filter { $0.hasPrefix("step-") }.compactMap { Int($0.dropFirst(5)) }.max() ?? 0
    }

    /// Runs `craft` and waits. The child ends when this process does, however that happens, and gets Ctrl-C and SIGTERM.
    private func run(_ arguments: [String], log path: String) throws -> Int32 {
        _ = files.createFile(atPath: path, contents: nil)
        guard let log = FileHandle(forWritingAtPath: path) else {
            throw ExperimentError(.folder, "\(path): cannot be written; check the folder's permissions and space")
        }
        defer { try? log.close() }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        process.arguments = arguments
        var environment = ProcessInfo.processInfo.environment
        environment[ParentWatch.variable] = "1"
        process.environment = environment
        let life = Pipe()
        process.standardInput = life
        process.standardOutput = log
        process.standardError = log
        try process.run()
        var isTold = false
        while process.isRunning {
            if Interruption.isRequested, !isTold {
                // Its first signal makes it save a checkpoint and stop.
                process.terminate()
                isTold = true
            }
            usleep(50_000)
        }
        process.waitUntilExit()
        withExtendedLifetime(life) {}
        let status =
            process.terminationReason == .uncaughtSignal ? -process.terminationStatus : process.terminationStatus
        return Interruption.isRequested && status != 0 ? 130 : status
    }

    /// A plugin may end the process, and its exit code says what it likes.
    private static func unfinished(_ place: String) -> String {
        "its process ended with exit code 0 before the run was done, as a plugin that calls _exit makes it (\(place)/log.txt)"
    }

    /// The error the child printed, in one line.
    private func reason(_ log: String, _ status: Int32) -> String {
        let text = String(decoding: files.contents(atPath: log) ?? Data(), as: UTF8.self)
        let lines = text.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
        let start = lines.lastIndex { $0.hasPrefix("Error: ") } ?? max(0, lines.count - 1)
        let message = lines[min(start, lines.count)...].joined(separator: " ").replacingOccurrences(
            of: "Error: ", with: "")
        let short = message.count > 300 ? message.prefix(300) + "..." : message[...]
        let how = status < 0 ? "ended by signal \(-status)" : "exit code \(status)"
        return "\(short.isEmpty ? "no output" : short) (\(how); \(log))"
    }
}
