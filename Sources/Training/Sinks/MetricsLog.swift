package import Formats
import Foundation

/// The run's `metrics.jsonl`: one JSON object per optimizer step.
///
///     {"step":200,"time":1763900000.25,"VLA Train/Loss":0.41,"CRaFT/Lambda":0.02}
///
/// `time` is seconds since 1970. Values that are not finite are written as `null`, since JSON has no NaN. Each line is
/// written at once, so a killed run leaves at most one torn line, at the end; readers ignore it and resuming removes it.
/// Not safe to use from two threads.
package final class MetricsLog: MetricSink {
    /// One line.
    package struct Record: Sendable, Equatable {
        package var step: Int
        /// Seconds since 1970.
        package var time: Double
        /// Values by their names; NaN where the file says `null`.
        package var values: [String: Double]

        package init(step: Int, time: Double, values: [String: Double]) {
            (self.step, self.time, self.values) = (step, time, values)
        }

        /// What the log will hold of a row.
        init(_ row: MetricRow) {
            self.init(
                step: row.step, time: row.time,
                values: Dictionary(row.allValues.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 }))
        }
    }

    package let path: String
    private let descriptor: Int32

    /// Opens the log for appending, creating it when it is not there.
    ///
    /// - Parameter lastStep: keep lines up to this step and drop the rest. Resuming from the checkpoint of step N passes
    ///   N: the steps after it are about to be taken again. Nil keeps every complete line.
    package init(path: String, keepingThrough lastStep: Int? = nil) throws(FileError) {
        self.path = path
        descriptor = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw FileError(path: path, couldNot: "open the metrics log", code: errno) }
        do throws(FileError) {
            let (_, end) = try Self.parse(try Self.contents(path), path: path, keepingThrough: lastStep)
            guard ftruncate(descriptor, off_t(end)) == 0 else {
                throw FileError(path: path, couldNot: "shorten the metrics log", code: errno)
            }
        } catch {
            close(descriptor)
            throw error
        }
    }

    deinit { close(descriptor) }

    /// Appends a line, with the time of the call unless another is given. Names are written as they are given; see
    /// ``MetricNames``.
    package func append(
        step: Int, time: Double? = nil, values: [(name: String, value: Double)]
    ) throws(FileError) {
        var line = "{\"step\":\(step),\"time\":\(JSONText.number(time ?? Date().timeIntervalSince1970))"
        for (name, value) in values { line += ",\(JSONText.quoted(name)):\(JSONText.number(value))" }
        line += "}\n"
        try FileDescriptors.write(Array(line.utf8), to: descriptor, path: path)
    }

    package func append(_ row: MetricRow) throws(FileError) {
        try append(step: row.step, time: row.time, values: row.allValues)
    }

    /// Flushes what was appended to the disk.
    package func synchronize() throws(FileError) {
        guard fsync(descriptor) == 0 || errno == EINVAL else {
            throw FileError(path: path, couldNot: "flush the metrics log", code: errno)
        }
    }

    // MARK: - Reading

    /// All complete lines of a metrics log, also of a run that is still going on.
    package static func read(_ path: String) throws(FileError) -> [Record] {
        try parse(try contents(path), path: path, keepingThrough: nil).records
    }

    private static func contents(_ path: String) throws(FileError) -> Data {
        do { return try Data(contentsOf: URL(fileURLWithPath: path)) } catch {
            throw FileError(path: path, .failed, "could not read the metrics log: \(error.localizedDescription)")
        }
    }

    /// The records up to `lastStep`, and where the last of them ends in the file.
    private static func parse(
        _ data: Data, path: String, keepingThrough lastStep: Int?
    ) throws(FileError) -> (records: [Record], end: Int) {
        var records: [Record] = []
        var start = data.startIndex
        var number = 1
        while let newline = data[start...].firstIndex(of: UInt8(ascii: "\n")) {
            let record = try record(data[start..<newline], path: path, line: number)
            if let lastStep, record.step > lastStep { break }
            records.append(record)
            start = newline + 1
            number += 1
        }
        return (records, start - data.startIndex)
    }

    private static func record(_ line: Data, path: String, line number: Int) throws(FileError) -> Record {
        // Not Foundation's reader: its numbers can be off in the last digit.
        var (step, time, values) = (Int?.none, Double.nan, [String: Double]())
        if case .object(let members) = try? JSONTree(parsing: Array(line)) {
            for (key, value) in members {
                switch (String(decoding: key, as: UTF8.self), value) {
                case ("step", .number(let number)): step = Int(exactly: number)
                case ("time", .number(let number)): time = number
                case (let name, .number(let number)): values[name] = number
                case (let name, .null): values[name] = .nan
                default: break
                }
            }
        }
        guard let step else {
            throw FileError(
                path: path, "line \(number) is not a JSON object with a whole number 'step'; repair or remove the line")
        }
        return Record(step: step, time: time, values: values)
    }
}
