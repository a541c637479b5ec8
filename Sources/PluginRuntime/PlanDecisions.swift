/// What `plan` hooks decided about a run.
package struct PlanDecisions: Sendable {
    /// What one block of the Gram matrices is.
    package var blockScope = BlockScope.tensor
    /// Feature taps of the batch that some hook reads.
    package var taps: [TapRequest] = []
    package var probes: [ProbeRequest] = []
    package var streams: [StreamRequest] = []
    /// Factors on the learning rate by parameter group.
    package var rateScales: [String: Double] = [:]
    /// Factors on the gradient of an objective by parameter group, by row; 1 where none is given.
    package var routes: [[String: Double]] = []

    package init() {}

    init(_ values: ValueStore, _ composition: Composition, _ facts: PlanFacts) throws {
        let reader = PlanReader(values: values, composition: composition, facts: facts)
        blockScope = try reader.code("block_scope", as: BlockScope.self) ?? .tensor
        taps = try TapRequest.planned(reader)
        probes = try ProbeRequest.planned(reader)
        streams = try StreamRequest.planned(reader)
        for group in composition.provided(matching: "lr_scale.{group}", capture: "group") {
            try reader.check(group: group, of: "lr_scale.\(group)")
            guard let factor = values.double("lr_scale.\(group)") else { continue }
            guard (0...1000).contains(factor) else {
                throw reader.refusal(of: "lr_scale.\(group)", "it is \(factor); expected 0 to 1000")
            }
            rateScales[group] = factor
        }
        routes = try composition.objectives.map { objective in
            var factors: [String: Double] = [:]
            for group in composition.provided(matching: "route.\(objective).{group}", capture: "group") {
                let name = "route.\(objective).\(group)"
                try reader.check(group: group, of: name)
                factors[group] = values.double(name)
            }
            return factors
        }
    }
}

/// A request for features of the decoder's hidden states.
package struct TapRequest: Sendable, Equatable {
    /// As the plugin calls it.
    package var name: String
    /// Index into the hidden states, or ``TapLayer/all``.
    package var layer: Int
    package var tokens: TapTokens
    package var pooling: TapPooling

    /// The taps that are on and that some hook reads.
    ///
    /// - Parameters:
    ///   - prefix: of whose taps: `probe.P.`, `stream.S.`, or nothing for the batch itself.
    ///   - withoutQueries: why there are no action queries to tap, as the end of a sentence; nil: there are.
    static func planned(
        _ reader: PlanReader, of prefix: String = "", withoutQueries: String? = nil
    ) throws -> [TapRequest] {
        return try reader.composition.provided(matching: "\(prefix)tap.{id}.layer", capture: "id").compactMap { id in
            let name = "\(prefix)tap.\(id)"
            guard let layer = reader.values.integer("\(name).layer").map({ Int(clamping: $0) }), layer != TapLayer.off
            else {
                return nil
            }
            if let states = reader.facts.hiddenStates, layer != TapLayer.all, !(0..<states).contains(layer) {
                throw reader.refusal(
                    of: "\(name).layer",
                    "it asks for hidden state \(layer); the model has 0 to \(states - 1), \(TapLayer.all) is all layers and "
                        + "\(TapLayer.off) none")
            }
            guard reader.composition.reads("\(prefix)feature.\(id)", at: .preBackward) else { return nil }
            let tokens = try reader.code("\(name).tokens", as: TapTokens.self) ?? .visual
            if let withoutQueries, tokens == .queries {
                throw reader.refusal(of: "\(name).tokens", "it asks for action queries (3), which \(withoutQueries)")
            }
            return TapRequest(
                name: id, layer: layer, tokens: tokens,
                pooling: try reader.code("\(name).pooling", as: TapPooling.self) ?? .mean)
        }
    }
}

