internal import Formats
import Foundation

/// The episodes of a LeRobot data set and the texts of its tasks, from the files in `meta`.
struct LeRobotIndex: Sendable {
    struct Entry: Sendable {
        /// Its number in the set.
        let number: Int
        /// Steps.
        let length: Int
        /// The file with its rows.
        let data: String
        /// Per camera, the video with its frames and at which second of it they begin; nil where pictures are in the data.
        let videos: [(path: String, start: Double)?]
    }

    /// By number.
    let entries: [Entry]
    /// What each `task_index` stands for.
    let tasks: [Int: String]
    /// What was read.
    let files: [String]

    init(_ info: LeRobotInfo) throws(DataError) {
        var (entries, files): ([Entry], [String])
        if info.major == 2 {
            (tasks, entries) = (try Self.tasksOfLines(info), try Self.entriesOfLines(info))
            files = ["tasks.jsonl", "episodes.jsonl"].map { "\(info.folder)/meta/\($0)" }
        } else {
            tasks = try Self.tasksOfTable(info)
            (entries, files) = try Self.entriesOfTables(info)
            files.insert("\(info.folder)/meta/tasks.parquet", at: 0)
        }
        entries.sort { $0.number < $1.number }
        for (entry, next) in zip(entries, entries.dropFirst()) where entry.number == next.number {
            throw DataError(.malformed, "\(files[files.count - 1]): lists episode \(entry.number) twice.")
        }
        guard !entries.isEmpty else {
            throw DataError(
                .empty,
                "\(info.folder): meta lists no episodes. The set is empty, or was not finished; record it again.")
        }
        if let bad = entries.first(where: { $0.length < 1 || $0.number < 0 }) {
            throw DataError(
                .malformed,
                "\(files[files.count - 1]): episode \(bad.number) has \(bad.length) steps; expected at least one.")
        }
        (self.entries, self.files) = (entries, files)
    }

    /// The texts alone.
    static func tasks(_ info: LeRobotInfo) throws(DataError) -> [Int: String] {
        info.major == 2 ? try tasksOfLines(info) : try tasksOfTable(info)
    }

    // MARK: - Version 2: a line of JSON an episode

    private struct TaskLine: Decodable {
        var index: Int
        var task: String

        private enum CodingKeys: String, CodingKey {
            case index = "task_index"
            case task
        }
    }

    private struct EpisodeLine: Decodable {
        var index: Int
        var length: Int

        private enum CodingKeys: String, CodingKey {
            case index = "episode_index"
            case length
        }
    }

    private static func lines<Line: Decodable>(_ path: String, as type: Line.Type) throws(DataError) -> [Line] {
        let bytes = try reading { () throws(FileError) in try RandomAccessFile.contents(of: path) }
        var lines: [Line] = []
        for (number, line) in bytes.split(separator: UInt8(ascii: "\n")).enumerated() {
            if line.allSatisfy({ $0 == UInt8(ascii: "\r") || $0 == UInt8(ascii: " ") }) { continue }
            do { lines.append(try JSONDecoder().decode(Line.self, from: Foundation.Data(line))) } catch {
                throw DataError(.malformed, "\(path): line \(number + 1): \(jsonReason(error, in: Array(line))).")
            }
        }
        return lines
    }

    private static func tasksOfLines(_ info: LeRobotInfo) throws(DataError) -> [Int: String] {
        let lines = try lines("\(info.folder)/meta/tasks.jsonl", as: TaskLine.self)
        return Dictionary(lines.map { ($0.index, $0.task) }) { first, _ in first }
    }

    private static func entriesOfLines(_ info: LeRobotInfo) throws(DataError) -> [Entry] {
        try lines("\(info.folder)/meta/episodes.jsonl", as: EpisodeLine.self).map { (line) throws(DataError) in
            let fields = info.fields(ofEpisode: line.index)
            return Entry(
                number: line.index, length: line.length, data: try info.data(fields),
                videos: try info.cameras.map { (camera) throws(DataError) in
                    camera.isVideo ? (try info.video(camera.key, fields), 0) : nil
                })
        }
    }

    // MARK: - Version 3: tables

    private static func tasksOfTable(_ info: LeRobotInfo) throws(DataError) -> [Int: String] {
        let file = try ParquetFile(path: "\(info.folder)/meta/tasks.parquet")
        // The texts are the table's pandas index, which has one of several names.
        guard let column = file.firstTexts else {
            throw DataError(
                .missing,
                "\(file.path): has no column of texts beside 'task_index'; it has: \(file.columns.joined(separator: ", "))."
            )
        }
        let pairs = zip(try file.integers("task_index"), try file.texts(column))
        return Dictionary(Array(pairs)) { first, _ in first }
    }

    private static func entriesOfTables(_ info: LeRobotInfo) throws(DataError) -> ([Entry], [String]) {
        let folder = "\(info.folder)/meta/episodes"
        let names = ((try? FileManager.default.subpathsOfDirectory(atPath: folder)) ?? []).filter {
            $0.hasSuffix(".parquet")
        }
        guard !names.isEmpty else {
            throw DataError(
                .missing,
                "\(folder): holds no Parquet file, which list the episodes of a data set of \(info.version). Download or copy the "
                    + "set again.")
        }
        let files = names.sorted().map { "\(folder)/\($0)" }
        var entries: [Entry] = []
        for path in files {
            let file = try ParquetFile(path: path)
            let (numbers, lengths) = (try file.integers("episode_index"), try file.integers("length"))
            func places(_ prefix: String) throws(DataError) -> [[String: Int]] {
                zip(try file.integers("\(prefix)/chunk_index"), try file.integers("\(prefix)/file_index")).map {
                    ["chunk_index": $0, "file_index": $1]
                }
            }
            let data = try places("data")
            let videos = try info.cameras.map { (camera) throws(DataError) -> [(String, Double)?] in
                guard camera.isVideo else { return numbers.map { _ in nil } }
                let starts = try file.numbers("videos/\(camera.key)/from_timestamp")
                return try zip(try places("videos/\(camera.key)"), starts).map { (place, start) throws(DataError) in
                    (try info.video(camera.key, place), start)
                }
            }
            for row in numbers.indices {
                entries.append(
                    Entry(
                        number: numbers[row], length: lengths[row], data: try info.data(data[row]),
                        videos: videos.map { $0[row] }))
            }
        }
        return (entries, files)
    }
}
