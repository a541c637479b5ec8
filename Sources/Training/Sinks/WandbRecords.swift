internal import Formats

/// The bytes of an offline run's file, record by record.
///
/// There is one record per step: W&B takes a second one of the same step for a mistake. So the rows of a step are held back
/// until the next step's first comes.
struct WandbRecords {
    /// The offline run's folder, and the file in it.
    let folder: String
    let path: String
    /// What the file begins with: its header and the run.
    private(set) var start: [UInt8] = LevelDBLog.start
    private var log = LevelDBLog()
    private var number = 0
    private let began: Double
    private var held: MetricsLog.Record?
    private var last: [String: String] = [:]

    init(folder: String, id: String, began: Double, header: ProtocolBuffer, run: ProtocolBuffer) {
        self.folder = folder
        path = "\(folder)/run-\(id).wandb"
        self.began = began
        start += framed(field: 21, header)
        start += framed(field: 17, run)
    }

    /// The bytes that a row makes due.
    mutating func append(_ row: MetricsLog.Record) -> [UInt8] {
        guard held?.step == row.step else {
            defer { held = row }
            return release()
        }
        held?.values.merge(row.values) { $1 }
        return []
    }

    /// The bytes that end the file: what is held back, the summary, and exit code 0.
    mutating func end() -> [UInt8] {
        let rest = release()
        var summary = ProtocolBuffer()
        for (key, json) in last.sorted(by: { $0.key < $1.key }) {
            summary.append(field: 1, message: Self.item(key, json))
        }
        return rest + framed(field: 3, summary) + framed(field: 18, ProtocolBuffer())
    }

    private mutating func release() -> [UInt8] {
        guard let row = held else { return [] }
        held = nil
        let items = items(row)
        var history = ProtocolBuffer()
        for (key, json) in items { history.append(field: 1, message: Self.item(key, json)) }
        var step = ProtocolBuffer()
        step.append(field: 1, varint: UInt64(max(0, row.step)))
        history.append(field: 2, message: step)
        last.merge(items) { $1 }
        return framed(field: 2, history)
    }

    private mutating func framed(field: Int, _ message: ProtocolBuffer) -> [UInt8] {
        number += 1
        var record = ProtocolBuffer()
        record.append(field: 1, varint: UInt64(number))
        record.append(field: field, message: message)
        return log.framed(record.bytes)
    }

    /// A key and its value as JSON: the form that history, summary and configuration share.
    static func item(_ key: String, _ json: String) -> ProtocolBuffer {
        var item = ProtocolBuffer()
        item.append(field: 1, text: key)
        item.append(field: 16, text: json)
        return item
    }

    private func items(_ row: MetricsLog.Record) -> [(String, String)] {
        let values = row.values.sorted { $0.key < $1.key }.map { key, value in
            // W&B writes JSON with the words that Python has for what JSON lacks.
            (key, value.isFinite ? JSONText.number(value) : "NaN")
        }
        return values + [
            ("_timestamp", JSONText.number(row.time)), ("_runtime", JSONText.number(row.time - began)),
            ("_step", String(row.step)),
        ]
    }
}
