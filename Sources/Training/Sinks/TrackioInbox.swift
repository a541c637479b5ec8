internal import Formats
import Foundation

/// A run as trackio (https://github.com/gradio-app/trackio) takes it from programs that cannot write its database.
///
/// trackio keeps a project in SQLite, in a layout of its own that changes from release to release, and imports JSON lines from
/// `inbox/<writer>/<number>.jsonl` in its folder (since 0.28, for network file systems): `trackio show` reads them when it
/// starts and every 15 seconds, and removes what it has read. The inbox is the form with a version in it (`"v":1`), and one
/// that an open dashboard follows. Its folder is `TRACKIO_DIR` where that is set, as for trackio itself, else `RUN/trackio`:
///
///     TRACKIO_DIR=RUN/trackio trackio show
///
/// Fragments never change once they have their name, so rows are held back for up to ten seconds. What trackio has imported
/// cannot be taken back: a run that goes on from a step before the last one it told of continues there as another run, which
/// holds everything that happened, and the first stays as the branch that was given up.
package final class TrackioInbox: MetricSink {
    /// What a resumed process has to know, in `RUN/trackio.json`.
    private struct Told: Codable {
        var id: String
        var name: String
        /// The last step that fragments tell of; -1: none.
        var step = -1
        /// Rows of `metrics.jsonl` in them.
        var rows = 0
    }

    private static let heldSeconds = 10.0

    private let run: String
    private let inbox: String
    private let project: String
    private let writer = String(UUID().uuidString.lowercased().filter { $0 != "-" }.prefix(16))
    private var told: Told
    /// The settings, for the first record.
    private var config: String?
    private var fragments = 0
    private var held: [(row: MetricsLog.Record, json: String)] = []

    /// - Parameters:
    ///   - step: how far the run has come; nil: it is new.
    ///   - folder: trackio's; nil: what its environment says, else one in the run's folder.
    package init(of run: RunDirectory, project: String?, goingOnAfter step: Int?, folder: String? = nil) throws {
        self.run = run.path
        self.project = project ?? "craft"
        let folder = folder ?? ProcessInfo.processInfo.environment["TRACKIO_DIR"] ?? "\(run.path)/trackio"
        inbox = "\(folder)/inbox"
        let name = (run.path as NSString).lastPathComponent
        let items = RunSettings.items(of: run.path).map { "\(JSONText.quoted($0.key)):\($0.json)" }
        config = items.isEmpty ? nil : "{\(items.joined(separator: ","))}"
        let stored = FileManager.default.contents(atPath: Self.toldPath(of: run.path))
        if let step, let stored, let told = try? JSONDecoder().decode(Told.self, from: stored) {
            self.told =
                told.step <= step
                ? told : Told(id: UUID().uuidString.lowercased(), name: "\(name) from step \(step)")
        } else {
            told = Told(id: run.identity.id, name: name)
        }
        try write()
        for row in try MetricsLog.read(run.metricsPath).dropFirst(told.rows) { hold(row) }
    }

    package func append(_ row: MetricRow) throws {
        hold(MetricsLog.Record(row))
        if let first = held.first, row.time - first.row.time >= Self.heldSeconds { try write() }
    }

    package func synchronize() throws { try write() }

    private func hold(_ row: MetricsLog.Record) {
        // trackio takes each log_id once, however often a run that was killed tells of the row.
        let id = "\(told.id)-\(told.rows + held.count)"
        var fields = [
            "\"v\":1", "\"kind\":\"metric\"", "\"project\":\(JSONText.quoted(project))",
            "\"run\":\(JSONText.quoted(told.name))", "\"run_id\":\(JSONText.quoted(told.id))",
            "\"step\":\(row.step)", "\"timestamp\":\(JSONText.quoted(Self.stamp(row.time)))",
            "\"log_id\":\(JSONText.quoted(id))",
        ]
        if let config {
            fields.append("\"config\":\(config)")
            self.config = nil
        }
        let values = row.values.sorted { $0.key < $1.key }.map { "\(JSONText.quoted($0)):\(Self.number($1))" }
        fields.append("\"metrics\":{\(values.joined(separator: ","))}")
        held.append((row, "{\(fields.joined(separator: ","))}\n"))
    }

    /// Writes what is held back as a fragment, and how far that is.
    private func write() throws {
        if let last = held.last {
            // The dashboard removes folders that it has emptied.
            let folder = "\(inbox)/\(writer)"
            do {
                try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            } catch {
                throw FileError(path: folder, .failed, "could not create the folder: \(error.localizedDescription)")
            }
            let number = String(fragments)
            let digits = String(repeating: "0", count: max(0, 8 - number.count)) + number
            try AtomicFile.write(held.map(\.json).joined(), to: "\(folder)/\(digits).jsonl")
            fragments += 1
            (told.step, told.rows) = (last.row.step, told.rows + held.count)
            held = []
        }
        try AtomicFile.write([UInt8](try JSONEncoder().encode(told)) + [10], to: Self.toldPath(of: run))
    }

    private static func toldPath(of run: String) -> String { "\(run)/trackio.json" }

    /// trackio writes what JSON lacks as words.
    private static func number(_ value: Double) -> String {
        if value.isFinite { return JSONText.number(value) }
        return value.isNaN ? "\"NaN\"" : value > 0 ? "\"Infinity\"" : "\"-Infinity\""
    }

    /// `2026-11-25T19:51:05.250000+00:00`: trackio sorts by this text, so all have microseconds.
    private static func stamp(_ time: Double) -> String {
        let microseconds = time.isFinite ? Int((min(max(time, 0), 1e11) * 1e6).rounded()) : 0
        let date = Date(timeIntervalSince1970: Double(microseconds / 1_000_000))
        let fraction = String(1_000_000 + microseconds % 1_000_000).dropFirst()
        return date.formatted(.iso8601.year().month().day().time(includingFractionalSeconds: false))
            + ".\(fraction)+00:00"
    }
}
