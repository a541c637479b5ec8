internal import Formats
import Foundation

/// Writes a run's metrics as an offline run of Weights & Biases: what `wandb sync` uploads.
///
/// The folder is `RUN/wandb/offline-run-<start>-<id>/` with `run-<id>.wandb` in it, made from `metrics.jsonl` and
/// `config.json`. The file is a LevelDB log (https://github.com/google/leveldb/blob/main/doc/log_format.md) behind the
/// seven bytes `:W&B`, 0xBEE1, 0, with zlib's CRC-32 in place of CRC-32C; its records are `wandb_internal.Record`
/// protocol buffers. The id is the run's own, so that writing and uploading a run again, when it went on, replaces it.
package struct WandbRun {
    /// The user or team, and the project, that the upload goes to; nil leaves that to `wandb sync`.
    package var entity: String?
    package var project: String?

    package init(entity: String? = nil, project: String? = nil) {
        (self.entity, self.project) = (entity, project)
    }

    /// Writes the offline run of the run in `run`, replacing one that is there, and returns its folder.
    @discardableResult
    package func write(of run: String) throws -> String {
        let identity = try RunDirectory.identity(of: run)
        let records = try MetricsLog.read(RunDirectory.metricsPath(of: run))
        let start = records.first?.time ?? Date().timeIntervalSince1970
        let id = String(identity.id.filter { $0.isLetter || $0.isNumber }.prefix(12))
        let folder = "\(run)/wandb/offline-run-\(Self.stamp(start))-\(id)"
        do {
            try FileManager.default.createDirectory(atPath: folder + "/files", withIntermediateDirectories: true)
        } catch { throw FileError(path: folder, "could not create the folder: \(error.localizedDescription)") }

        var log = LevelDBLog()
        var number = 0
        func append(field: Int, _ message: ProtocolBuffer) {
            number += 1
            var record = ProtocolBuffer()
            record.append(field: 1, varint: UInt64(number))
            record.append(field: field, message: message)
            log.append(record.bytes)
        }
        append(field: 21, header)
        append(field: 17, description(id: id, name: (run as NSString).lastPathComponent, start: start, run: run))
        var last: [String: String] = [:]
        for record in Self.merged(records) {
            let items = Self.items(record, since: start)
            var history = ProtocolBuffer()
            for (key, json) in items { history.append(field: 1, message: Self.item(key, json)) }
            var step = ProtocolBuffer()
            step.append(field: 1, varint: UInt64(max(0, record.step)))
            history.append(field: 2, message: step)
            append(field: 2, history)
            last.merge(items) { $1 }
        }
        var summary = ProtocolBuffer()
        for (key, json) in last.sorted(by: { $0.key < $1.key }) {
            summary.append(field: 1, message: Self.item(key, json))
        }
        append(field: 3, summary)
        append(field: 18, ProtocolBuffer())  // exit code 0
        try AtomicFile.write(log.bytes, to: "\(folder)/run-\(id).wandb")
        return folder
    }

    // MARK: - Records

    private var header: ProtocolBuffer {
        var version = ProtocolBuffer()
        version.append(field: 1, text: "craft")
        version.append(field: 2, text: "0.70.0")  // the oldest reader that W&B's own client asks for
        var header = ProtocolBuffer()
        header.append(field: 1, message: version)
        return header
    }

    private func description(id: String, name: String, start: Double, run: String) -> ProtocolBuffer {
        var record = ProtocolBuffer()
        record.append(field: 1, text: id)
        if let entity { record.append(field: 2, text: entity) }
        if let project { record.append(field: 3, text: project) }
        var config = ProtocolBuffer()
        for (key, json) in Self.settings(of: run) { config.append(field: 1, message: Self.item(key, json)) }
        record.append(field: 4, message: config)
        record.append(field: 8, text: name)
        record.append(field: 13, text: ProcessInfo.processInfo.hostName)
        var time = ProtocolBuffer()
        time.append(field: 1, varint: UInt64(max(0, start)))
        record.append(field: 17, message: time)
        return record
    }

    /// One record per step: W&B takes a second one of the same step for a mistake.
    private static func merged(_ records: [MetricsLog.Record]) -> [MetricsLog.Record] {
        records.reduce(into: []) { merged, record in
            if let last = merged.last, last.step == record.step {
                merged[merged.count - 1].values.merge(record.values) { $1 }
            } else {
                merged.append(record)
            }
        }
    }

    /// A key and its value as JSON: the form that history, summary and configuration share.
    private static func item(_ key: String, _ json: String) -> ProtocolBuffer {
        var item = ProtocolBuffer()
        item.append(field: 1, text: key)
        item.append(field: 16, text: json)
        return item
    }

    private static func items(_ record: MetricsLog.Record, since start: Double) -> [(String, String)] {
        let values = record.values.sorted { $0.key < $1.key }.map { key, value in
            // W&B writes JSON with the words that Python has for what JSON lacks.
            (key, value.isFinite ? JSONText.number(value) : "NaN")
        }
        return values + [
            ("_timestamp", JSONText.number(record.time)), ("_runtime", JSONText.number(record.time - start)),
            ("_step", String(record.step)),
        ]
    }

    /// The run's settings, one item each.
    private static func settings(of run: String) -> [(String, String)] {
        guard let data = FileManager.default.contents(atPath: run + "/config.json"),
            let object = try? JSONSerialization.jsonObject(with: data) as? [String: Any]
        else { return [] }
        return object.sorted { $0.key < $1.key }.compactMap { key, value in
            let json = try? JSONSerialization.data(
                withJSONObject: value, options: [.fragmentsAllowed, .sortedKeys, .withoutEscapingSlashes])
            return json.map { (key, String(decoding: $0, as: UTF8.self)) }
        }
    }

    /// `20261125_195105`, in UTC.
    private static func stamp(_ time: Double) -> String {
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.timeZone = TimeZone(identifier: "UTC")
        formatter.dateFormat = "yyyyMMdd_HHmmss"
        return formatter.string(from: Date(timeIntervalSince1970: time))
    }
}

