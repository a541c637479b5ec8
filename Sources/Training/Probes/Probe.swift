internal import Models
internal import PluginRuntime

/// A further forward pass that a plugin asked for in `plan`: images of the batch, perturbed or not, with the plugin's own
/// prompts, every k-th step. It needs no labels.
struct Probe {
    /// As the plugin calls it.
    let name: String
    /// Steps from one run to the next; 0 never runs.
    let interval: Int
    /// First step in which it runs.
    let start: Int
    /// Token ids of every prompt.
    let prompts: [[Int32]]
    /// Images of a sample: so many of its cameras, drawn for each; 0: all.
    let cameras: Int
    let mixture: PerturbationMixture
    /// Under the names that the probe knows them by.
    let taps: [FeatureTap]
    /// Whether hooks read logits, and what the initial weights make of the same input.
    let readsLogits: Bool
    let readsAnchor: Bool
    /// Taps that are turned off or that no hook reads, whose values an absent probe withholds too.
    private let otherTaps: [String]

    /// Whether it runs in step `step`.
    func isDue(_ step: Int) -> Bool { interval > 0 && step >= start && (step - start) % interval == 0 }

    func name(_ value: String) -> String { "probe.\(name).\(value)" }

    /// Names that have no value in steps in which the probe does not run.
    var absentNames: [String] {
        let tapNames = taps.map(\.name) + (interval == 0 ? otherTaps : [])
        return tapNames.flatMap { [name("feature.\($0)"), name("anchor.\($0)"), name("mask.\($0)")] }
            + [name("logits"), name("anchor_logits")]
    }
}

/// Turns a probe's texts into token ids.
typealias PromptEncoding = (String, ProbeTemplate) throws -> [Int32]

extension Probe {
    /// The probes that `plan` hooks have asked for.
    ///
    /// - Parameters:
    ///   - states: hidden states of the model.
    ///   - cameras: of the model.
    static func planned(
        _ values: ValueStore, composition: Composition, states: Int, cameras: Int, encode: PromptEncoding
    ) throws -> [Probe] {
        var names = composition.provided(matching: "probe.{probe}.interval", capture: "probe")
        let others = ["probe.{probe}.prompts", "probe.{probe}.tap.{tap}.layer"].flatMap {
            composition.provided(matching: $0, capture: "probe")
        }
        if let orphan = others.first(where: { !names.contains($0) }) {
            throw TrainingError(
                "probe \(orphan) has no interval: let the plugin that asks for it give probe.\(orphan).interval at plan, "
                    + "the steps from one run to the next")
        }
        // A probe that no hook reads would be computed for nothing.
        names = names.filter { name in
            composition.resolvedReads(at: .preBackward).contains { $0.hasPrefix("probe.\(name).") }
        }
        return try names.map {
            try Probe($0, values, composition: composition, states: states, cameras: cameras, encode: encode)
        }
    }

    private init(
        _ name: String, _ values: ValueStore, composition: Composition, states: Int, cameras: Int,
        encode: PromptEncoding
    ) throws {
        func integer(_ key: String, _ range: ClosedRange<Int64>, default fallback: Int64, _ meaning: String) throws
            -> Int
        {
            let value = values.integer("probe.\(name).\(key)") ?? fallback
            guard range.contains(value) else {
                throw TrainingError("probe.\(name).\(key) is \(value); expected \(meaning)")
            }
            return Int(value)
        }
        self.name = name
        interval = try integer("interval", 0...1_000_000_000, default: 0, "0 (off) to 1000000000 steps")
        start = try integer("start", 0...1_000_000_000_000, default: 0, "a step, 0 or more")
        let wanted = try integer("cameras", 0...Int64(cameras), default: 0, "0 (all) to the model's \(cameras)")
        self.cameras = wanted == cameras ? 0 : wanted
        let template: ProbeTemplate = try values.code("probe.\(name).template") ?? .question
        mixture = try PerturbationMixture(probe: name, values)

        taps = try FeatureTap.planned(values, composition: composition, states: states, probe: name)
        let active = Set(taps.map(\.name))
        otherTaps = composition.provided(matching: "probe.\(name).tap.{tap}.layer", capture: "tap")
            .filter { !active.contains($0) }
        func reads(_ key: String) -> Bool { composition.reads("probe.\(name).\(key)", at: .preBackward) }
        let readsAnchorLogits = reads("anchor_logits")
        readsLogits = reads("logits") || readsAnchorLogits
        readsAnchor = readsAnchorLogits || taps.contains { reads("anchor.\($0.name)") }
        guard interval > 0 else {
            prompts = []
            return
        }
        prompts = try Self.texts(values.array("probe.\(name).prompts"), of: name).map { try encode($0, template) }
        guard !prompts.isEmpty else {
            throw TrainingError(
                "probe \(name) has no prompts: give probe.\(name).prompts at plan, with a text in at least one row")
        }
    }

    /// The texts in the rows of an array of bytes.
    private static func texts(_ array: ArrayView?, of name: String) throws -> [String] {
        guard let array, array.element == .i64, array.shape.count == 2 else { return [] }
        let width = array.shape[1]
        return try (0..<array.shape[0]).compactMap { row in
            let codes = array.integers[row * width..<(row + 1) * width]
            let bytes = codes.prefix { $0 != 0 }
            guard !bytes.isEmpty else { return nil }
            let isEndedByZeros = codes[bytes.endIndex...].allSatisfy { $0 == 0 }
            guard isEndedByZeros, bytes.allSatisfy({ (1...255).contains($0) }),
                let text = String(validating: bytes.map { UInt8($0) }, as: UTF8.self)
            else {
                throw TrainingError(
                    "row \(row) of probe.\(name).prompts is not a text; expected its UTF-8 bytes, one an element, and "
                        + "zeros after them")
            }
            return text
        }
    }
}
