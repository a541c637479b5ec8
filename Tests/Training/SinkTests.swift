import Foundation
import PluginRuntime
import TestSupport
import Testing
import Training

/// What a run leaves in each sink, when it is new and when it goes on.
@Suite("outputs: a run's sinks") struct SinkTests {
    private let folder: TemporaryFolder
    private var path: String { folder.path("run") }

    init() throws { folder = try TemporaryFolder() }

    private func settings(_ targets: [ReportTarget]?) throws -> RunSettings {
        var settings = RunSettings()
        let assets = BuildFolder.repository.appendingPathComponent("Assets").path
        (settings.model, settings.data) = (assets + "/small-vlm", assets + "/libero-sample")
        settings.plugins = try PluginRequest.parseList("BaselineL1")
        settings.pluginPath = [BuildFolder.url.path]
        (settings.steps, settings.batchSize, settings.reportTo, settings.project) = (2, 1, targets, "libero")
        // Steps alone, no evaluations.
        settings.holdOutEvery = 0
        return settings
    }

    private func files(_ folder: String) -> [String] {
        (try? FileManager.default.subpathsOfDirectory(atPath: "\(path)/\(folder)").sorted()) ?? []
    }

    private func text(_ path: String) throws -> String {
        String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
    }

    @Test func everySinkTellsOfTheSameSteps() throws {
        _ = try Trainer(settings: settings(ReportTarget.allCases), at: path).train()
        _ = try Trainer(resuming: path, steps: 3).train()
        let rows = try MetricsLog.read(path + "/metrics.jsonl")
        #expect(rows.map(\.step) == [1, 2, 3])
        // One event file for each process; TensorBoard reads them in this order.
        #expect(files("tensorboard").count == 2)
        let offline = try #require(files("wandb").first { $0.hasSuffix(".wandb") })
        #expect(files("wandb").filter { $0.hasSuffix(".wandb") }.count == 1)
        let wandb = try text("\(path)/wandb/\(offline)")
        for row in rows { #expect(wandb.contains("\(try #require(row.values["VLA Train/Loss"]))"), "step \(row.step)") }
        // TRACKIO_DIR would have them elsewhere, for every run together.
        guard ProcessInfo.processInfo.environment["TRACKIO_DIR"] == nil else { return }
        let fragments = files("trackio/inbox").filter { $0.hasSuffix(".jsonl") }
        let lines = try fragments.flatMap {
            try text("\(path)/trackio/inbox/\($0)").split(separator: "\n").map(String.init)
        }
        #expect(lines.count == 3)
        let id = try RunDirectory.identity(of: path).id
        for row in rows {
            let line = try #require(lines.first { $0.contains("\"step\":\(row.step),") })
            for word in ["\"project\":\"libero\"", "\"run\":\"run\"", "\"run_id\":\"\(id)\""] {
                #expect(line.contains(word), "\(word): \(line)")
            }
        }
    }

    @Test func tensorBoardIsTheDefaultAndNoneIsNothing() throws {
        _ = try Trainer(settings: settings(nil), at: path).train()
        #expect(files("tensorboard").count == 1 && files("wandb").isEmpty && files("trackio").isEmpty)
        let bare = folder.path("bare")
        _ = try Trainer(settings: settings([]), at: bare).train()
        #expect(try MetricsLog.read(bare + "/metrics.jsonl").count == 2)
        #expect(try FileManager.default.contentsOfDirectory(atPath: bare + "/tensorboard").isEmpty)
    }

    /// While it grows the offline run is one that wandb reads, and holds every step but the last; in the end it is what
    /// `craft wandb` makes.
    @Test func theOfflineRunGrows() throws {
        let run = try RunDirectory.create(at: path)
        let log = try MetricsLog(path: run.metricsPath)
        let sink = try ReportTarget.wandb.open(run, try settings([.wandb]), goingOnAfter: nil)
        for step in 1...3 {
            let row = MetricRow(
                step: step, time: 1000 + Double(step), values: [("VLA Train/Loss", 1 / Double(step + 6))])
            try log.append(row)
            try sink.append(row)
        }
        try sink.synchronize()
        let file = "\(path)/wandb/\(try #require(files("wandb").first { $0.hasSuffix(".wandb") }))"
        let growing = try text(file)
        #expect(growing.hasPrefix(":W&B"))
        #expect(growing.contains("\(1 / 7.0)") && growing.contains("\(1 / 8.0)") && !growing.contains("\(1 / 9.0)"))
        try sink.finish()
        let ended = try Data(contentsOf: URL(fileURLWithPath: file))
        try WandbRun(project: "libero").write(of: path)
        #expect(try Data(contentsOf: URL(fileURLWithPath: file)) == ended)
        // By bytes: what follows a number in the file need not be text.
        #expect(ended.range(of: Data("\(1 / 9.0)".utf8)) != nil)
    }
}
