package import Formats
import Foundation

/// The folder of one training run, and the names of what is in it.
///
///     RUN/run.json              what makes the folder a run: format, identifier, when it was created
///     RUN/config.json           the resolved settings
///     RUN/plan.json             the resolved data flow between plugins, and the hashes of the plugin files
///     RUN/metrics.jsonl         one JSON object per step (MetricsLog)
///     RUN/train_progress.log    the console's progress lines
///     RUN/profile.json          with --profile: a trace for chrome://tracing or Perfetto
///     RUN/done.json             written last: how many steps the run did, all that it was to do
///     RUN/tensorboard/          event files (TensorBoardWriter)
///     RUN/checkpoints/          one folder per checkpoint (CheckpointFolders)
///
/// While the object lives it holds a lock on `run.json`, so that two trainers cannot write to the same run. The lock
/// goes away with the process, however it ends.
package final class RunDirectory {
    /// The content of `run.json`: what makes the folder a run, and where it began.
    package struct Identity: Codable, Sendable, Equatable {
        /// Version of the folder's layout.
        package var format: Int
        /// Random, unique to the run, kept when it resumes.
        package var id: String
        /// ISO 8601, UTC.
        package var created: String
        /// The craft, the machine and its processor that began the run; nil in runs of a craft that did not write them.
        package var craft: String?
        package var host: String?
        package var processor: String?
    }

    /// The version of the layout that this craft writes and reads.
    package static let format = 1

    package let path: String
    package let identity: Identity
    private let lock: Int32

    package var configPath: String { "\(path)/config.json" }
    package var planPath: String { "\(path)/plan.json" }
    package var metricsPath: String { Self.metricsPath(of: path) }
    /// Metrics by block, when plugins give any.
    package var blockMetricsPath: String { "\(path)/block_metrics.jsonl" }
    package var progressPath: String { "\(path)/train_progress.log" }
    package var profilePath: String { "\(path)/profile.json" }
    package var tensorboardPath: String { "\(path)/tensorboard" }
    package var checkpointsPath: String { Self.checkpointsPath(of: path) }
    package var checkpoints: CheckpointFolders { CheckpointFolders(path: checkpointsPath) }

    /// What ``markDone(steps:)`` writes.
    private struct Done: Codable {
        var steps: Int
    }

    private static func donePath(of run: String) -> String { "\(run)/done.json" }

    /// Notes that the run did all its steps and measured what it was to measure.
    package func markDone(steps: Int) throws(FileError) {
        let json = (try? JSONEncoder().encode(Done(steps: steps))) ?? Data()
        try AtomicFile.write(Array(json) + [UInt8(ascii: "\n")], to: Self.donePath(of: path))
    }

    /// Takes that note back: the run goes on.
    package func markUnfinished() { try? FileManager.default.removeItem(atPath: Self.donePath(of: path)) }

    /// Steps of a run that did them all; nil when it did not, however its process ended.
    package static func stepsDone(by run: String) -> Int? {
        FileManager.default.contents(atPath: donePath(of: run))
            .flatMap { try? JSONDecoder().decode(Done.self, from: $0) }?.steps
    }

    /// The paths that tools which only read a run need.
    package static func metricsPath(of run: String) -> String { "\(run)/metrics.jsonl" }
    package static func checkpointsPath(of run: String) -> String { "\(run)/checkpoints" }

    /// Creates the folder of a new run. It may exist when it is empty.
    ///
    /// - Throws: ``FileError`` when there is something in it already, a run or anything else.
    package static func create(at path: String) throws(FileError) -> RunDirectory {
        try makeFolder(path)
        let names = try contents(of: path).filter { !$0.hasSuffix(".partial") }
        if names.contains("run.json") {
            throw FileError(
                path: path, .taken, "already holds a run; resume it, or choose another folder for the new run")
        }
        if let name = names.min() {
            throw FileError(
                path: path, .taken,
                "is not empty (it holds '\(name)'\(names.count > 1 ? " and \(names.count - 1) more" : "")); "
                    + "a new run needs an empty folder or one that does not exist yet")
        }
        let identity = Identity(
            format: format, id: UUID().uuidString.lowercased(), created: ISO8601DateFormatter().string(from: Date()),
            craft: craftVersion, host: Machine.host, processor: Machine.processor)
        let json: String
        do { json = try JSONText.document(identity) } catch {
            throw FileError(path: path, .failed, "could not describe the run: \(error)")
        }
        let file = try AtomicFile(path: "\(path)/run.json")
        try file.write(json + "\n")
        // Two that begin at once both find the folder empty; one of them makes it its run.
        guard try file.commit(replacing: false) else {
            throw FileError(
                path: path, .taken, "already holds a run, which another process has just begun; choose another folder")
        }
        return try RunDirectory(opening: path)
    }

    /// Creates the folder of a new run under a name that nothing has yet: `base`, else `base-2` and so on.
    package static func createFresh(at base: String) throws(FileError) -> RunDirectory {
        try create(at: try claimFolder(base))
    }

    /// Makes a folder that was not there before: `base`, else `base-2` and so on. No two processes get the same.
    package static func claimFolder(_ base: String) throws(FileError) -> String {
        try makeFolder(URL(fileURLWithPath: base).deletingLastPathComponent().relativePath)
        var (path, count) = (base, 1)
        while mkdir(path, 0o777) != 0 {
            guard errno == EEXIST, count < 10_000 else {
                throw FileError(path: path, couldNot: "create the folder", code: errno)
            }
            count += 1
            path = "\(base)-\(count)"
        }
        return path
    }

    /// Opens the folder of a run that exists, to continue it.
    ///
    /// - Throws: ``FileError`` when it is not a run's folder, comes from a newer craft, or is in use by another process.
    package static func resume(at path: String) throws(FileError) -> RunDirectory {
        try RunDirectory(opening: path)
    }

    private init(opening path: String) throws(FileError) {
        self.path = path
        identity = try Self.identity(of: path)
        lock = open("\(path)/run.json", O_RDONLY | O_CLOEXEC)
        guard lock >= 0 else { throw FileError(path: "\(path)/run.json", couldNot: "open it", code: errno) }
        do throws(FileError) {
            if flock(lock, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK {
                throw FileError(
                    path: path, .taken, "is in use by another process that trains this run; stop that one first")
            }
            try Self.makeFolder(tensorboardPath)
            try Self.makeFolder(checkpointsPath)
        } catch {
            close(lock)
            throw error
        }
    }

    /// The folder of a run that rank 0 holds, for the other ranks: they read it, and write nothing but a log of their own.
    package init(attending path: String) throws(FileError) {
        self.path = path
        identity = try Self.identity(of: path)
        lock = -1
    }

    deinit { if lock >= 0 { close(lock) } }

    /// The identity of the run in a folder, without locking it.
    package static func identity(of path: String) throws(FileError) -> Identity {
        guard let data = FileManager.default.contents(atPath: "\(path)/run.json") else {
            throw FileError(path: path, .wrongKind, "is not the folder of a run: it has no run.json")
        }
        guard let identity = try? JSONDecoder().decode(Identity.self, from: data) else {
            throw FileError(path: "\(path)/run.json", "expected a JSON object with 'format', 'id' and 'created'")
        }
        guard identity.format <= format else {
            throw FileError(
                path: "\(path)/run.json", .unsupported,
                "has format \(identity.format), but this craft knows formats up to \(format); use a newer craft")
        }
        return identity
    }

    private static func makeFolder(_ path: String) throws(FileError) {
        do { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) } catch {
            throw FileError(path: path, .failed, "could not create the folder: \(error.localizedDescription)")
        }
    }

    private static func contents(of path: String) throws(FileError) -> [String] {
        do { return try FileManager.default.contentsOfDirectory(atPath: path) } catch {
            throw FileError(path: path, .failed, "could not read the folder: \(error.localizedDescription)")
        }
    }
}
