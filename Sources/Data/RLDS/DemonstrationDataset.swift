import Dispatch
internal import Formats
import Foundation
import Synchronization

/// Robot demonstrations in the RLDS layout that `openvla/modified_libero_rlds` uses.
///
/// Opening reads every record once, verifies its checksums and builds an index: actions, states and the byte range of
/// every encoded image (about 100 bytes per step). Images stay on disk; `tf.train.Example` stores them as they are, so
/// any frame is one `pread` away. A shuffle buffer is not needed: shuffling permutes the index.
package final class DemonstrationDataset: Sendable {
    /// The name the data set was asked for by; it keys `dataset_statistics.json`.
    package let name: String
    /// The version folder.
    package let path: String
    /// In shard order, then record order.
    package let episodes: [Episode]
    /// Every episode has these cameras. One of them may hold images that cannot be decoded; see ``camera(named:)``.
    package let cameras: [Camera]
    package let embodiment: Embodiment
    /// Steps of all episodes.
    package let transitionCount: Int

    /// The name in `dataset_info.json`, which prefixes the files.
    package let storedName: String
    package let version: String?
    /// Sizes of the shard files in bytes, in shard order.
    package var shardSizes: [Int] { shards.map(\.size) }

    private let shards: [RandomAccessFile]
    private let info: DatasetInfo
    private let parser: EpisodeParser
    private let cachedStatistics = Mutex<DatasetStatistics?>(nil)

    /// Opens `root/name/<version>`; see the errors for what is checked.
    ///
    /// - Parameters:
    ///   - root: the folder that holds the data set's folder. Also accepted: that folder, a version folder, and a
    ///     download of `openvla/modified_libero_rlds`.
    ///   - name: the folder's name (`libero_10_no_noops`). Files may have another prefix (`liber_o10`). Without it the only
    ///     data set at or below `root`.
    /// - Throws: ``DataError`` naming the file, record and byte for missing, damaged or unexpected data.
    package init(root: String, name: String? = nil) throws(DataError) {
        let version = try DatasetFolder.locate(root: root, name: name)
        self.name = version.name
        let path = version.path
        self.path = path
        let info = try DatasetInfo(contentsOf: "\(path)/\(DatasetFolder.infoFile)")
        let schema = try reading { () throws(FileError) in try FeatureSchema(contentsOf: "\(path)/features.json") }
        let parser = try EpisodeParser(schema: schema)
        (self.info, self.parser) = (info, parser)
        (cameras, embodiment) = (parser.cameras, parser.embodiment)
        (storedName, self.version) = (info.name, info.version)
        (shards, episodes) = try Self.read(info.shards, in: path, parser: parser)
        guard !episodes.isEmpty else { throw DataError("\(path): holds no episodes.") }
        transitionCount = episodes.reduce(0) { $0 + $1.length }
    }

    /// The files of a data set that training and its statistics read, without reading them.
    package static func files(root: String, name: String?) throws(DataError) -> [String] {
        let path = try DatasetFolder.locate(root: root, name: name).path
        let info = try DatasetInfo(contentsOf: "\(path)/\(DatasetFolder.infoFile)")
        let names = [DatasetFolder.infoFile, "features.json"] + info.splits.flatMap(\.shards).map(\.file)
        return names.map { "\(path)/\($0)" }.filter(FileManager.default.fileExists(atPath:))
    }

    /// Every text that the data set asks for, without reading its images.
    package static func instructions(root: String, name: String?) throws(DataError) -> Set<String> {
        let path = try DatasetFolder.locate(root: root, name: name).path
        let info = try DatasetInfo(contentsOf: "\(path)/\(DatasetFolder.infoFile)")
        var texts: Set<String> = []
        for shard in info.shards where shard.recordCount > 0 {
            let scan = try reading { () throws(FileError) in try InstructionScan(path: "\(path)/\(shard.file)") }
            texts.formUnion(scan.texts)
        }
        return texts
    }

    /// What a data set's numbers are, from its description alone; nil where that does not settle it, or the set cannot be opened.
    package static func embodiment(root: String, name: String?) -> Embodiment? {
        guard let version = try? DatasetFolder.locate(root: root, name: name),
            let schema = try? FeatureSchema(contentsOf: "\(version.path)/features.json")
        else { return nil }
        return try? EpisodeParser(schema: schema).embodiment
    }

    private static func read(
        _ listed: [DatasetInfo.Shard], in path: String, parser: EpisodeParser
    ) throws(DataError) -> (files: [RandomAccessFile], episodes: [Episode]) {
        // A shard without records need not be there.
        let listed = listed.filter {
            $0.recordCount > 0 || FileManager.default.fileExists(atPath: "\(path)/\($0.file)")
        }
        let files = try listed.map { (shard) throws(DataError) in
            try reading { () throws(FileError) in try RandomAccessFile(path: "\(path)/\(shard.file)") }
        }
        let indexed = parallelMap(count: files.count) { index(files[$0], shard: $0, parser: parser) }
        var episodes: [Episode] = []
        for (shard, result) in indexed.enumerated() {
            let found = try result.get()
            guard found.count == listed[shard].recordCount else {
                throw DataError(
                    "\(files[shard].path): holds \(found.count) records, expected \(listed[shard].recordCount) "
                        + "(shardLengths of \(DatasetFolder.infoFile)). The download is incomplete or mixes versions.")
            }
            episodes += found
        }
        return (files, episodes)
    }

    private static func index(
        _ file: RandomAccessFile, shard: Int, parser: EpisodeParser
    ) -> Result<[Episode], DataError> {
        Result { () throws(DataError) in
            var episodes: [Episode] = []
            var records = TFRecordFile(file: file).reader()
            while let (record, offset, payload) = try reading({ () throws(FileError) in try records.next() }) {
                episodes.append(
                    try parser.episode(payload, offset: offset, shard: shard, record: record, file: file.path))
            }
            return episodes
        }
    }

    /// Statistics over every step of every episode of all splits, as the reference takes them; computed once.
    ///
    /// - Throws: also when the files of another split than `train` are not there.
    package func statistics() throws -> DatasetStatistics {
        try cachedStatistics.withLock { cached in
            if let cached { return cached }
            var all: [Episode] = []
            for split in info.splits {
                do throws(DataError) {
                    all +=
                        split.name == DatasetInfo.trainSplit
                        ? episodes : try Self.read(split.shards, in: path, parser: parser).episodes
                } catch {
                    throw DataError(
                        "\(error) Statistics are taken over all splits, as the reference does, and \(path) lists "
                            + "\(info.splits.map(\.name).joined(separator: ", ")).")
                }
            }
            let computed = try DatasetStatistics(episodes: all)
            cached = computed
            return computed
        }
    }

    /// The index of a camera by its name.
    ///
    /// - Throws: when there is none, or when one of its images is of a kind that cannot be decoded.
    package func camera(named name: String) throws(DataError) -> Int {
        guard let index = cameras.firstIndex(where: { $0.name == name }) else {
            throw DataError(
                "\(path): has no camera '\(name)'; it has: \(cameras.map(\.name).joined(separator: ", ")).")
        }
        if let problem = episodes.lazy.compactMap({ $0.imageProblems[index] }).first { throw problem }
        return index
    }

    /// Reads and decodes one stored image, of whatever size it is; nil for a frame that was not taken.
    ///
    /// - Parameter camera: an index into ``cameras``.
    package func image(episode: Int, step: Int, camera: Int) throws(DataError) -> RGBImage? {
        let range = episodes[episode].frames[camera][step]
        guard range.length > 0 else { return nil }
        let file = shards[episodes[episode].shard]
        let encoded = try reading { () throws(FileError) in try file.bytes(at: range.offset, count: range.length) }
        do throws(DataError) { return try RGBImage(decoding: encoded) } catch {
            throw DataError(
                "\(file.path): record \(episodes[episode].record), step \(step), camera '\(cameras[camera].name)' "
                    + "(\(range.length) bytes at offset \(range.offset)): \(error)")
        }
    }
}

/// Runs `body` for 0 ..< count on all cores, or on at most `threads`, and returns the results in order.
func parallelMap<Value: Sendable>(
    count: Int, threads: Int? = nil, _ body: @Sendable (Int) -> Value
) -> [Value] {
    let results = Mutex([Value?](repeating: nil, count: count))
    let next = Atomic(0)
    DispatchQueue.concurrentPerform(iterations: min(threads ?? count, count)) { _ in
        while true {
            let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
            guard index < count else { return }
            let value = body(index)
            results.withLock { $0[index] = value }
        }
    }
    return results.withLock { $0.map { $0! } }
}
