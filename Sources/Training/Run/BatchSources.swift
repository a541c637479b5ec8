internal import Data
internal import Models

/// The data sets of a run.
enum DemonstrationParts {
    /// Opens every data set that the settings name, each with its own statistics.
    static func open(_ settings: RunSettings) throws -> [MixturePart] {
        let request = try MixtureRequest(settings.dataset)
        let names = request.entries.isEmpty ? [nil] : request.entries.map { Optional($0.name) }
        return try zip(names, request.entries.isEmpty ? [nil] : request.entries.map(\.weight)).map { name, weight in
            let dataset = try Demonstrations.open(root: settings.data, name: name)
            var statistics = try dataset.statistics()
            if settings.statistics == .selected {
                let selection = EpisodeSelection(
                    dataset.episodes, holdOutEvery: settings.holdOutEvery, shots: settings.shots,
                    shotsSeed: settings.shotsSeed)
                statistics = try DatasetStatistics(episodes: selection.training.map { dataset.episodes[$0] })
            }
            return MixturePart(dataset: dataset, statistics: statistics, weight: weight)
        }
    }
}

/// Micro-batches of demonstrations.
final class DemonstrationSource: BatchSource {
    private let reader: DemonstrationReader
    private let prompts: PromptEncoder
    private let tasks: [String: Int64]
    private var encoded: [String: [Int32]] = [:]

    init(_ reader: DemonstrationReader, prompts: PromptEncoder) {
        self.reader = reader
        self.prompts = prompts
        tasks = reader.sampler.instructions.places
    }

    func next() throws -> TrainingBatch {
        let batch = try reader.next()
        let ids = batch.instructions.map { instruction in
            if let known = encoded[instruction] { return known }
            let ids = prompts.action(instruction)
            encoded[instruction] = ids
            return ids
        }
        var made = TrainingBatch.demonstrations(batch, prompts: ids)
        made.samples = batch.samples
        made.tasks = batch.instructions.map { tasks[$0] ?? -1 }
        return made
    }

    var cursor: DataCursor { reader.cursor }

    func restore(cursor: DataCursor) throws { reader.cursor = cursor }

    func pass(_ batches: Int) throws { try reader.pass(batches) }
}

extension TrainingBatch {
    static func demonstrations(_ batch: DemonstrationBatch, prompts: [[Int32]]) -> TrainingBatch {
        TrainingBatch(
            input: ModelInput(
                images: .rgb(batch.images), cameras: batch.cameras.count, prompts: prompts,
                action: .init(proprio: batch.proprio)),
            targetActions: batch.actions)
    }

    /// Questions with their answers behind them, of which the last token is predicted only.
    static func questions(_ batch: VQABatch, prompts: PromptEncoder) throws -> TrainingBatch {
        let answers = try batch.answers.map(prompts.answer)
        return TrainingBatch(
            input: ModelInput(
                images: .rgb(batch.images), cameras: 1,
                prompts: zip(batch.questions, answers).map { prompts.question($0) + $1.dropLast() },
                answerLengths: answers.map(\.count)),
            answerIDs: answers.flatMap { $0.map(Int64.init) })
    }
}

/// Micro-batches of questions about images.
final class QuestionSource: BatchSource {
    private let sampler: VQASampler
    private let prompts: PromptEncoder
    private let tasks: [String: Int64]

    init(_ sampler: VQASampler, prompts: PromptEncoder) {
        self.sampler = sampler
        self.prompts = prompts
        tasks = Set(sampler.dataset.questions.map(\.text)).sorted().places
    }

    func next() throws -> TrainingBatch {
        let batch = try sampler.next()
        var made = try TrainingBatch.questions(batch, prompts: prompts)
        made.samples = batch.samples
        made.tasks = batch.questions.map { tasks[$0] ?? -1 }
        return made
    }

    var cursor: DataCursor { sampler.cursor }

    func restore(cursor: DataCursor) throws { sampler.cursor = cursor }

    func pass(_ batches: Int) throws { try sampler.pass(batches) }
}

extension [String] {
    /// Where each is among them.
    fileprivate var places: [String: Int64] {
        Dictionary(uniqueKeysWithValues: enumerated().map { ($1, Int64($0)) })
    }
}
