/// A request for batches of further data, every k-th step. Where the data are is the user's to say.
package struct StreamRequest: Sendable {
    /// As plugins and the user call it.
    package var name: String
    package var kind: StreamKind
    /// Steps from one batch to the next; 0: never.
    package var interval: Int
    /// First step with a batch.
    package var start: Int
    /// Samples in a batch; 0: as many as the run's own batch has.
    package var batch: Int
    /// Under the names that the stream knows them by.
    package var taps: [TapRequest]

    package init(
        name: String, kind: StreamKind, interval: Int = 1, start: Int = 0, batch: Int = 0, taps: [TapRequest] = []
    ) {
        self.name = name
        self.kind = kind
        self.interval = interval
        self.start = start
        self.batch = batch
        self.taps = taps
    }

    /// What the names of a stream's values begin with.
    package static func prefix(of name: String) -> String { "stream.\(name)." }

    /// The streams that some hook reads.
    static func planned(_ reader: PlanReader) throws -> [StreamRequest] {
        let read = reader.composition.resolvedReads(at: .preBackward)
        return try reader.composition.provided(matching: "stream.{stream}.interval", capture: "stream")
            .filter { name in read.contains { $0.hasPrefix(prefix(of: name)) } }
            .map { try StreamRequest($0, reader) }
    }

    private init(_ name: String, _ reader: PlanReader) throws {
        let prefix = Self.prefix(of: name)
        func integer(_ key: String, _ range: ClosedRange<Int64>, _ meaning: String) throws -> Int {
            let value = reader.values.integer(prefix + key) ?? 0
            guard range.contains(value) else {
                throw reader.refusal(of: prefix + key, "it is \(value); expected \(meaning)")
            }
            return Int(value)
        }
        self.name = name
        interval = try integer("interval", 0...1_000_000_000, "0 (off) to 1000000000 steps")
        start = try integer("start", 0...1_000_000_000_000, "a step, 0 or more")
        batch = try integer("batch", 0...65_536, "0 (as the run) to 65536 samples")
        let wanted = try reader.code(prefix + "kind", as: StreamKind.self)
        // What never runs, or in a host that has no data, needs none.
        let isFree = interval == 0 || reader.facts.streams == nil
        guard let kind = reader.facts.streams?[name] ?? (isFree ? wanted ?? .demonstrations : nil) else {
            throw reader.refusal(
                of: prefix + "interval",
                "it asks for the data stream '\(name)', which this run was not given: "
                    + reader.facts.streamAdvice(name, wanted))
        }
        guard wanted == nil || wanted == kind else {
            throw reader.refusal(
                of: prefix + "kind",
                "the data stream '\(name)' has to be of \(wanted.map { "\($0)" } ?? ""), and it is of \(kind): "
                    + reader.facts.streamAdvice(name, wanted))
        }
        self.kind = kind
        taps = try TapRequest.planned(
            reader, of: prefix, withoutQueries: kind == .questions ? "questions do not have" : nil)
    }
}
