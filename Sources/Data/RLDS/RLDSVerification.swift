internal import Formats
import Foundation
import Synchronization

extension RLDSStore {
    /// Checked: the description files, missing and extra shards, records per shard and bytes in all against
    /// `dataset_info.json`, every record's checksums, and inside each record every feature of `features.json` (kind, length,
    /// equal numbers of steps, finite numbers, UTF-8), with every colour image decoded.
    ///
    /// Memory: one record and one image per thread.
    package static func verification(
        root: String, name: String?, threads: Int, progress: @escaping @Sendable (_ done: Int, _ of: Int) -> Void
    ) throws(DataError) -> DatasetVerification {
        let version = try DatasetFolder.locate(root: root, name: name)
        var result = DatasetVerification(path: version.path, name: version.name)
        let folder = version.path
        var found: [DatasetProblem] = []
        var schema: FeatureSchema?
        do throws(DataError) {
            let read = try reading { () throws(FileError) in try FeatureSchema(contentsOf: "\(folder)/features.json") }
            schema = read
            _ = try EpisodeParser(schema: read)
        } catch {
            let unchecked = " Without it only the checksums of the records are checked, not what they hold."
            found.append(
                DatasetProblem(
                    file: "\(folder)/features.json", message: error.description + (schema == nil ? unchecked : "")))
        }
        let present = DatasetFolder.shards(in: folder)
        var expected: [(file: String, count: Int?)] = present.map { ($0, nil) }
        var byteCount: Int?
        var trainShards = present.count
        do throws(DataError) {
            let info = try DatasetInfo(contentsOf: "\(folder)/\(DatasetFolder.infoFile)")
            byteCount = info.byteCount
            trainShards = info.shards.count
            // Statistics are taken over the other splits too.
            let all = info.shards + info.splits.filter { $0.name != DatasetInfo.trainSplit }.flatMap(\.shards)
            let listed = Set(all.map(\.file))
            for extra in present where !listed.contains(extra) && isTrainShard(extra) {
                found.append(
                    DatasetProblem(
                        file: "\(folder)/\(extra)",
                        message: "\(folder)/\(extra): is not among the \(info.shards.count) shards that "
                            + "\(DatasetFolder.infoFile) lists (\(info.shards[0].file), ...). It is never read: remove it, "
                            + "or restore the info file that goes with it."))
            }
            if info.isRenamed {
                let path = "\(folder)/\(DatasetFolder.infoFile)"
                found.append(DatasetProblem(file: path, message: "\(path): \(misnaming(info))"))
            }
            expected = all.map { ($0.file, $0.recordCount) }
        } catch {
            found.append(DatasetProblem(file: "\(folder)/\(DatasetFolder.infoFile)", message: error.description))
        }

        let shardList = expected
        let checkedSchema = schema
        let done = Mutex(0)
        let results = parallelMap(
            count: shardList.count, threads: threads
        ) { index in
            let survey = ShardSurvey(
                path: "\(folder)/\(shardList[index].file)", expected: shardList[index].count, schema: checkedSchema)
            done.withLock {
                $0 += 1
                progress($0, shardList.count)
            }
            return survey
        }
        var (payloadBytes, fileBytes) = (0, 0)
        for (index, survey) in results.enumerated() {
            result.shards += survey.isPresent ? 1 : 0
            result.records += survey.records
            result.steps += survey.steps
            result.images += survey.images
            result.bytes += survey.bytes
            if index < trainShards {
                payloadBytes += survey.payloadBytes
                fileBytes += survey.bytes
            }
            found += survey.problems
            result.remarks += survey.remarks
        }
        // tfds counts payloads; some writers count whole files. What is missing or damaged is listed already.
        if results.allSatisfy(\.isWhole), let byteCount, byteCount != payloadBytes, byteCount != fileBytes {
            found.append(
                DatasetProblem(
                    file: "\(folder)/\(DatasetFolder.infoFile)",
                    message:
                        "\(folder)/\(DatasetFolder.infoFile): numBytes is \(byteCount), but the records of its "
                        + "shards hold \(payloadBytes) bytes."))
        }
        if result.records == 0, found.isEmpty {
            found.append(DatasetProblem(file: folder, message: "\(folder): holds no records."))
        }
        result.problems = found
        return result
    }

    /// Why tfds does not find the files that are there, and what to correct.
    private static func misnaming(_ info: DatasetInfo) -> String {
        let file = info.shards[0].file
        guard file.hasPrefix("\(info.name)-train.") else {
            return "names the data set '\(info.name)', but its first file is \(file). craft reads it, tfds does not: "
                + "correct the name or rename the files."
        }
        return "filepathTemplate is '\(info.template)', but the first file is \(file). craft reads it, tfds does not: "
            + "correct the template to '\(DatasetInfo.defaultTemplate)' or rename the files."
    }

    private static func isTrainShard(_ file: String) -> Bool { file.contains("-train.tfrecord") }
}

/// What one shard holds and what is wrong with it.
private struct ShardSurvey: Sendable {
    var isPresent = false
    /// Present, with every record there and readable.
    var isWhole = false
    var records = 0
    var steps = 0
    var images = 0
    var bytes = 0
    var payloadBytes = 0
    var problems: [DatasetProblem] = []
    var remarks: [DatasetProblem] = []

    init(path: String, expected: Int?, schema: FeatureSchema?) {
        let file: RandomAccessFile
        do throws(FileError) { file = try RandomAccessFile(path: path) } catch {
            let isThere = FileManager.default.fileExists(atPath: path)
            if !isThere, expected == 0 {
                isWhole = true
                return
            }
            problems.append(
                DatasetProblem(
                    file: path,
                    message: isThere
                        ? "\(error)."
                        : "\(path): is missing; \(DatasetFolder.infoFile) lists it with \(expected ?? 0) records. Download "
                            + "or copy it again."))
            return
        }
        isPresent = true
        bytes = file.size
        var (steps, images, payloadBytes) = (0, 0, 0)
        var isWhole = true
        var (found, remarked): ([DatasetProblem], [DatasetProblem]) = ([], [])
        records = TFRecordFile(file: file).survey { index, offset, payload in
            payloadBytes += payload.count
            guard let schema else { return }
            var survey = RecordSurvey(schema: schema, payload: payload, offset: offset, record: index, file: path)
            survey.run()
            steps += survey.steps
            images += survey.images
            found += survey.problems
            remarked += survey.remarks
        } damage: { index, offset, problem in
            isWhole = false
            found.append(DatasetProblem(file: path, record: index, offset: offset, message: problem))
        }
        (self.steps, self.images, self.payloadBytes) = (steps, images, payloadBytes)
        (problems, remarks) = (found, remarked)
        self.isWhole = isWhole
        if let expected, records != expected {
            self.isWhole = false
            problems.append(
                DatasetProblem(
                    file: path,
                    message:
                        "\(path): holds \(records) \(records == 1 ? "record" : "records"), expected \(expected) "
                        + "(shardLengths of \(DatasetFolder.infoFile)). The download is incomplete or mixes versions."))
        }
    }
}
