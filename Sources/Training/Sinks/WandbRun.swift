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

    /// Writes the offline run of the run in `run` from its `metrics.jsonl`, replacing one that is there, and returns its folder.
    @discardableResult
    package func write(of run: String) throws -> String {
        let rows = try MetricsLog.read(RunDirectory.metricsPath(of: run))
        var records = try begin(of: run, at: rows.first?.time)
        let file = try AtomicFile(path: records.path)
        try file.write(records.start)
        for row in rows { try file.write(records.append(row)) }
        try file.write(records.end())
        try file.commit()
        return records.folder
    }

    /// Makes the folder of an offline run, or finds the one that is there.
    ///
    /// - Parameter start: when the run began, in seconds since 1970; nil: now.
    func begin(of run: String, at start: Double?) throws -> WandbRecords {
        let identity = try RunDirectory.identity(of: run)
        let start = start ?? Date().timeIntervalSince1970
        let id = String(identity.id.filter { $0.isLetter || $0.isNumber }.prefix(12))
        let made = (try? FileManager.default.contentsOfDirectory(atPath: "\(run)/wandb"))?
            .filter { $0.hasPrefix("offline-run-") && $0.hasSuffix("-\(id)") }.max()
        let folder = "\(run)/wandb/\(made ?? "offline-run-\(Self.stamp(start))-\(id)")"
        do {
            try FileManager.default.createDirectory(atPath: folder + "/files", withIntermediateDirectories: true)
        } catch { throw FileError(path: folder, .failed, "could not create the folder: \(error.localizedDescription)") }
        let name = (run as NSString).lastPathComponent
        return WandbRecords(
            folder: folder, id: id, began: start, header: header,
            run: description(id: id, name: name, start: start, run: run))
    }

    // MARK: - What a run is

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
        for (key, json) in RunSettings.items(of: run) {
            config.append(field: 1, message: WandbRecords.item(key, json))
        }
        record.append(field: 4, message: config)
        record.append(field: 8, text: name)
        record.append(field: 13, text: ProcessInfo.processInfo.hostName)
        var time = ProtocolBuffer()
        time.append(field: 1, varint: UInt64(max(0, start)))
        record.append(field: 17, message: time)
        return record
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

extension RunSettings {
    /// The stored settings of a run, one item each, its value as JSON; none where they cannot be read.
    static func items(of run: String) -> [(key: String, json: String)] {
        guard let data = FileManager.default.contents(atPath: run + "/config.json"),
            let object = try? JSONSerialization.jsonObject(with: data) as? [String: Any]
        else { return [] }
        return object.sorted { $0.key < $1.key }.compactMap { key, value in
            let json = try? JSONSerialization.data(
                withJSONObject: value, options: [.fragmentsAllowed, .sortedKeys, .withoutEscapingSlashes])
            return json.map { (key, String(decoding: $0, as: UTF8.self)) }
        }
    }
}
