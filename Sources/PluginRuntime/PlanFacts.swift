/// What a host knows before the first step. What it does not know stays `nil`, and hooks that need it fail with a sentence.
package struct PlanFacts {
    /// Decoder layers plus one.
    package var hiddenStates: Int?
    package var hiddenSize: Int?
    /// Visual tokens of one sample, all cameras together.
    package var visualTokens: Int?
    /// Cameras of the model; no name, but probes choose among them.
    package var cameras: Int?
    /// Action queries of one sample.
    package var queries: Int?
    /// Samples in a micro-batch.
    package var batch: Int?
    /// Optimizer steps the run will take.
    package var steps: Int?
    package var seed: UInt64 = 0
    /// Parameter groups that rates and routes may name.
    package var groups: [String] = []
    /// Data streams that the run was given, by name; nil: any that a plugin asks for.
    package var streams: [String: StreamKind]?
    /// How a user gives one, for what is said of one that is missing.
    package var streamAdvice: (_ name: String, _ kind: StreamKind?) -> String = { _, _ in
        "this host has no data streams"
    }
    /// Who the blocks are, once it is known what a block is.
    package var blocks: (BlockScope) throws -> BlockFacts = { _ in BlockFacts(numel: []) }
    /// Values that this run never has, by name, each with the reason and what to do: hooks that require one are refused
    /// before the first step.
    package var absent: [String: String] = [:]

    package init() {}

    /// By name, those that are known.
    var integers: [(name: String, value: Int?)] {
        [
            ("hidden_states", hiddenStates), ("hidden_size", hiddenSize), ("visual_tokens", visualTokens),
            ("queries", queries), ("batch", batch), ("steps", steps),
        ]
    }
}
