import Dispatch
import Foundation
import Synchronization

/// Robot demonstrations in the RLDS layout that `openvla/modified_libero_rlds` uses.
///
/// Opening reads every record once, verifies its checksums and builds an index: actions, states and the byte range of
/// every encoded image (about 100 bytes per step). Images stay on disk; `tf.train.Example` stores them as they are, so
/// any frame is one `pread` away. A shuffle buffer is not needed: shuffling permutes the index.
public final class DemonstrationDataset: Sendable {
    /// The name the data set was asked for by; it keys `dataset_statistics.json`.
    public let name: String
    /// The version folder.
    public let path: String
    /// In shard order, then record order.
    public let episodes: [Episode]
    /// Every episode has these cameras.
    public let cameras: [Camera]
    /// Steps of all episodes.
    public let transitionCount: Int

    /// The name in `dataset_info.json`, which prefixes the files.
    public let storedName: String
    public let version: String?
    /// Sizes of the shard files in bytes, in shard order.
    public var shardSizes: [Int] { shards.map(\.size) }

    private let shards: [RandomAccessFile]
    private let cachedStatistics = Mutex<DatasetStatistics?>(nil)

    /// Opens `root/name/<version>`; see the errors for what is checked.
    ///
    /// - Parameters:
    ///   - root: the folder that holds the data set's folder. Also accepted: that folder, a version folder, and a
    ///     download of `openvla/modified_libero_rlds`.
    ///   - name: the folder's name (`libero_10_no_noops`). Files may have another prefix (`liber_o10`). Without it the only
    ///     data set at or below `root`.
    /// - Throws: ``DataError`` naming the file, record and byte for missing, damaged or unexpected data.
    public init(root: String, name: String? = nil) throws(DataError) {
        let version = try DatasetFolder.locate(root: root, name: name)
        self.name = version.name
        let path = version.path
        self.path = path
        let info = try DatasetInfo(contentsOf: "\(path)/\(DatasetFolder.infoFile)")
        let parser = try EpisodeParser(schema: FeatureSchema(contentsOf: "\(path)/features.json"))
        cameras = parser.cameras

        let files = try info.shards.map { (shard) throws(DataError) in
            try RandomAccessFile(path: "\(path)/\(shard.file)")
        }
        shards = files
        (storedName, self.version) = (info.name, info.version)
        let indexed = parallelMap(count: files.count) { Self.index(files[$0], shard: $0, parser: parser) }
        var episodes: [Episode] = []
        for (shard, result) in indexed.enumerated() {
            let found = try result.get()
            guard found.count == info.shards[shard].recordCount else {
                throw DataError(
                    "\(files[shard].path): holds \(found.count) records, expected \(info.shards[shard].recordCount) "
                        + "(shardLengths of \(DatasetFolder.infoFile)). The download is incomplete or mixes versions.")
            }
            episodes += found
        }
        guard !episodes.isEmpty else { throw DataError("\(path): holds no episodes.") }
        self.episodes = episodes
        transitionCount = episodes.reduce(0) { $0 + $1.length }
    }

    private static func index(
        _ file: RandomAccessFile, shard: Int, parser: EpisodeParser
    ) -> Result<[Episode], DataError> {
        Result { () throws(DataError) in
            var episodes: [Episode] = []
            _ = try TFRecordFile(file: file).forEachRecord { (record, offset, payload) throws(DataError) in
                episodes.append(
                    try parser.episode(payload, offset: offset, shard: shard, record: record, file: file.path))
            }
            return episodes
        }
    }

    /// Statistics over every step of every episode; computed once.
    public func statistics() throws -> DatasetStatistics {
        try cachedStatistics.withLock { cached in
            if let cached { return cached }
            let computed = try DatasetStatistics(episodes: episodes)
            cached = computed
            return computed
        }
    }

    /// Reads and decodes one stored image.
    ///
    /// - Parameter camera: an index into ``cameras``.
    package func image(episode: Int, step: Int, camera: Int) throws(DataError) -> RGBImage {
        let range = episodes[episode].frames[camera][step]
        let file = shards[episodes[episode].shard]
        let encoded = try file.bytes(at: range.offset, count: range.length)
        let size = cameras[camera]
        func place() -> String {
            "\(file.path): record \(episodes[episode].record), step \(step), camera '\(size.name)' "
                + "(\(range.length) bytes at offset \(range.offset))"
        }
        let image: RGBImage
        do throws(DataError) { image = try RGBImage(decoding: encoded) } catch {
            throw DataError("\(place()): \(error)")
        }
        guard image.height == size.height, image.width == size.width else {
            throw DataError(
                "\(place()): the image is \(image.width)x\(image.height), expected \(size.width)x\(size.height) "
                    + "(features.json). Correct features.json or write the data set again.")
        }
        return image
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