/// LevelDB's log format in W&B's variant: records cut into blocks of 32 KiB.
package struct LevelDBLog {
    private static let blockSize = 32_768
    /// CRC-32 of a piece, its length and its kind.
    private static let pieceHeader = 7

    package private(set) var bytes = Array(":W&B".utf8) + [0xE1, 0xBE, 0]

    package init() {}

    package mutating func append(_ record: [UInt8]) {
        var rest = record[...]
        var isFirst = true
        repeat {
            var room = Self.blockSize - bytes.count % Self.blockSize
            if room < Self.pieceHeader {
                bytes += [UInt8](repeating: 0, count: room)
                room = Self.blockSize
            }
            let piece = rest.prefix(room - Self.pieceHeader)
            rest = rest.dropFirst(piece.count)
            // 1 whole, 2 first, 3 middle, 4 last.
            let kind: UInt8 = isFirst ? (rest.isEmpty ? 1 : 2) : (rest.isEmpty ? 4 : 3)
            bytes += withUnsafeBytes(of: CRC32.checksum(CollectionOfOne(kind), piece).littleEndian) { Array($0) }
            bytes += [UInt8(piece.count & 0xFF), UInt8(piece.count >> 8), kind]
            bytes += piece
            isFirst = false
        } while !rest.isEmpty
    }
}

/// The CRC-32 of zlib and PNG (polynomial 0xEDB88320, reflected).
private enum CRC32 {
    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { sum, _ in sum & 1 == 1 ? sum >> 1 ^ 0xEDB8_8320 : sum >> 1 }
    }

    static func checksum(_ parts: any Sequence<UInt8>...) -> UInt32 {
        var sum: UInt32 = .max
        for part in parts { for byte in part { sum = sum >> 8 ^ table[Int((sum ^ UInt32(byte)) & 0xFF)] } }
        return ~sum
    }
}
