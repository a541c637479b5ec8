import GradientMath
public import PluginAPI
import PluginKit

/// Elastic weight consolidation: parameters that the initial model's answers depend on are held near their start.
///
///     fisher   F_c = E_x E_(y ~ p) (d log p(y|x) / dp_c)^2         mas   F_c = E |d |z(x)|^2 / dp_c|
///     d <- d + strength * F (p - p0)
///
/// Importance is gathered in the first `steps` steps, in which nothing trains: from questions of its own about the
/// batch's images, or from the squared gradients of another plugin's objective. `d` is the combined gradient so far.
final class EWC: Plugin {
    enum Importance: String, SettingChoice { case fisher, mas, given }

    static let description = PluginDescription(
        id: "craft.EWC", version: "1.0.0",
        summary: "Holds parameters near their start, each by how much the initial model's answers depend on it.",
        formula: """
            fisher   F_c = E_x E_(y ~ p) (d log p(y|x) / dp_c)^2
            mas      F_c = E | d |z(x)|^2 / dp_c |
            given    F_c = E (dL/dp_c)^2
            d <- d + strength * F (p - p0)
            """,
        reference: """
            Kirkpatrick et al., Overcoming Catastrophic Forgetting in Neural Networks (arXiv 1612.00796); Aljundi et al., Memory \
            Aware Synapses (arXiv 1711.09601).
            """, needsABIMinor: 2)

    static let importance = Parameter(
        "importance", default: Importance.fisher, "What importance is: Fisher's, MAS's, or of the source's gradients.")
    static let objective = Parameter("objective", default: "importance", "Name of the objective that gathers it.")
    static let source = Parameter(
        "source", default: "importance", "The objective whose gradients are gathered; its own unless importance=given.")
    static let steps = Parameter("steps", default: 16, minimum: 1, maximum: 1e9, "Steps that gather it.")
    static let strength = Parameter("strength", default: 100.0, minimum: 0, "How strongly parameters are held.")
    static let prompts = Parameter(
        "prompts", default: "general", "Questions to ask, separated by '|'; general is a list of eight.")
    static let template = Parameter(
        "template", default: ProbeTemplate.question, "Prompt of the model that goes around a question.")
    static let seed = Parameter("seed", default: 0, "Added to the run's seed for the answers that are drawn.")
    static var parameters: [any AnyParameter] {
        [importance, objective, source, steps, strength, prompts, template, seed]
    }

    private struct Plan: HookValues {
        @Output("weight.{objective}") var weight: Double
        @Output("probe.{instance}.interval") var interval: Int
        @Output("probe.{instance}.end") var end: Int
        @Output("probe.{instance}.prompts[64,256]") var prompts: MutableArrayView<Int64>
        @Output("probe.{instance}.template") var template: ProbeTemplate
    }

    private struct Objective: HookValues {
        @Input("probe.{instance}.logits[b,v]") var logits: ArrayView<Float>?
        @Input("step") var step: Int
        @Input("seed") var seed: Int
        @Output("cotangent.{objective}.probe.{instance}.logits[b,v]") var cotangent: MutableArrayView<Float>?
        @Output("loss.{objective}") var loss: Double?
    }

    private struct Combine: HookValues {
        @Input("grads[m,n]") var gradients: ArrayView<Float>
        @Input("parameters[n]") var parameters: ArrayView<Float>
        @Input("initial[n]") var initial: ArrayView<Float>
        @Input("combined[n]") var combined: ArrayView<Float>
        @Input("rate[k]") var rates: ArrayView<Double>
        @Input("index.{source}") var source: Int?
        @Output("combined[n]") var result: MutableArrayView<Float>
        @Output("rate[k]") var nextRates: MutableArrayView<Double>
        @Output("metric.{objective}_penalty") var penalty: Double?
    }

    static let hooks = [
        Hook<EWC>(.plan, values: Plan()) { plugin, call in
            // It is not followed: its gradient is only looked at.
            call.weight = 0
            call.interval = plugin.importance == .given ? 0 : 1
            call.end = plugin.steps
            try call.prompts.write(plugin.prompts)
            call.template = plugin.template
        },
        Hook<EWC>(.preBackward, values: Objective()) { plugin, call in
            guard let logits = call.logits, let cotangent = call.cotangent else { return }
            cotangent.elements.update(repeating: 0)
            guard plugin.seen < plugin.steps, plugin.importance != .given else { return }
            let answers = Answers(logits)
            if plugin.importance == .mas {
                call.loss = try answers.squaredLength(into: cotangent)
            } else {
                var draws = RandomDraws(seed: call.seed &+ plugin.seed, place: [call.step, plugin.samples])
                call.loss = try answers.drawnLikelihood(&draws, into: cotangent)
            }
            plugin.samples += answers.count
        },
        Hook<EWC>(.gradientCombine, values: Combine()) { plugin, call in
            let (rates, next) = (call.rates, call.nextRates)
            next.assign(rates)
            call.result.assign(call.combined)
            if plugin.seen < plugin.steps {
                next.elements.update(repeating: 0)
                defer { plugin.samples = 0 }
                // A step without the source's gradient waits for one that has it.
                guard let source = call.source else { return }
                try plugin.gather(call.gradients, row: source)
            } else {
                call.penalty = try plugin.hold(call.parameters, call.initial, adding: call.result)
            }
        },
    ]

