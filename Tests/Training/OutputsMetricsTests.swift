import Formats
import Foundation
import TestSupport
import Testing
import Training

@Suite("outputs: metrics.jsonl and names")
struct OutputsMetricsTests {
    private let folder: TemporaryFolder
    private var path: String { folder.path("metrics.jsonl") }

    init() throws { folder = try TemporaryFolder() }

    private func text() throws -> String { try String(contentsOfFile: path, encoding: .utf8) }

    @Test("a line per step, numbers exact, null where a value is not finite")
    func lines() throws {
        let log = try MetricsLog(path: path)
        try log.append(step: 1, time: 1.5, values: [("VLA Train/Loss", 0.1), ("CRaFT/Lambda", 0)])
        try log.append(
            step: 2, time: 2.5, values: [("a \"b\"\n", .nan), ("tiny", .leastNonzeroMagnitude), ("big", -1e300)])
        try log.synchronize()
        #expect(
            try text() == """
                {"step":1,"time":1.5,"VLA Train/Loss":0.1,"CRaFT/Lambda":0.0}
                {"step":2,"time":2.5,"a \\"b\\"\\n":null,"tiny":5e-324,"big":-1e+300}

                """)
        let records = try MetricsLog.read(path)
        #expect(records.map(\.step) == [1, 2])
        #expect(records[0] == .init(step: 1, time: 1.5, values: ["VLA Train/Loss": 0.1, "CRaFT/Lambda": 0]))
        #expect(records[1].values["a \"b\"\n"]?.isNaN == true)
        #expect(records[1].values["tiny"] == .leastNonzeroMagnitude)
    }

    @Test("resuming from step N keeps the lines through N", arguments: [0, 3, 5, 9])
    func resume(step: Int) throws {
        do {
            let log = try MetricsLog(path: path)
            for step in 1...5 { try log.append(step: step, values: [("x", Double(step))]) }
        }
        let log = try MetricsLog(path: path, keepingThrough: step)
        try log.append(step: step + 1, values: [("x", 100)])
        #expect(try MetricsLog.read(path).map(\.step) == Array(1...5).filter { $0 <= step } + [step + 1])
    }

    @Test("a torn last line is ignored by readers and removed when the log is opened again")
    func tornLine() throws {
        try "{\"step\":1,\"time\":1,\"x\":1}\n{\"step\":2,\"ti".write(toFile: path, atomically: true, encoding: .utf8)
        #expect(try MetricsLog.read(path).map(\.step) == [1])
        try MetricsLog(path: path).append(step: 2, time: 2, values: [("x", 2)])
        #expect(try MetricsLog.read(path).map(\.step) == [1, 2])
    }

    @Test("a damaged line in the middle is named")
    func damagedLine() throws {
        try "{\"step\":1}\nrubbish\n{\"step\":3}\n".write(toFile: path, atomically: true, encoding: .utf8)
        let error = #expect(throws: FileError.self) { try MetricsLog(path: self.path) }
        #expect(error?.description.contains("line 2") == true)
    }

    @Test("names are the original's; a plugin's own metrics get a section")
    func names() {
        #expect(MetricNames.display("loss.action") == "VLA Train/Loss")
        #expect(MetricNames.display("curr_action_l1") == "VLA Train/Curr Action L1 Loss")
        #expect(MetricNames.display("next_actions_l1") == "VLA Train/Next Actions L1 Loss")
        #expect(MetricNames.display("conflict_ratio") == "CRaFT/Conflict Ratio")
        #expect(MetricNames.display("lambda.retention@prev") == "CRaFT/Lambda Before")
        #expect(MetricNames.display("my_metric") == "Plugin/my_metric")
        #expect(MetricNames.display("Mine/Own") == "Mine/Own")
        #expect(Set(MetricNames.table.map(\.display)).count == MetricNames.table.count)
    }
}
