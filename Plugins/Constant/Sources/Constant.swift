import GradientMath
import PluginAPI
import PluginKit

/// Fixed weights: `d = sum_i w_i g_i`.
final class Constant: GramStrategy {
    static let description = PluginDescription(
        id: "craft.Constant", version: "1.0.0",
        summary: "Combines the objectives' gradients with fixed weights.",
        formula: """
            d = sum_i w_i g_i
            """,
        reference: "Linear scalarisation; `Constant` in TorchJD.",
        needsABIMinor: 1)

    static let values = Parameter(
        "weights", default: "1", "Weights in the order of the objectives, separated by spaces; one for all alike.")
    static var parameters: [any AnyParameter] { [values, BlockScope.parameter] }
    static let hooks = [
        scopeHook,
        Hook<Constant>(
            .gradientCombine, Input<ArrayView<Double>>("gram[k,m,m]"), Input<ArrayView<Double>>("weights[k,m]"),
            Input<ArrayView<Int64>?>("rows[m]"), Input<Int?>("objectives"),
            Output<MutableArrayView<Double>>("weights[k,m]")
        ) { strategy, gram, weights, rows, objectives, combined in
            strategy.rows = try ObjectiveRows(rows, of: objectives, count: weights.shape[1])
            try strategy.combine(gram, weights, into: combined)
        },
    ]

    let scope: BlockScope
    private let fixed: NumberList
    private var rows: ObjectiveRows?

    init(settings: Settings) throws {
        scope = try settings(BlockScope.parameter)
        fixed = try NumberList("weights", settings(Self.values))
    }

    func weights(_ gram: Gram, _ incoming: [Double], block: Int) throws -> [Double] {
        let all = try fixed.values(of: rows?.objectives ?? incoming.count)
        return (rows?.numbers ?? Array(incoming.indices)).map { all[$0] }
    }
}
