internal import Data
internal import Formats
internal import Foundation
internal import Models
internal import PluginRuntime
internal import Tensors

/// The data of a run's streams, opened before the first step.
struct StreamData {
    private enum Content {
        case questions(VQADataset)
        case demonstrations(MixturePart)
    }

    private let contents: [String: Content]
    private let settings: RunSettings
    private let config: ModelConfig
    private let prompts: PromptEncoder
    private let share: BatchShare

    /// Throws ``TrainingError`` naming the stream, or ``DataError`` naming the file.
    init(
        _ settings: RunSettings, config: ModelConfig, prompts: PromptEncoder, share: BatchShare = .all
    ) throws {
        self.share = share
        self.settings = settings
        self.config = config
        self.prompts = prompts
        var contents: [String: Content] = [:]
        for stream in settings.streams ?? [] {
            do {
                contents[stream.name] =
                    switch stream.kind {
                    case .questions: .questions(try Self.questions(stream))
                    case .demonstrations: .demonstrations(try Self.demonstrations(stream))
                    }
            } catch let error as DataError {
                throw TrainingError(.settings, "`streams` \(stream.name): \(error)")
            }
        }
        self.contents = contents
    }

    /// The questions of the split `train`, or of the folder itself where it is a split.
    private static func questions(_ stream: StreamSetting) throws(DataError) -> VQADataset {
        let folder = URL(fileURLWithPath: stream.path)
        guard FileManager.default.fileExists(atPath: stream.path + "/questions.json") else {
            return try VQADataset(path: stream.path, split: "train")
        }
        return try VQADataset(path: folder.deletingLastPathComponent().path, split: folder.lastPathComponent)
    }

    /// The data set at or below the folder, normalised by its own statistics.
    private static func demonstrations(_ stream: StreamSetting) throws -> MixturePart {
        let dataset = try Demonstrations.open(root: stream.path)
        return MixturePart(dataset: dataset, statistics: try dataset.statistics())
    }

    /// What demonstrations of the streams are normalised by, by data set.
    var statistics: [String: DatasetStatistics] {
        var statistics: [String: DatasetStatistics] = [:]
        for case .demonstrations(let part) in contents.values { statistics[part.dataset.name] = part.statistics }
        return statistics
    }

    /// For a step to draw batches from.
    var sources: StreamSources {
        StreamSources(settings) { name, key, batchSize in try open(name, key: key, batchSize: batchSize) }
    }

    /// - Parameter key: what the draws are keyed by, beside the run's seed: streams of the same data differ.
    private func open(_ name: String, key: String, batchSize: Int) throws -> any BatchSource {
        // Cursors are JSON, in which numbers beyond 2^53 are not safe.
        var generator = RandomGenerator(seed: settings.seed, stream: RandomGenerator.stream("data stream \(key)"))
        let seed = generator.next() >> 16
        switch contents[name] {
        case .questions(let dataset):
            // Images stay as they are: what is left of what would change when they are mirrored.
            let sampler = try VQASampler(
                dataset, batchSize: batchSize, imageSize: config.imageSize, seed: seed, share: share)
            return QuestionSource(sampler, prompts: prompts)
        case .demonstrations(let part):
            let sampler = try DemonstrationSampler(
                [part],
                options: SamplingOptions(
                    batchSize: batchSize, imageSize: config.imageSize, cameras: settings.cameras,
                    augment: settings.augments, seed: seed, chunk: config.chunk, holdOutEvery: settings.holdOutEvery,
                    threads: settings.threads))
            let reader = try DemonstrationReader(
                sampler, depth: settings.readAhead ?? RunSettings.defaultReadAhead, share: share)
            return DemonstrationSource(reader, prompts: prompts)
        case nil: throw TrainingError(.missing, "there is no data stream '\(name)'")
        }
    }

    /// What the user should know about the streams of a run.
    func notes(_ composition: Composition, streams: [DataStream]) -> [String] {
        contents.sorted { $0.key < $1.key }.flatMap { name, content in
            var notes: [String] = []
            if !streams.contains(where: { $0.name == name && $0.source != nil }) {
                notes.append("no plugin of the list asks for the data stream '\(name)'; it is left unread")
            }
            if case .questions(let dataset) = content, !settings.questions.isEmpty,
                Self.isSame(dataset.splitPath, settings.questions + "/test")
            {
                notes.append(
                    "the questions of the data stream '\(name)' are those that measure retention: the accuracy is that on what "
                        + "was trained on")
            }
            return notes
        }
    }

    private static func isSame(_ path: String, _ other: String) -> Bool {
        func resolved(_ path: String) -> String { URL(fileURLWithPath: path).resolvingSymlinksInPath().path }
        return resolved(path) == resolved(other)
    }
}

extension StreamSources {
    /// Those of a run's settings, with a way to open them.
    init(
        _ settings: RunSettings,
        open: @escaping (_ name: String, _ key: String, _ batchSize: Int) throws -> any BatchSource
    ) {
        let streams = settings.streams ?? []
        let questions = streams.filter { $0.kind == .questions }
        self.init(
            kinds: Dictionary(uniqueKeysWithValues: streams.map { ($0.name, $0.kind.code) }),
            answers: settings.task == .demonstrations && questions.count == 1 ? questions[0].name : nil, open: open)
    }
}
