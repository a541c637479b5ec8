/// What a host knows before the first step. What it does not know stays `nil`, and hooks that need it fail with a sentence.
public struct PlanFacts {
    /// Decoder layers plus one.
    public var hiddenStates: Int?
    public var hiddenSize: Int?
    /// Visual tokens of one sample, all cameras together.
    public var visualTokens: Int?
    /// Cameras of the model; no name, but probes choose among them.
    public var cameras: Int?
    /// Action queries of one sample.
    public var queries: Int?
    /// Samples in a micro-batch.
    public var batch: Int?
    /// Optimizer steps the run will take.
    public var steps: Int?
    public var seed: UInt64 = 0
    /// Parameter groups that rates and routes may name.
    public var groups: [String] = []
    /// Data streams that the run was given, by name; nil: any that a plugin asks for.
    public var streams: [String: StreamKind]?
    /// How a user gives one, for what is said of one that is missing.
    public var streamAdvice: (_ name: String, _ kind: StreamKind?) -> String = { _, _ in "this host has no data streams"
    }
    /// Who the blocks are, once it is known what a block is.
    public var blocks: (BlockScope) throws -> BlockFacts = { _ in BlockFacts(numel: []) }
    /// Values that this run never has, by name, each with the reason and what to do: hooks that require one are refused
    /// before the first step.
    public var absent: [String: String] = [:]

    public init() {}

    /// By name, those that are known.
    var integers: [(name: String, value: Int?)] {
        [
            ("hidden_states", hiddenStates), ("hidden_size", hiddenSize), ("visual_tokens", visualTokens),
            ("queries", queries), ("batch", batch), ("steps", steps),
        ]
    }
}
