internal import Models
internal import PluginRuntime

/// Batches of further data that plugins asked for, and the passes on them.
struct DataStream {
    /// What its draws and its place in a checkpoint are called by.
    let key: String
    /// The user's name for the data.
    let name: String
    let kind: StreamKind
    /// Steps from one batch to the next; 0: never.
    let interval: Int
    /// First step with a batch.
    let start: Int
    /// Samples in a batch.
    let batchSize: Int
    /// What the names of its values begin with: `stream.NAME.`, or nothing for the answers that the run's own batch lacks.
    let prefix: String
    let passes: BatchPasses
    /// nil when it never has a batch.
    let source: (any BatchSource)?
    /// Names that have no value in steps without a batch.
    private(set) var absentNames: [ValueName]

    init(
        _ request: StreamRequest, from sources: StreamSources, model: VLAModel, composition: Composition, batchSize: Int
    ) throws {
        key = request.name
        name = request.name
        kind = request.kind
        interval = request.interval
        start = request.start
        self.batchSize = request.batch == 0 ? batchSize : request.batch
        let prefix = StreamRequest.prefix(of: request.name)
        self.prefix = prefix
        passes = BatchPasses(
            request.taps.map(FeatureTap.init), prefix: prefix, model: model, composition: composition)
        source = interval > 0 ? try sources.open(name, key, self.batchSize) : nil
        absentNames = []
        absentNames = valueNames(composition).map { ValueName($0) }
    }

    /// The answers that hooks read of the run's own batch, which has none, every step.
    init(
        answersOf name: String, from sources: StreamSources, model: VLAModel, composition: Composition, batchSize: Int
    ) throws {
        // No stream that a plugin names is called so.
        key = ""
        self.name = name
        kind = .questions
        (interval, start, self.batchSize, prefix) = (1, 0, batchSize, "")
        passes = BatchPasses([], part: .answersAlone, model: model, composition: composition)
        source = try sources.open(name, key, batchSize)
        absentNames = []
    }

    /// What costs are shown under.
    var title: String { prefix.isEmpty ? "answers of stream.\(name)" : "stream.\(name)" }

    /// Its values that some hook reads.
    func valueNames(_ composition: Composition) -> [String] {
        composition.resolvedReads(at: .preBackward).filter {
            prefix.isEmpty ? BatchNames.answers.contains($0) : $0.hasPrefix(prefix)
        }
    }

    /// Whether step `step` has a batch of it.
    func isDue(_ step: Int) -> Bool { interval > 0 && step >= start && (step - start) % interval == 0 }
}
