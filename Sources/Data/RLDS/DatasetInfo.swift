import Foundation

/// What `dataset_info.json` says about the files of one version of a data set.
struct DatasetInfo {
    struct Shard: Equatable {
        var file: String
        var recordCount: Int
    }

    /// The TFDS name, which prefixes the files. It need not be the folder's: `libero_10_no_noops` holds `liber_o10`.
    let name: String
    /// The files of split `train`, in shard order.
    let shards: [Shard]

    /// TFDS writes 64-bit numbers as strings (protobuf's JSON form); some tools write plain numbers.
    private struct Count: Decodable {
        var value: Int?

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let text = try? container.decode(String.self) {
                value = Int(text)
            } else {
                value = try container.decode(Int.self)
            }
        }
    }

    private struct File: Decodable {
        struct Split: Decodable {
            var name: String
            var shardLengths: [Count]?
            var filepathTemplate: String?
        }

        var name: String
        var fileFormat: String?
        var splits: [Split]
    }

    init(contentsOf path: String) throws(DataError) {
        let bytes = try RandomAccessFile.contents(of: path)
        let file: File
        do {
            file = try JSONDecoder().decode(File.self, from: Data(bytes))
        } catch {
            throw DataError(
                "\(path): is not a TFDS dataset_info.json (it needs \"name\" and \"splits\"): \(jsonReason(error)).")
        }
        let format = file.fileFormat ?? "tfrecord"
        guard format == "tfrecord" else {
            throw DataError("\(path): fileFormat is '\(format)'; only 'tfrecord' can be read. Convert the data set.")
        }
        guard let split = file.splits.first(where: { $0.name == "train" }) else {
            let found = file.splits.map(\.name).joined(separator: ", ")
            throw DataError("\(path): has no split 'train'; it lists: \(found.isEmpty ? "none" : found).")
        }
        let counts = (split.shardLengths ?? []).map { $0.value ?? -1 }
        guard !counts.isEmpty, counts.allSatisfy({ $0 >= 0 }), counts.count <= 99_999 else {
            throw DataError(
                "\(path): split 'train' needs shardLengths, a list of record counts with one entry per file.")
        }
        let template = split.filepathTemplate ?? "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
        name = file.name
        shards = counts.enumerated().map { index, count in
            let shard = padded(index)
            let total = padded(counts.count)
            let fields = [
                "{DATASET}": file.name, "{SPLIT}": "train", "{FILEFORMAT}": format,
                "{SHARD_INDEX}": shard, "{NUM_SHARDS}": total, "{SHARD_X_OF_Y}": "\(shard)-of-\(total)",
            ]
            let fileName = fields.reduce(template) { $0.replacingOccurrences(of: $1.key, with: $1.value) }
            return Shard(file: fileName, recordCount: count)
        }
    }
}

private func padded(_ number: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
}

/// The part of a JSON decoding error that helps: where and what, without Foundation's nesting.
func jsonReason(_ error: any Error) -> String {
    func path(_ context: DecodingError.Context) -> String {
        let keys = context.codingPath.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }
        return keys.isEmpty ? "the top level" : keys.joined(separator: ".")
    }
    return switch error {
    case DecodingError.keyNotFound(let key, let context): "\(path(context)) has no \"\(key.stringValue)\""
    case DecodingError.typeMismatch(let type, let context): "\(path(context)) is not a \(type)"
    case DecodingError.valueNotFound(let type, let context): "\(path(context)) is null, expected \(type)"
    case DecodingError.dataCorrupted(let context): "\(path(context)): \(context.debugDescription)"
    default: error.localizedDescription
    }
}