    private static let general = [
        "What is in the picture?", "What color is it?", "What form does it have?", "Is it round?",
        "How many objects are there?", "Where is the object?", "Is there a robot arm?",
        "Is it larger than the other one?",
    ]
    private let importance: Importance
    private let steps: Int
    private let strength: Double
    private let prompts: [String]
    private let template: ProbeTemplate
    private let seed: Int
    /// Steps that gathered.
    private var seen = 0
    /// Samples of this step so far.
    private var samples = 0
    /// `[n]`: sum over the steps; empty before the first one.
    private var sums: [Float] = []

    init(settings: Settings) throws {
        importance = try settings(Self.importance)
        steps = try settings(Self.steps)
        strength = try settings(Self.strength)
        let text = try settings(Self.prompts)
        prompts = text == "general" ? Self.general : text.split(separator: "|").map(String.init)
        template = try settings(Self.template)
        seed = try settings(Self.seed)
        let (objective, source) = (try settings(Self.objective), try settings(Self.source))
        guard (importance == .given) == (objective != source) else {
            throw PluginError(
                importance == .given
                    ? "importance=given needs the source of another plugin, and '\(source)' is its own objective"
                    : "objective is '\(objective)' and source '\(source)': they differ only with importance=given")
        }
        guard prompts.count <= 64 else { throw PluginError("prompts has \(prompts.count) texts; there may be 64") }
    }

    /// Adds what a step says of each parameter's importance.
    private func gather(_ gradients: ArrayView<Float>, row: Int) throws {
        let n = gradients.shape[1]
        if sums.isEmpty { sums = [Float](repeating: 0, count: n) }
        try check(n)
        let values = gradients.elements[row * n..<(row + 1) * n]
        // Gradients of drawn answers have mean 0 and are independent: the square of their mean over N samples is an Nth of
        // the mean square.
        let factor = importance == .fisher ? Float(max(samples, 1)) : 1
        sums.withUnsafeMutableBufferPointer { sums in
            for (column, value) in values.enumerated() {
                sums[column] += importance == .mas ? abs(value) : factor * value * value
            }
        }
        guard sums.allSatisfy(\.isFinite) else {
            throw PluginError("the importance is not finite: the gradients are too large")
        }
        seen += 1
    }

    /// Adds the penalty's gradient; returns the penalty.
    private func hold(
        _ parameters: ArrayView<Float>, _ initial: ArrayView<Float>, adding result: MutableArrayView<Float>
    ) throws -> Double {
        try check(parameters.count)
        let (now, start, target) = (parameters.elements, initial.elements, result.elements)
        let factor = Float(strength / Double(seen))
        var penalty = 0.0
        for column in 0..<now.count {
            let distance = now[column] - start[column]
            let force = factor * sums[column] * distance
            target[column] += force
            penalty += 0.5 * Double(force) * Double(distance)
        }
        guard penalty.isFinite else { throw PluginError("the penalty is \(penalty): use a smaller strength") }
        return penalty
    }

    private func check(_ n: Int) throws {
        guard sums.count == n else {
            throw PluginError(
                "the importance is of \(sums.count) parameters, this run has \(n): it was gathered with another model")
        }
    }

    // MARK: - State: the steps and the importance

    static let stateVersion: UInt32 = 1

    func save(to output: inout StateWriter) throws {
        try output.write(Int64(seen))
        try output.write(sums)
    }

    func load(from input: inout StateReader, version: UInt32) throws {
        let count = try input.integer()
        let values = try input.floats(limit: 1 << 34)
        guard (0...1_000_000_000).contains(count), values.allSatisfy({ $0 >= 0 && $0.isFinite }) else {
            throw PluginError("the saved state is damaged: \(count) steps, or an importance below 0")
        }
        (seen, sums, samples) = (Int(count), values, 0)
    }

    func reset() { (seen, sums, samples) = (0, [], 0) }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: EWC.self) }
