package import Formats
import Foundation

/// An offline run of Weights & Biases that grows while the run trains, for `wandb sync` at any time.
///
/// A run that goes on has its file written anew from `metrics.jsonl`, which holds what happened and nothing else; so has one
/// that ends, whatever `craft wandb` made in between.
package final class WandbLog: MetricSink {
    private let run: String
    private let publisher: WandbRun
    private var records: WandbRecords
    private let descriptor: Int32

    init(of run: RunDirectory, _ publisher: WandbRun) throws {
        self.run = run.path
        self.publisher = publisher
        let rows = try MetricsLog.read(run.metricsPath)
        records = try publisher.begin(of: run.path, at: rows.first?.time)
        let path = records.path
        descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw FileError(path: path, couldNot: "create the offline run", code: errno) }
        try FileDescriptors.write(records.start, to: descriptor, path: path)
        for row in rows { try write(records.append(row)) }
    }

    deinit { close(descriptor) }

    package func append(_ row: MetricRow) throws(FileError) {
        try write(records.append(MetricsLog.Record(row)))
    }

    package func synchronize() throws(FileError) {
        guard fsync(descriptor) == 0 || errno == EINVAL else {
            throw FileError(path: records.path, couldNot: "flush the offline run", code: errno)
        }
    }

    package func finish() throws { try publisher.write(of: run) }

    private func write(_ bytes: [UInt8]) throws(FileError) {
        try FileDescriptors.write(bytes, to: descriptor, path: records.path)
    }
}