/// A request for further forward passes: images of the batch, perturbed or not, with the plugin's own prompts, every k-th
/// step.
package struct ProbeRequest: Sendable {
    /// As the plugin calls it.
    package var name: String
    /// Steps from one run to the next; 0 never runs.
    package var interval: Int
    /// First step in which it runs.
    package var start: Int
    /// First step in which it runs no more; nil: it goes on.
    package var end: Int?
    package var prompts: [String]
    package var template: ProbeTemplate
    /// Images of a sample: so many of its cameras, drawn for each; 0: all.
    package var cameras: Int
    /// Shares of the samples by what is done to their images, 0 or more, relative to their sum.
    package var shares: [String: Double]
    /// Under the names that the probe knows them by.
    package var taps: [TapRequest]
    /// Taps that are turned off or that no hook reads.
    package var otherTaps: [String]
    package var readsLogits: Bool
    /// Whether some hook reads what the initial weights make of the same input.
    package var readsAnchor: Bool

    /// What may be done to images.
    package static let perturbations = ["unchanged", "jitter", "shuffle", "mix"]

    static func planned(_ reader: PlanReader) throws -> [ProbeRequest] {
        let composition = reader.composition
        let names = composition.provided(matching: "probe.{probe}.interval", capture: "probe")
        for pattern in ["probe.{probe}.prompts", "probe.{probe}.tap.{tap}.layer"] {
            for name in composition.provided(matching: pattern, capture: "probe") where !names.contains(name) {
                throw TapRequest.orphan(name, reader)
            }
        }
        // A probe that no hook reads would be computed for nothing.
        let read = composition.resolvedReads(at: .preBackward)
        return try names.filter { name in read.contains { $0.hasPrefix("probe.\(name).") } }
            .map { try ProbeRequest($0, reader) }
    }

    private init(_ name: String, _ reader: PlanReader) throws {
        func integer(_ key: String, _ range: ClosedRange<Int64>, _ meaning: String) throws -> Int {
            let value = reader.values.integer("probe.\(name).\(key)") ?? 0
            guard range.contains(value) else {
                throw reader.refusal(of: "probe.\(name).\(key)", "it is \(value); expected \(meaning)")
            }
            return Int(value)
        }
        self.name = name
        interval = try integer("interval", 0...1_000_000_000, "0 (off) to 1000000000 steps")
        start = try integer("start", 0...1_000_000_000_000, "a step, 0 or more")
        if reader.values.integer("probe.\(name).end") != nil {
            end = try integer("end", 0...1_000_000_000_000, "a step, 0 or more")
        }
        let available = Int64(reader.facts.cameras ?? 64)
        let wanted = try integer("cameras", 0...available, "0 (all) to the model's \(available)")
        cameras = wanted == reader.facts.cameras ? 0 : wanted
        template = try reader.code("probe.\(name).template", as: ProbeTemplate.self) ?? .question
        shares = [:]
        for kind in Self.perturbations {
            guard let share = reader.values.double("probe.\(name).share.\(kind)") else { continue }
            guard share.isFinite, share >= 0 else {
                throw reader.refusal(of: "probe.\(name).share.\(kind)", "it is \(share); expected 0 or more")
            }
            shares[kind] = share
        }
        taps = try TapRequest.planned(
            reader, of: "probe.\(name).", withoutQueries: "a probe's prompts do not have")
        let active = Set(taps.map(\.name))
        otherTaps = reader.composition.provided(matching: "probe.\(name).tap.{tap}.layer", capture: "tap")
            .filter { !active.contains($0) }
        func reads(_ key: String) -> Bool { reader.composition.reads("probe.\(name).\(key)", at: .preBackward) }
        let readsAnchorLogits = reads("anchor_logits")
        readsLogits = reads("logits") || readsAnchorLogits
        readsAnchor = readsAnchorLogits || taps.contains { reads("anchor.\($0.name)") }
        prompts = interval > 0 ? try reader.texts("probe.\(name).prompts") : []
        if interval > 0, prompts.isEmpty {
            throw reader.refusal(
                of: "probe.\(name).interval",
                "the probe has no prompts: give probe.\(name).prompts at plan, with a text in at least one row")
        }
    }
}

extension TapRequest {
    fileprivate static func orphan(_ probe: String, _ reader: PlanReader) -> PluginFailure {
        reader.refusal(
            of: "probe.\(probe).prompts",
            "probe \(probe) has no interval: give probe.\(probe).interval at plan, the steps from one run to the next")
    }
}
