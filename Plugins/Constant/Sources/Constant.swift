import GradientMath
public import PluginAPI
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
    private struct Values: HookValues {
        @Input("gram[k,m,m]") var gram: ArrayView<Double>
        @Input("weights[k,m]") var weights: ArrayView<Double>
        @Input("rows[m]") var rows: ArrayView<Int64>?
        @Input("objectives") var objectives: Int?
        @Output("weights[k,m]") var combined: MutableArrayView<Double>
    }

    static let hooks = [
        scopeHook,
        Hook<Constant>(.gradientCombine, values: Values()) { strategy, call in
            strategy.rows = try ObjectiveRows(call.rows, of: call.objectives, count: call.weights.shape[1])
            try strategy.combine(call.gram, call.weights, into: call.combined)
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

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: Constant.self) }
