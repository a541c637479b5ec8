internal import Formats
import Foundation

/// What `meta/info.json` says of a LeRobot data set.
struct LeRobotInfo: Sendable {
    /// A feature that holds a camera's pictures.
    struct CameraFeature: Sendable {
        /// The feature's name, such as `observation.images.top`.
        let key: String
        /// Pictures are in videos, not in the data files.
        let isVideo: Bool
        let camera: Camera
    }

    /// Of the file.
    let path: String
    let folder: String
    /// As it is written, such as "v2.1".
    let version: String
    /// Data and videos are in a file an episode (2), or in files of many (3).
    let major: Int
    /// Steps a second.
    let fps: Double
    let action: String
    /// nil where the set has none.
    let state: String?
    let embodiment: Embodiment
    /// Sorted by name.
    let cameras: [CameraFeature]
    let totalEpisodes: Int?
    let totalFrames: Int?
    private let dataPath: String
    private let videoPath: String?
    private let chunkSize: Int

    private struct File: Decodable {
        struct Feature: Decodable {
            var dtype: String
            var shape: [Int]
            var names: [String]?

            private enum CodingKeys: String, CodingKey { case dtype, shape, names }

            init(from decoder: any Decoder) throws {
                let values = try decoder.container(keyedBy: CodingKeys.self)
                dtype = try values.decode(String.self, forKey: .dtype)
                shape = try values.decodeIfPresent([Int].self, forKey: .shape) ?? []
                // Some are objects, or nothing.
                names = try? values.decode([String].self, forKey: .names)
            }

            /// Numbers of a step; nil when the shape is not one of numbers.
            var width: Int? {
                guard shape.allSatisfy({ (1...65_536).contains($0) }) else { return nil }
                return shape.reduce(1) { min($0 * $1, 1 << 32) }
            }

            var isCamera: Bool { dtype == "image" || dtype == "video" }
            var isNumbers: Bool { dtype.hasPrefix("float") || dtype.hasPrefix("int") || dtype.hasPrefix("uint") }
        }

        var version: String?
        var fps: Double?
        var dataPath: String?
        var videoPath: String?
        var chunkSize: Int?
        var totalEpisodes: Int?
        var totalFrames: Int?
        var features: [String: Feature]?

        private enum CodingKeys: String, CodingKey {
            case version = "codebase_version"
            case dataPath = "data_path"
            case videoPath = "video_path"
            case chunkSize = "chunks_size"
            case totalEpisodes = "total_episodes"
            case totalFrames = "total_frames"
            case fps, features
        }
    }

    static let place = "meta/info.json"
    /// Where data sets of versions before 2 keep theirs.
    static let oldPlace = "meta_data/info.json"

    init(folder: String) throws(DataError) {
        self.folder = folder
        let isOld = !FileManager.default.fileExists(atPath: "\(folder)/\(Self.place)")
        let path = "\(folder)/\(isOld ? Self.oldPlace : Self.place)"
        self.path = path
        let file = try reading { () throws(FileError) in
            try decodeJSON(File.self, contentsOf: path, or: "is not the info.json of a LeRobot data set")
        }
        version = file.version ?? "v1"
        let digits = version.drop { !$0.isNumber }.prefix { $0.isNumber }
        guard !isOld, let major = Int(digits), major == 2 || major == 3 else {
            throw DataError(
                .unsupported,
                "\(path): codebase_version is '\(version)'; craft reads v2.0, v2.1 and v3.0. Convert the set with the scripts "
                    + "that LeRobot has for it (lerobot/datasets/v2, v21 and v30).")
        }
        self.major = major
        guard let features = file.features else { throw DataError(.missing, "\(path): has no \"features\".") }
        fps = file.fps ?? 0
        guard fps.isFinite, fps > 0 else {
            throw DataError(
                .malformed, "\(path): fps is \(file.fps.map { "\($0)" } ?? "missing"); expected a number above 0.")
        }
        let names = features.keys.sorted().joined(separator: ", ")
        func width(_ key: String) throws(DataError) -> Int {
            guard let feature = features[key], feature.isNumbers, let width = feature.width, width <= 65_536 else {
                throw DataError(
                    .malformed,
                    "\(path): feature '\(key)' is \(features[key].map { "\($0.dtype) of shape \($0.shape)" } ?? "missing"); "
                        + "expected numbers, as many as a step has.")
            }
            return width
        }
        // LeRobot's own name, and that of sets made for openpi.
        guard let action = ["action", "actions"].first(where: { features[$0] != nil }) else {
            throw DataError(.missing, "\(path): has no feature 'action'; it has: \(names).")
        }
        self.action = action
        state = ["observation.state", "state"].first { features[$0] != nil }
        embodiment = Embodiment(actionWidth: try width(action), stateWidth: try state.map(width) ?? 0)
        cameras = Self.cameras(features)
        guard !cameras.isEmpty else {
            throw DataError(
                .missing,
                "\(path): has no camera (a feature whose dtype is image or video); it has: \(names). A policy needs at least one."
            )
        }
        (totalEpisodes, totalFrames) = (file.totalEpisodes, file.totalFrames)
        dataPath =
            file.dataPath
            ?? (major == 2
                ? "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
                : "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet")
        videoPath = file.videoPath
        chunkSize = max(1, file.chunkSize ?? 1_000)
        if let video = cameras.first(where: \.isVideo), videoPath == nil {
            throw DataError(
                .malformed,
                "\(path): '\(video.key)' is a video, but there is no \"video_path\" that says where videos are.")
        }
    }

