public import PluginAPI
import PluginKit

/// Weight decay towards the starting point instead of zero, with a strength for every parameter group.
///
///     penalty    L = sum_b a_b / 2 |p_b - p0_b|^2,   dL/dp_b = a_b (p_b - p0_b)       an objective like any other
///     pull       p_b <- p_b + min(lr a_b, 1) (p0_b - p_b)                             after the optimizer's update
///
/// The penalty's gradient goes through AdamW with all others, and is in the Gram matrix; the pull is to it what AdamW's own
/// decay is to an L2 term.
final class L2SP: Plugin {
    enum Form: String, SettingChoice { case penalty, pull }

    static let description = PluginDescription(
        id: "craft.L2SP", version: "1.0.0",
        summary: "Pulls the parameters to where they started.",
        formula: """
            penalty    L = sum_b a_b / 2 |p_b - p0_b|^2        dL/dp_b = a_b (p_b - p0_b)
            pull       p_b <- p_b + min(lr a_b, 1) (p0_b - p_b)        after the update
            """,
        reference: """
            Li et al., Explicit Inductive Bias for Transfer Learning with Convolutional Networks (arXiv 1802.01483); the pull \
            after Loshchilov and Hutter, Decoupled Weight Decay Regularization (arXiv 1711.05101).
            """, needsABIMinor: 2)

    static let objective = Parameter("objective", default: "l2sp", "Name of the objective.")
    static let form = Parameter("form", default: Form.penalty, "An objective, or a pull beside the optimizer.")
    static let weight = Parameter(
        "weight", default: 1.0, minimum: 0, "Multiplier of the objective when no rule adapts it; the pull has none.")
    static let vision = strength("vision", 0.1, "Strength in the vision towers.")
    static let projector = strength("projector", 0.1, "Strength in the projector.")
    static let decoder = strength("decoder", 0.1, "Strength in the language model.")
    static let queries = strength("queries", 0, "Strength in the action queries, which start at random.")
    static let policy = strength("policy", 0, "Strength in the action head, which starts at random.")
    static let proprio = strength("proprio", 0, "Strength in the proprioception projector, which starts at random.")
    static var parameters: [any AnyParameter] {
        [objective, form, weight, vision, projector, decoder, queries, policy, proprio]
    }

    private static func strength(_ name: StaticString, _ value: Double, _ doc: StaticString) -> Parameter<Double> {
        Parameter(name, default: value, minimum: 0, maximum: 1e9, doc)
    }

    private struct Penalty: HookValues {
        @Input("drift2[k]") var drift: ArrayView<Double>
        @Output("loss.{objective}") var loss: Double?
        @Output("cotangent.{objective}.drift[k]") var cotangent: MutableArrayView<Double>
        @Output("metric.{objective}_distance") var distance: Double
    }

    private struct Pull: HookValues {
        @Input("lr") var rate: Double
        @Input("pull[k]") var shares: ArrayView<Double>
        @Output("pull[k]") var result: MutableArrayView<Double>
    }

    static let hooks = [
        Hook<L2SP>(.plan, Output<Double>("weight.{objective}")) { plugin, weight in weight.value = plugin.weight },
        Hook<L2SP>(.plan, Input<ArrayView<Int64>>("block_group[k]")) { plugin, groups in
            plugin.strengths = try groups.elements.map { try plugin.strength(ofGroup: $0) }
        },
        Hook<L2SP>(.preBackward, values: Penalty()) { plugin, call in
            let (drift, cotangent) = (call.drift, call.cotangent)
            try plugin.check(blocks: drift.count)
            guard drift.elements.allSatisfy({ $0 >= 0 && $0.isFinite }) else {
                throw PluginError("drift2 has a value that is not a square: \(Array(drift.elements))")
            }
            var loss = 0.0
            for (block, strength) in plugin.strengths.enumerated() {
                loss += strength / 2 * drift[block]
                cotangent[block] = plugin.form == .penalty ? strength : 0
            }
            call.distance = drift.elements.reduce(0, +).squareRoot()
            if plugin.form == .penalty { call.loss = loss }
        },
        Hook<L2SP>(.postStep, values: Pull()) { plugin, call in
            let (shares, result, rate) = (call.shares, call.result, call.rate)
            result.assign(shares)
            guard plugin.form == .pull else { return }
            try plugin.check(blocks: shares.count)
            for (block, strength) in plugin.strengths.enumerated() where strength > 0 {
                // What an earlier pull leaves of the way.
                result[block] = 1 - (1 - shares[block]) * (1 - min(rate * strength, 1))
            }
        },
    ]

    private let form: Form
    private let weight: Double
    /// By code of the group.
    private let groupStrengths: [Double]
    /// [k]: as planned.
    private var strengths: [Double] = []

    init(settings: Settings) throws {
        form = try settings(Self.form)
        weight = try settings(Self.weight)
        groupStrengths = try [Self.vision, Self.projector, Self.decoder, Self.queries, Self.policy, Self.proprio]
            .map { try settings($0) }
    }

    private func strength(ofGroup code: Int64) throws -> Double {
        if let index = Int(exactly: code), groupStrengths.indices.contains(index) { return groupStrengths[index] }
        guard Set(groupStrengths).count == 1 else {
            throw PluginError(
                "a block has parameters of several groups, whose strengths differ: use a scope of tensor, layer or module, or "
                    + "one strength for all groups")
        }
        return groupStrengths[0]
    }

    private func check(blocks: Int) throws {
        guard strengths.count == blocks else {
            throw PluginError("there are \(blocks) blocks, and the plan had \(strengths.count)")
        }
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: L2SP.self) }
