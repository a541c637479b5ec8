import Foundation
import TestSupport
import Testing
import Training

/// Fragments for trackio, against one that trackio 0.43.0 wrote of the same rows (`scripts/reference/trackio_reference.py`), and
/// read back by trackio itself where it is installed.
@Suite("outputs: trackio") struct OutputsTrackioTests {
    private static let start = 1_795_636_265.25
    static let rows = [
        MetricRow(step: 0, time: start, values: [("VLA Eval/Held-out L1 Loss", 0.5)]),
        MetricRow(
            step: 1, time: start + 0.75, values: [("VLA Train/Loss", 0.25), ("CRaFT/Lambda", .nan)],
            milliseconds: 12.5),
        MetricRow(
            step: 1, time: start + 1.750_001,
            values: [("VLA Eval/Held-out L1 Loss", .infinity), ("Plugin/a \"b\"", -1e300)]),
    ]

    private let folder: TemporaryFolder
    private var path: String { folder.path("mine") }

    init() throws { folder = try TemporaryFolder() }

    /// A run in whose folder a sink was given `rows`, from step `earlier` on.
    private func report(_ rows: [MetricRow], goingOnAfter earlier: Int? = nil) throws {
        let run = try earlier == nil ? RunDirectory.create(at: path) : RunDirectory.resume(at: path)
        try #"{"steps": 3, "dataset": "libero", "plugins": [{"name": "BaselineL1"}]}"#
            .write(toFile: run.configPath, atomically: true, encoding: .utf8)
        let log = try MetricsLog(path: run.metricsPath, keepingThrough: earlier)
        let sink = try TrackioInbox(
            of: run, project: "libero", goingOnAfter: earlier, folder: "\(path)/trackio")
        for row in rows {
            try log.append(row)
            try sink.append(row)
        }
        try sink.finish()
    }

    private func records(_ data: Data) throws -> [[String: Any]] {
        try data.split(separator: UInt8(ascii: "\n")).map {
            try #require(try JSONSerialization.jsonObject(with: $0) as? [String: Any])
        }
    }

    /// The records of all fragments, in the order in which trackio reads a writer's.
    private func written() throws -> [[String: Any]] {
        let inbox = "\(path)/trackio/inbox"
        let files = try FileManager.default.subpathsOfDirectory(atPath: inbox).sorted().filter {
            $0.hasSuffix(".jsonl")
        }
        return try files.flatMap { try records(Data(contentsOf: URL(fileURLWithPath: "\(inbox)/\($0)"))) }
    }

    @Test func fragmentsAreTrackiosOwn() throws {
        try report(Self.rows)
        let id = try RunDirectory.identity(of: path).id
        let made = try written().map { record in
            #expect(record["run_id"] as? String == id)
            var record = record
            record["run_id"] = "0123"
            record["log_id"] = (record["log_id"] as? String)?.replacingOccurrences(of: id, with: "0123")
            return NSDictionary(dictionary: record)
        }
        let stored = try records(try Data(contentsOf: BuildFolder.fixture("trackio/fragment.jsonl"))).map { record in
            NSDictionary(dictionary: record.filter { !($0.value is NSNull) })
        }
        #expect(made.count == 3)
        #expect(made == stored)
    }

    /// A run goes on under its name where trackio knows nothing of later steps, else as another with everything in it.
    @Test func aRunGoesOnOrBranches() throws {
        func row(_ step: Int) -> MetricRow {
            MetricRow(step: step, time: Self.start + Double(step), values: [("VLA Train/Loss", Double(step))])
        }
        try report([row(1), row(2)])
        try report([row(3), row(4)], goingOnAfter: 2)
        var records = try written()
        #expect(Set(records.map { $0["run"] as? String }) == ["mine"])
        #expect(Set(records.map { $0["run_id"] as? String }).count == 1)
        #expect(Set(records.map { $0["log_id"] as? String }).count == 4)
        #expect(Set(records.compactMap { $0["step"] as? Int }) == [1, 2, 3, 4])
        // Steps 3 and 4 are taken again: trackio may have imported the first ones.
        try report([row(3)], goingOnAfter: 2)
        records = try written().filter { $0["run"] as? String == "mine from step 2" }
        #expect(records.compactMap { $0["step"] as? Int } == [1, 2, 3])
        #expect(Set(records.map { $0["run_id"] as? String }).count == 1)
    }

    private static let python =
        ProcessInfo.processInfo.environment["CRAFT_TRACKIO_PYTHON"]
        ?? BuildFolder.repository.appendingPathComponent(".venv/bin/python").path

    private static func run(_ arguments: [String]) throws -> Data? {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: python)
        process.arguments = arguments
        let output = Pipe()
        process.standardOutput = output
        try process.run()
        let data = try output.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return process.terminationStatus == 0 ? data : nil
    }

    private static let hasTrackio =
        (try? run(["-c", "import importlib.util as u, sys; sys.exit(u.find_spec('trackio') is None)"])) ?? nil != nil

    @Test(
        .enabled(
            if: hasTrackio, "trackio is not installed: .venv/bin/pip install trackio, or name a CRAFT_TRACKIO_PYTHON"))
    func trackioReadsIt() throws {
        struct Run: Decodable {
            var name: String
            var id: String
            var config: Config
            var logs: [Log]
        }
        struct Config: Decodable {
            var steps: Int
            var dataset: String
        }
        struct Log: Decodable {
            var step: Int
            var loss: Double?
            var lambda: Double?
            var measure: Double?
            enum CodingKeys: String, CodingKey {
                case step
                case loss = "VLA Train/Loss"
                case lambda = "CRaFT/Lambda"
                case measure = "VLA Eval/Held-out L1 Loss"
            }
        }
        try report(Self.rows)
        try report([MetricRow(step: 2, time: Self.start + 3, values: [("VLA Train/Loss", 0.125)])], goingOnAfter: 1)
        let script = BuildFolder.repository.appendingPathComponent("scripts/check_trackio.py").path
        // Read twice: what is imported once stays.
        for _ in 0..<2 {
            let data = try #require(try Self.run([script, "\(path)/trackio"]))
            let projects = try JSONDecoder().decode([String: [Run]].self, from: data)
            let run = try #require(projects["libero"]?.first)
            #expect(projects.count == 1 && projects["libero"]?.count == 1)
            #expect(run.name == "mine" && run.config.steps == 3 && run.config.dataset == "libero")
            #expect(try RunDirectory.identity(of: path).id == run.id)
            #expect(run.logs.map(\.step) == [0, 1, 1, 2])
            #expect(run.logs.map(\.loss) == [nil, 0.25, nil, 0.125])
            #expect(run.logs[0].measure == 0.5)
        }
    }
}
