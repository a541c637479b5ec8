package import Formats
import Foundation

/// Writes scalars as a TensorBoard event file (`events.out.tfevents.*`), without TensorFlow.
///
/// The file is a TFRecord stream (``TFRecordFile``) of `Event` protocol buffers.
/// Not safe to use from two threads.
package final class TensorBoardWriter: MetricSink {
    package let path: String
    private let descriptor: Int32

    /// Starts a new event file in `folder`, which must exist.
    ///
    /// - Parameter step: the first step that will be written, when the run resumes. TensorBoard then drops what earlier
    ///   files of the folder say about this step and later ones.
    package init(folder: String, resumingAt step: Int? = nil) throws(FileError) {
        let now = Date().timeIntervalSince1970
        path = try Self.newPath(in: folder, time: Int(now))
        descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw FileError(path: path, couldNot: "create the event file", code: errno) }
        do throws(FileError) {
            var first = EventMessage(wallTime: now, step: 0)
            first.append(field: 3, text: "brain.Event:2")  // file_version
            try write(first.bytes)
            if let step {
                var restart = EventMessage(wallTime: now, step: step)
                var session = ProtocolBuffer()
                session.append(field: 1, varint: 1)  // SessionLog.status = START
                restart.append(field: 7, bytes: session.bytes)
                try write(restart.bytes)
            }
        } catch {
            close(descriptor)
            throw error
        }
    }

    deinit { close(descriptor) }

    /// Writes one event with the given scalars. `tag`s are written as they are given; see ``MetricNames``.
    ///
    /// TensorBoard stores scalars as float32. Values that are not finite are kept and shown as triangles.
    package func append(
        step: Int, time: Double? = nil, scalars: [(tag: String, value: Double)]
    ) throws(FileError) {
        guard !scalars.isEmpty else { return }
        var summary = ProtocolBuffer()
        for (tag, value) in scalars {
            var entry = ProtocolBuffer()
            entry.append(field: 1, text: tag)
            entry.append(field: 2, float: Float(value))  // simple_value
            summary.append(field: 1, bytes: entry.bytes)
        }
        var event = EventMessage(wallTime: time ?? Date().timeIntervalSince1970, step: step)
        event.append(field: 5, bytes: summary.bytes)
        try write(event.bytes)
    }

    package func append(_ row: MetricRow) throws(FileError) {
        try append(step: row.step, time: row.time, scalars: row.values.map { (tag: $0.name, value: $0.value) })
    }

    /// Flushes what was appended to the disk.
    package func synchronize() throws(FileError) {
        guard fsync(descriptor) == 0 || errno == EINVAL else {
            throw FileError(path: path, couldNot: "flush the event file", code: errno)
        }
    }

    // MARK: - Framing

    private func write(_ payload: [UInt8]) throws(FileError) {
        // One write per record: a reader that follows the file, or a kill, sees whole records or a torn last one.
        try FileDescriptors.write(TFRecordFile.framed(payload), to: descriptor, path: path)
    }

    /// TensorBoard reads the files of a folder in the order of their names, and purging after a resume relies on it: the
    /// new name must sort after those that are there, also when the run was restarted within the same second.
    private static func newPath(in folder: String, time: Int) throws(FileError) -> String {
        let prefix = "events.out.tfevents."
        let names: [String]
        do { names = try FileManager.default.contentsOfDirectory(atPath: folder) } catch {
            throw FileError(
                path: folder, .failed, "could not read the TensorBoard folder: \(error.localizedDescription)")
        }
        let latest = names.filter { $0.hasPrefix(prefix) }
            .compactMap { Int($0.dropFirst(prefix.count).prefix { $0.isNumber }) }.max()
        let stamp = max(time, (latest ?? 0) + 1)
        let host = ProcessInfo.processInfo.hostName.filter { $0.isLetter || $0.isNumber || $0 == "-" || $0 == "." }
        return "\(folder)/\(prefix)\(stamp).\(host).\(getpid()).0"
    }
}

/// An `Event` with its time and step, ready for what happened.
private struct EventMessage {
    private var buffer = ProtocolBuffer()
    var bytes: [UInt8] { buffer.bytes }

    init(wallTime: Double, step: Int) {
        buffer.append(field: 1, double: wallTime)
        buffer.append(field: 2, varint: UInt64(bitPattern: Int64(step)))
    }

    mutating func append(field: Int, bytes: [UInt8]) { buffer.append(field: field, bytes: bytes) }
    mutating func append(field: Int, text: String) { buffer.append(field: field, text: text) }
}
