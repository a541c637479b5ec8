import GradientMath
public import PluginAPI
import PluginKit

/// Random loss weighting: weights drawn anew in every step, the control that any weighting has to beat.
///
///     factor = softmax(x),      x_i of the standard normal distribution
///
/// A draw depends on seed, instance, step and objective alone. The factors multiply the incoming weights.
final class RLW: Plugin {
    static let description = PluginDescription(
        id: "craft.RLW", version: "1.0.0",
        summary: "Weighs objectives at random, anew in every step.",
        formula: """
            factor = softmax(x)        x_i of the standard normal distribution
            """,
        reference: "Lin et al., Reasonable Effectiveness of Random Weighting (arXiv 2111.10603).",
        needsABIMinor: 1)

    static let seed = Parameter("seed", default: 0, "Added to the run's seed.")
    static var parameters: [any AnyParameter] { [seed] }

    static let hooks = [
        Hook<RLW>(
            .gradientCombine, Input<ArrayView<Double>>("weights[k,m]"), Input<ArrayView<Int64>?>("rows[m]"),
            Input<Int?>("objectives"), Input<Int?>("step"), Input<Int?>("seed"),
            Output<MutableArrayView<Double>>("weights[k,m]")
        ) { strategy, weights, rows, objectives, step, seed, combined in
            let rows = try ObjectiveRows(rows, of: objectives, count: weights.shape[1])
            let shares = softmax(
                rows.numbers.map { number in
                    var draws = RandomDraws(
                        seed: (seed ?? 0) &+ strategy.seed, place: [strategy.instance, step ?? 0, number])
                    return draws.normal()
                })
            var factors = [Double?](repeating: nil, count: rows.objectives)
            for (row, number) in rows.numbers.enumerated() { factors[number] = shares[row] }
            try rows.scale(weights, by: factors, into: combined)
        }
    ]

    private let seed: Int
    /// A number for the instance's name.
    private let instance: Int

    init(settings: Settings) throws {
        seed = try settings(Self.seed)
        instance = RandomDraws.number(of: settings.instance)
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: RLW.self) }
