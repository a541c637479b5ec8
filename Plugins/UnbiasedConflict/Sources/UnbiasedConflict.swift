public import PluginAPI
import PluginKit

/// Tells conflict from noise: the conflict ratio and the cosine of two gradients, from inner products of different samples.
///
///     cos_cross = sum_b (C_ac + C_ca) / 2 / sqrt(sum_b C_aa * sum_b C_cc)        noise_i = 1 - sum_b C_ii / sum_b G_ii
///
/// `G` is `gram`, `C` `gram_cross`: a half of the step's micro-batches against the other, so that noise which they do not share
/// averages out. It changes nothing.
final class UnbiasedConflict: Plugin {
    static let description = PluginDescription(
        id: "craft.UnbiasedConflict", version: "1.0.0",
        summary: "Measures the conflict of two objectives without the bias of noise that their gradients share.",
        formula: """
            cos_cross = sum_b (C_ac + C_ca) / 2 / sqrt(sum_b C_aa * sum_b C_cc)        C = gram_cross
            noise_i   = 1 - sum_b C_ii / sum_b G_ii                                    G = gram
            """,
        reference: """
            Double sampling as in Chen et al., Three-Way Trade-Off in Multi-Objective Learning (arXiv 2305.20057); the noise as \
            in McCandlish et al., An Empirical Model of Large-Batch Training (arXiv 1812.06162).
            """, needsABIMinor: 2)

    static let objective = Parameter("objective", default: "action", "The one objective.")
    static let constraint = Parameter("constraint", default: "retention", "The other one.")
    static let prefix = Parameter("prefix", default: "", "Put before the metrics' names, to tell two instances apart.")
    static var parameters: [any AnyParameter] { [objective, constraint, prefix] }

    private struct Values: HookValues {
        @Input("gram[k,m,m]") var gram: ArrayView<Double>
        @Input("gram_cross[k,m,m]") var cross: ArrayView<Double>
        @Input("index.{objective}") var action: Int?
        @Input("index.{constraint}") var constraint: Int?
        @Output("metric.{prefix}conflict_ratio_same") var ratio: Double?
        @Output("metric.{prefix}conflict_ratio_cross") var crossRatio: Double?
        @Output("metric.{prefix}conflict_ratio_both_halves") var agreedRatio: Double?
        @Output("metric.{prefix}cosine_same") var cosine: Double?
        @Output("metric.{prefix}cosine_cross") var crossCosine: Double?
        @Output("metric.{prefix}noise_{objective}") var actionNoise: Double?
        @Output("metric.{prefix}noise_{constraint}") var constraintNoise: Double?
    }

    static let hooks = [
        Hook<UnbiasedConflict>(.gradientCombine, values: Values()) { _, call in
            guard let a = call.action, let c = call.constraint else { return }
            let (gram, cross) = (call.gram, call.cross)
            guard gram.shape == cross.shape, (0..<gram.shape[1]).contains(a), (0..<gram.shape[1]).contains(c) else {
                throw PluginError("rows \(a) and \(c) of gram \(gram.shape) and gram_cross \(cross.shape)")
            }
            guard gram.elements.allSatisfy(\.isFinite), cross.elements.allSatisfy(\.isFinite) else {
                throw PluginError("gram or gram_cross has a value that is not finite: the gradients must be")
            }
            // Blocks that both objectives reach.
            let blocks = (0..<gram.shape[0]).filter { gram[$0, a, a] > 0 && gram[$0, c, c] > 0 }
            guard !blocks.isEmpty else { return }
            func sum(_ values: ArrayView<Double>, _ i: Int, _ j: Int) -> Double {
                blocks.reduce(0) { $0 + values[$1, i, j] }
            }
            func share(_ isMeant: (Int) -> Bool) -> Double {
                Double(blocks.count(where: isMeant)) / Double(blocks.count)
            }
            call.ratio = share { gram[$0, a, c] < 0 }
            call.crossRatio = share { cross[$0, a, c] + cross[$0, c, a] < 0 }
            call.agreedRatio = share { cross[$0, a, c] < 0 && cross[$0, c, a] < 0 }
            let lengths = (sum(gram, a, a), sum(gram, c, c))
            call.cosine = finite(sum(gram, a, c) / lengths.0.squareRoot() / lengths.1.squareRoot())
            let signals = (sum(cross, a, a), sum(cross, c, c))
            // Where noise is all there is an estimate of a squared length may be negative.
            if signals.0 > 0, signals.1 > 0 {
                let product = (sum(cross, a, c) + sum(cross, c, a)) / 2
                call.crossCosine = finite(product / signals.0.squareRoot() / signals.1.squareRoot())
            }
            call.actionNoise = finite(1 - signals.0 / lengths.0)
            call.constraintNoise = finite(1 - signals.1 / lengths.1)
        }
    ]

    init(settings: Settings) throws {
        guard try settings(Self.objective) != settings(Self.constraint) else {
            throw PluginError("objective and constraint are both '\(try settings(Self.objective))'")
        }
    }
}

private func finite(_ value: Double) -> Double? { value.isFinite ? value : nil }

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? {
    pluginTable(of: UnbiasedConflict.self)
}
