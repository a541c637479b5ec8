internal import Formats
import Foundation

/// What `dataset_info.json` says about the files of one version of a data set.
struct DatasetInfo {
    struct Shard: Equatable {
        var file: String
        var recordCount: Int
    }

    struct Split {
        var name: String
        /// In shard order.
        var shards: [Shard]
    }

    /// What policies are trained on.
    static let trainSplit = "train"

    /// The TFDS name, which prefixes the files. It need not be the folder's: `libero_10_no_noops` holds `liber_o10`.
    let name: String
    /// All splits, in the file's order.
    let splits: [Split]
    /// The files of split `train`, in shard order.
    let shards: [Shard]
    /// What the file says the records' payloads add up to; nil when it says nothing (0 is how some writers say that).
    let byteCount: Int?
    let version: String?
    /// What the file says the shards are called, with the fields of TFDS.
    let template: String
    /// The files have another prefix than ``name``, or follow another template: tfds would not find them, we do.
    let isRenamed: Bool

    /// TFDS writes 64-bit numbers as strings (protobuf's JSON form); some tools write plain numbers.
    private struct Count: Decodable {
        /// Nil when it is not a whole number.
        var value: Int?
        /// As the file has it.
        var text: String

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let text = try? container.decode(String.self) {
                (value, self.text) = (Int(text), "\"\(text)\"")
            } else if let value = try? container.decode(Int.self) {
                (self.value, text) = (value, "\(value)")
            } else {
                // The decoder's own error would call 6.5 invalid JSON, and say nothing about its place.
                text = (try? container.decode(Double.self)).map { "\($0)" } ?? "not a number"
            }
        }
    }

    private struct File: Decodable {
        struct Split: Decodable {
            var name: String
            var shardLengths: [Count]?
            var filepathTemplate: String?
            var numBytes: Count?
        }

        var name: String
        var version: String?
        var fileFormat: String?
        var splits: [Split]
    }

    init(contentsOf path: String) throws(DataError) {
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
        guard FileManager.default.fileExists(atPath: path) else {
            let shards = DatasetFolder.shards(in: folder).count
            throw DataError(
                .missing,
                "\(path): is missing, though features.json and \(shards) shard\(shards == 1 ? "" : "s") are there. "
                    + "Download or copy it again.")
        }
        let file = try reading { () throws(FileError) in
            try decodeJSON(
                File.self, contentsOf: path, or: "is not a TFDS dataset_info.json (it needs \"name\" and \"splits\")")
        }
        let format = file.fileFormat ?? "tfrecord"
        guard format == "tfrecord" else {
            throw DataError(
                .unsupported, "\(path): fileFormat is '\(format)'; only 'tfrecord' can be read. Convert the data set.")
        }
        guard let train = file.splits.first(where: { $0.name == Self.trainSplit }) else {
            let found = file.splits.map(\.name).joined(separator: ", ")
            throw DataError(
                .missing,
                "\(path): has no split '\(Self.trainSplit)'; it lists: \(found.isEmpty ? "none" : found).")
        }
        template = train.filepathTemplate ?? Self.defaultTemplate
        name = file.name
        version = file.version
        if let numBytes = train.numBytes, numBytes.value == nil {
            throw DataError(
                .malformed, "\(path): split 'train': numBytes is \(numBytes.text); expected a whole number.")
        }
        byteCount = train.numBytes.flatMap(\.value).flatMap { $0 > 0 ? $0 : nil }
        var splits: [Split] = []
        var isRenamed = false
        for split in file.splits {
            let named = try Self.named(split, of: file, path: path)
            let present = Self.present(named, split: split.name, in: folder)
            if split.name == Self.trainSplit { isRenamed = present != named }
            splits.append(Split(name: split.name, shards: present))
        }
        self.splits = splits
        self.isRenamed = isRenamed
        shards = splits.first { $0.name == Self.trainSplit }?.shards ?? []
    }

    /// The files of a split by their template.
    private static func named(_ split: File.Split, of file: File, path: String) throws(DataError) -> [Shard] {
        let lengths = split.shardLengths ?? []
        let counts = lengths.map { $0.value ?? -1 }
        guard !counts.isEmpty || split.name != trainSplit, counts.allSatisfy({ $0 >= 0 }), counts.count <= 99_999 else {
            let wrong = counts.firstIndex { $0 < 0 }.map {
                ": shardLengths[\($0)] is \(lengths[$0].text); expected a whole number"
            }
            throw DataError(
                .malformed,
                "\(path): split '\(split.name)' needs shardLengths, a list of record counts with one entry per file"
                    + "\(wrong ?? "").")
        }
        let format = file.fileFormat ?? "tfrecord"
        return counts.enumerated().map { index, count in
            let shard = padded(index)
            let total = padded(counts.count)
            let fields = [
                "{DATASET}": file.name, "{SPLIT}": split.name, "{FILEFORMAT}": format,
                "{SHARD_INDEX}": shard, "{NUM_SHARDS}": total, "{SHARD_X_OF_Y}": "\(shard)-of-\(total)",
            ]
            let fileName = fields.reduce(split.filepathTemplate ?? defaultTemplate) {
                $0.replacingOccurrences(of: $1.key, with: $1.value)
            }
            return Shard(file: fileName, recordCount: count)
        }
    }

    static let defaultTemplate = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"

    /// A set that was renamed has files of another prefix than its info file names. They are taken when none of the named
    /// files is there and exactly one prefix is.
    private static func present(_ named: [Shard], split: String, in folder: String) -> [Shard] {
        guard !named.contains(where: { FileManager.default.fileExists(atPath: "\(folder)/\($0.file)") }) else {
            return named
        }
        let total = padded(named.count)
        let ending = "-\(split).tfrecord-\(padded(0))-of-\(total)"
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        let prefixes = names.filter { $0.hasSuffix(ending) }.map { $0.dropLast(ending.count) }
        guard prefixes.count == 1 else { return named }
        return named.enumerated().map { index, shard in
            Shard(
                file: "\(prefixes[0])-\(split).tfrecord-\(padded(index))-of-\(total)", recordCount: shard.recordCount)
        }
    }
}

private func padded(_ number: Int) -> String {
    let digits = String(number)
    return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
}
