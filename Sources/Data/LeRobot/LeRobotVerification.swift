internal import Formats
import Foundation
import Synchronization

extension LeRobotStore {
    /// Checked: the description files, every data file's columns against them (rows of each episode, widths, finite numbers, known
    /// tasks), numbers of episodes and steps, and every picture decoded.
    package static func verification(
        root: String, name: String?, threads: Int, progress: @escaping @Sendable (_ done: Int, _ of: Int) -> Void
    ) throws(DataError) -> DatasetVerification {
        let located = try LeRobotFolder.locate(root: root, name: name)
        var result = DatasetVerification(path: located.path, name: located.name)
        let (info, index): (LeRobotInfo, LeRobotIndex)
        do throws(DataError) {
            info = try LeRobotInfo(folder: located.path)
            index = try LeRobotIndex(info)
        } catch {
            result.problems.append(
                DatasetProblem(file: "\(located.path)/\(LeRobotInfo.place)", message: error.description))
            return result
        }
        let files = dataFiles(index)
        let frames = VideoFrames()
        let done = Mutex(0)
        let surveys = parallelMap(count: files.count, threads: threads) { place in
            let survey = FileSurvey(files[place].path, files[place].entries, info, index.tasks, frames)
            done.withLock {
                $0 += 1
                progress($0, files.count)
            }
            return survey
        }
        for survey in surveys {
            result.shards += survey.isPresent ? 1 : 0
            result.records += survey.records
            result.steps += survey.steps
            result.images += survey.images
            result.bytes += survey.bytes
            result.problems += survey.problems
        }
        let steps = index.entries.reduce(0) { $0 + $1.length }
        for (key, said, found) in [
            ("total_episodes", info.totalEpisodes, index.entries.count), ("total_frames", info.totalFrames, steps),
        ] {
            guard let said, said != found else { continue }
            result.problems.append(
                DatasetProblem(
                    file: info.path,
                    message: "\(info.path): \(key) is \(said), but the other files in meta list \(found)."))
        }
        let listed = Set(files.map { URL(fileURLWithPath: $0.path).standardizedFileURL.path })
        let data = URL(fileURLWithPath: "\(located.path)/data").standardizedFileURL.path
        let names = (try? FileManager.default.subpathsOfDirectory(atPath: data)) ?? []
        for name in names.sorted() where name.hasSuffix(".parquet") && !listed.contains("\(data)/\(name)") {
            result.remarks.append(
                DatasetProblem(
                    file: "\(data)/\(name)", message: "\(data)/\(name): belongs to no episode; it is never read."))
        }
        return result
    }
}

/// What one data file and its episodes' pictures hold, and what is wrong with them.
private struct FileSurvey: Sendable {
    var isPresent = false
    var records = 0
    var steps = 0
    var images = 0
    var bytes = 0
    var problems: [DatasetProblem] = []

    init(
        _ path: String, _ entries: [LeRobotIndex.Entry], _ info: LeRobotInfo, _ tasks: [Int: String],
        _ frames: VideoFrames
    ) {
        isPresent = FileManager.default.fileExists(atPath: path)
        bytes = (try? RandomAccessFile(path: path).size) ?? 0
        let rows: LeRobotRows
        do throws(DataError) { rows = try LeRobotRows(path, entries, info, tasks: tasks) } catch {
            problems.append(DatasetProblem(file: path, message: error.description))
            return
        }
        for (number, episode, place) in rows.episodes {
            records += 1
            steps += episode.length
            for camera in info.cameras.indices {
                // The first of an episode and camera: where one cannot be read, hundreds behind it seldom can.
                for step in 0..<episode.length {
                    do throws(DataError) {
                        _ = try LeRobotStore.image(place, step: step, camera: camera, info, frames)
                        images += 1
                    } catch {
                        problems.append(
                            DatasetProblem(
                                file: place.videos[camera]?.path ?? path, record: number,
                                message: "episode \(number), step \(step): \(error)"))
                        break
                    }
                }
            }
        }
    }
}
