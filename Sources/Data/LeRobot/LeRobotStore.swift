internal import Formats
import Foundation
import Synchronization

/// Demonstrations as LeRobot records them, versions 2.0, 2.1 and 3.0, read where they lie.
///
/// Opening reads the numbers of every episode; pictures are decoded when they are asked for, from the data files or from videos, by
/// the times that LeRobot's own reader goes by. Nothing is converted or copied.
package final class LeRobotStore: DemonstrationStore {
    package static let format = "LeRobot"

    package let name: String
    package let path: String
    package let episodes: [Episode]
    package let cameras: [Camera]
    package let embodiment: Embodiment
    package let files: StoredFiles

    private let info: LeRobotInfo
    /// Per episode, where its pictures are.
    private let places: [LeRobotRows.Place]
    private let frames = VideoFrames()
    private let cachedStatistics = Mutex<DatasetStatistics?>(nil)

    package static func isAt(root: String, name: String?) -> Bool { LeRobotFolder.isAt(root: root, name: name) }

    /// - Parameters:
    ///   - root: the set's folder, which holds `meta/info.json`, or a folder up to two levels above it.
    ///   - name: the folder's name below `root`; that of a set in LeRobot's cache has two parts, `owner/set`.
    package init(root: String, name: String? = nil) throws(DataError) {
        let located = try LeRobotFolder.locate(root: root, name: name)
        let info = try LeRobotInfo(folder: located.path)
        let index = try LeRobotIndex(info)
        let files = Self.dataFiles(index)
        let rows = parallelMap(count: files.count, threads: ProcessInfo.processInfo.activeProcessorCount) { place in
            Result { () throws(DataError) in
                try LeRobotRows(files[place].path, files[place].entries, info, tasks: index.tasks)
            }
        }
        var read: [(number: Int, episode: Episode, place: LeRobotRows.Place)] = []
        for file in rows { read += try file.get().episodes }
        read.sort { $0.number < $1.number }
        if let camera = info.cameras.first(where: \.isVideo) {
            // Now, not in the first batch.
            if let refusal = VideoFrames.refusal {
                throw DataError(
                    .unsupported, "\(info.path): camera '\(camera.camera.name)' is in videos, but \(refusal).")
            }
            let videos = Set(read.flatMap { $0.place.videos.compactMap { $0?.path } })
            if let missing = videos.sorted().first(where: { !FileManager.default.fileExists(atPath: $0) }) {
                throw DataError(
                    .missing,
                    "\(missing): there is no such video, which \(info.path) promises. Download or copy the set again.")
            }
        }
        (self.name, path, self.info) = (located.name, located.path, info)
        (cameras, embodiment) = (info.cameras.map(\.camera), info.embodiment)
        (episodes, places) = (read.map(\.episode), read.map(\.place))
        self.files = StoredFiles(
            name: located.name, version: info.version, count: files.count,
            bytes: files.reduce(0) { $0 + ((try? RandomAccessFile(path: $1.path).size) ?? 0) })
    }

    /// The data files with the episodes that each should hold, in the order of the episodes.
    static func dataFiles(_ index: LeRobotIndex) -> [(path: String, entries: [LeRobotIndex.Entry])] {
        var files: [(path: String, entries: [LeRobotIndex.Entry])] = []
        var places: [String: Int] = [:]
        for entry in index.entries {
            if let place = places[entry.data] {
                files[place].entries.append(entry)
            } else {
                places[entry.data] = files.count
                files.append((entry.data, [entry]))
            }
        }
        return files
    }

    /// Over every step, as for other formats: `meta/stats.json` has no exact quantiles, and older sets have none at all.
    package func statistics() throws -> DatasetStatistics {
        try cachedStatistics.withLock { cached in
            if let cached { return cached }
            let computed = try DatasetStatistics(episodes: episodes)
            cached = computed
            return computed
        }
    }

    /// - Parameter name: short or as the feature is called, `top` or `observation.images.top`.
    package func camera(named name: String) throws(DataError) -> Int {
        if let index = info.cameras.firstIndex(where: { $0.key == name }) { return index }
        return try listedCamera(named: name)
    }

    package func image(episode: Int, step: Int, camera: Int) throws(DataError) -> RGBImage? {
        try Self.image(places[episode], step: step, camera: camera, info, frames)
    }

    static func image(
        _ place: LeRobotRows.Place, step: Int, camera: Int, _ info: LeRobotInfo, _ frames: VideoFrames
    ) throws(DataError) -> RGBImage {
        if let video = place.videos[camera] {
            return try frames.image(
                video.path, at: video.start + place.times[step], tolerance: Self.tolerance(info.fps))
        }
        let pictures = place.pictures[camera]!
        let encoded = try pictures.encoded(row: place.firstRow + step, folder: info.folder)
        do throws(DataError) { return try RGBImage(decoding: encoded) } catch {
            throw DataError(
                error.code,
                "\(pictures.path): row \(place.firstRow + step), camera '\(info.cameras[camera].camera.name)' (\(encoded.count) "
                    + "bytes): \(error)")
        }
    }

    /// Half the time between two frames: the frame that is nearest is the one that was shown.
    private static func tolerance(_ fps: Double) -> Double { 0.5 / fps + 1e-4 }

    package static func files(root: String, name: String?) throws(DataError) -> [String] {
        let folder = try LeRobotFolder.locate(root: root, name: name).path
        let names = (try? FileManager.default.subpathsOfDirectory(atPath: folder)) ?? []
        let kinds = [".parquet", ".json", ".jsonl", ".mp4", ".mkv", ".avi", ".webm", ".png", ".jpg"]
        return names.filter { name in kinds.contains { name.hasSuffix($0) } }.sorted().map { "\(folder)/\($0)" }
    }

    package static func instructions(root: String, name: String?) throws(DataError) -> Set<String> {
        let info = try LeRobotInfo(folder: LeRobotFolder.locate(root: root, name: name).path)
        return Set(try LeRobotIndex.tasks(info).values)
    }

    package static func outline(root: String, name: String?) -> DemonstrationOutline? {
        guard let folder = try? LeRobotFolder.locate(root: root, name: name).path else { return nil }
        return (try? LeRobotInfo(folder: folder)).map {
            DemonstrationOutline(embodiment: $0.embodiment, cameras: $0.cameras.map(\.camera))
        }
    }
}
