import Foundation
import TestSupport
import Testing
import Training

@Suite("outputs: offline W&B runs") struct WandbRunTests {
    /// `wandb/offline.wandb` is the run-*.wandb of an offline run by wandb 0.31.0, with a 33 kB setting, which spans blocks.
    @Test func recordsAreFramedAsWandbDoes() throws {
        let stored = [UInt8](try Data(contentsOf: BuildFolder.fixture("wandb/offline.wandb")))
        let records = try Self.records(of: stored)
        #expect(records.count > 10 && records.contains { $0.count > 32_768 })
        var log = LevelDBLog()
        let bytes = records.reduce(into: LevelDBLog.start) { bytes, record in bytes += log.framed(record) }
        #expect(bytes == stored)
    }

    @Test func aRunBecomesOneFile() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("mine")
        do {
            let run = try RunDirectory.create(at: path)
            try #"{"steps": 3, "dataset": "libero"}"#.write(toFile: run.configPath, atomically: true, encoding: .utf8)
            let metrics = try MetricsLog(path: run.metricsPath)
            try metrics.append(step: 0, time: 1000, values: [("VLA Eval/Held-out L1 Loss", 0.5)])
            try metrics.append(step: 1, time: 1001, values: [("VLA Train/Loss", 0.25), ("CRaFT/Lambda", .nan)])
            try metrics.append(step: 1, time: 1002, values: [("VLA Eval/Held-out L1 Loss", 0.125)])
        }
        let made = try WandbRun(entity: "us", project: "libero").write(of: path)
        #expect(made.contains("/mine/wandb/offline-run-19700101_001640-"))
        // Made again, it takes the place of the first.
        #expect(try WandbRun(entity: "us", project: "libero").write(of: path) == made)
        let id = try #require(made.split(separator: "-").last)
        let records = try Self.records(
            of: [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(made)/run-\(id).wandb")))
        )
        .map { String(decoding: $0, as: UTF8.self) }
        // Header, run, two steps of history, summary, exit.
        #expect(records.count == 6)
        for word in ["us", "libero", "mine", "steps", "dataset", "\"libero\""] { #expect(records[1].contains(word)) }
        #expect(records[2].contains("VLA Eval/Held-out L1 Loss") && records[2].contains("0.5"))
        for word in ["VLA Train/Loss", "0.25", "NaN", "0.125", "_step"] { #expect(records[3].contains(word)) }
        #expect(records[4].contains("VLA Train/Loss") && records[4].contains("0.125"))
    }

    /// The records of a LevelDB log with W&B's header.
    private static func records(of bytes: [UInt8]) throws -> [[UInt8]] {
        var records: [[UInt8]] = []
        var position = 7
        while position < bytes.count {
            let room = 32_768 - position % 32_768
            guard room >= 7 else {
                position += room
                continue
            }
            let length = Int(bytes[position + 4]) | Int(bytes[position + 5]) << 8
            let kind = bytes[position + 6]
            let piece = bytes[position + 7..<position + 7 + length]
            if kind == 1 || kind == 2 { records.append([]) }
            try #require(!records.isEmpty)
            records[records.count - 1] += piece
            position += 7 + length
        }
        return records
    }
}