    /// Cameras by the last part of their names, as far as that tells them apart.
    private static func cameras(_ features: [String: File.Feature]) -> [CameraFeature] {
        let keys = features.filter { $0.value.isCamera }.keys
        func short(_ key: String) -> String {
            for prefix in ["observation.images.", "observation."]
            where key.hasPrefix(prefix) && key.count > prefix.count {
                return String(key.dropFirst(prefix.count))
            }
            return key
        }
        let shorts = Dictionary(grouping: keys, by: short)
        return keys.map { key in
            let feature = features[key]!
            // [height, width, channels], or channels first.
            let isFirst = feature.names?.first.map { $0.hasPrefix("channel") } ?? (feature.shape.first == 3)
            let sides = feature.shape.count == 3 ? Array(isFirst ? feature.shape[1...] : feature.shape[..<2]) : []
            return CameraFeature(
                key: key, isVideo: feature.dtype == "video",
                camera: Camera(
                    name: shorts[short(key)]!.count == 1 ? short(key) : key, height: sides.first, width: sides.last))
        }.sorted { $0.camera.name < $1.camera.name }
    }

    /// The data file of an episode: by its number (2), or by the file's (3).
    func data(_ values: [String: Int]) throws(DataError) -> String { try filled(dataPath, values) }

    func video(_ key: String, _ values: [String: Int]) throws(DataError) -> String {
        try filled((videoPath ?? "").replacing("{video_key}", with: key), values)
    }

    /// The fields that a path of version 2 is made of.
    func fields(ofEpisode index: Int) -> [String: Int] {
        ["episode_index": index, "episode_chunk": index / chunkSize]
    }

    /// Fills in a path as Python's `str.format` does: `{name}` and `{name:03d}`.
    private func filled(_ template: String, _ values: [String: Int]) throws(DataError) -> String {
        var text = ""
        var rest = Substring(template)
        while let open = rest.firstIndex(of: "{") {
            text += rest[..<open]
            guard let close = rest[open...].firstIndex(of: "}") else { break }
            let field = rest[rest.index(after: open)..<close].split(separator: ":", omittingEmptySubsequences: false)
            guard let name = field.first, let value = values[String(name)] else {
                throw DataError(
                    .malformed,
                    "\(path): the path '\(template)' has the field '\(field.first ?? "")'; expected: "
                        + "\(values.keys.sorted().joined(separator: ", ")).")
            }
            let width = field.count > 1 ? min(Int(field[1].prefix { $0.isNumber }) ?? 0, 20) : 0
            let digits = "\(value)"
            text += String(repeating: "0", count: max(0, width - digits.count)) + digits
            rest = rest[rest.index(after: close)...]
        }
        return "\(folder)/\(text)\(rest)"
    }
}
