internal import Formats
import Foundation
import Synchronization

/// Robot demonstrations in the RLDS layout that `openvla/modified_libero_rlds` uses.
///
/// Opening reads every record once, verifies its checksums and builds an index: actions, states and the byte range of
/// every encoded image (about 100 bytes per step). Images stay on disk; `tf.train.Example` stores them as they are, so
/// any frame is one `pread` away. A shuffle buffer is not needed: shuffling permutes the index.
package final class RLDSStore: DemonstrationStore {
    package static let format = "RLDS"

    /// The name the data set was asked for by; it keys `dataset_statistics.json`.
    package let name: String
    /// The version folder.
    package let path: String
    /// In shard order, then record order.
    package let episodes: [Episode]
    /// Every episode has these. One of them may hold images that cannot be decoded; see ``camera(named:)``.
    package let cameras: [Camera]
    package let embodiment: Embodiment
    package var files: StoredFiles {
        StoredFiles(
            name: info.name, version: info.version, count: shards.count, bytes: shards.reduce(0) { $0 + $1.size })
    }

    private let shards: [RandomAccessFile]
    /// Per episode, where it lies and its images.
    private let places: [RLDSEpisode]
    private let info: DatasetInfo
    private let parser: EpisodeParser
    private let cachedStatistics = Mutex<DatasetStatistics?>(nil)

    /// Any folder that is of no other format is one of these, so that the sentence says what was expected.
    package static func isAt(root: String, name: String?) -> Bool { true }

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
        (shards, places) = try Self.read(info.shards, in: path, parser: parser)
        episodes = places.map(\.episode)
        guard !episodes.isEmpty else { throw DataError(.empty, "\(path): holds no episodes.") }
    }

    package static func files(root: String, name: String?) throws(DataError) -> [String] {
        let path = try DatasetFolder.locate(root: root, name: name).path
        let info = try DatasetInfo(contentsOf: "\(path)/\(DatasetFolder.infoFile)")
        let names = [DatasetFolder.infoFile, "features.json"] + info.splits.flatMap(\.shards).map(\.file)
        return names.map { "\(path)/\($0)" }.filter(FileManager.default.fileExists(atPath:))
    }

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

    package static func outline(root: String, name: String?) -> DemonstrationOutline? {
        guard let version = try? DatasetFolder.locate(root: root, name: name),
            let schema = try? FeatureSchema(contentsOf: "\(version.path)/features.json")
        else { return nil }
        return (try? EpisodeParser(schema: schema)).map {
            DemonstrationOutline(embodiment: $0.embodiment, cameras: $0.cameras)
        }
    }

    private static func read(
        _ listed: [DatasetInfo.Shard], in path: String, parser: EpisodeParser
    ) throws(DataError) -> (files: [RandomAccessFile], episodes: [RLDSEpisode]) {
        // A shard without records need not be there.
        let listed = listed.filter {
            $0.recordCount > 0 || FileManager.default.fileExists(atPath: "\(path)/\($0.file)")
        }
        let files = try listed.map { (shard) throws(DataError) in
            try reading { () throws(FileError) in try RandomAccessFile(path: "\(path)/\(shard.file)") }
        }
        let indexed = parallelMap(count: files.count) { index(files[$0], shard: $0, parser: parser) }
        var episodes: [RLDSEpisode] = []
        for (shard, result) in indexed.enumerated() {
            let found = try result.get()
            guard found.count == listed[shard].recordCount else {
                throw DataError(
                    .malformed,
                    "\(files[shard].path): holds \(found.count) records, expected \(listed[shard].recordCount) "
                        + "(shardLengths of \(DatasetFolder.infoFile)). The download is incomplete or mixes versions.")
            }
            episodes += found
        }
        return (files, episodes)
    }

    private static func index(
        _ file: RandomAccessFile, shard: Int, parser: EpisodeParser
    ) -> Result<[RLDSEpisode], DataError> {
        Result { () throws(DataError) in
            var episodes: [RLDSEpisode] = []
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
                        ? episodes : try Self.read(split.shards, in: path, parser: parser).episodes.map(\.episode)
                } catch {
                    throw DataError(
                        error.code,
                        "\(error) Statistics are taken over all splits, as the reference does, and \(path) lists "
                            + "\(info.splits.map(\.name).joined(separator: ", ")).")
                }
            }
            let computed = try DatasetStatistics(episodes: all)
            cached = computed
            return computed
        }
    }

    /// - Throws: also when one of the camera's images is of a kind that cannot be decoded.
    package func camera(named name: String) throws(DataError) -> Int {
        let index = try listedCamera(named: name)
        if let problem = places.lazy.compactMap({ $0.imageProblems[index] }).first { throw problem }
        return index
    }

    package func image(episode: Int, step: Int, camera: Int) throws(DataError) -> RGBImage? {
        let place = places[episode]
        let range = place.frames[camera][step]
        guard range.length > 0 else { return nil }
        let file = shards[place.shard]
        let encoded = try reading { () throws(FileError) in try file.bytes(at: range.offset, count: range.length) }
        do throws(DataError) { return try RGBImage(decoding: encoded) } catch {
            throw DataError(
                error.code,
                "\(file.path): record \(place.record), step \(step), camera '\(cameras[camera].name)' "
                    + "(\(range.length) bytes at offset \(range.offset)): \(error)")
        }
    }
}
