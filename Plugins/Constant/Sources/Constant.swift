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
    private let fixed: [Double]
    private var rows: ObjectiveRows?

    init(settings: Settings) throws {
        scope = try settings(BlockScope.parameter)
        let text = try settings(Self.values)
        fixed = try text.split(separator: " ").map { item in
            guard let value = Double(String(item)), value.isFinite else {
                throw PluginError("weights='\(text)': '\(item)' is not a number; write numbers separated by spaces")
            }
            return value
        }
        guard !fixed.isEmpty else { throw PluginError("weights is empty: give one number, or one per objective") }
    }

    func weights(_ gram: Gram, _ incoming: [Double], block: Int) throws -> [Double] {
        if fixed.count == 1 { return incoming.map { _ in fixed[0] } }
        let (numbers, count) = (rows?.numbers ?? Array(incoming.indices), rows?.objectives ?? incoming.count)
        guard fixed.count == count else {
            throw PluginError("weights lists \(fixed.count) numbers, but there are \(count) objectives")
        }
        return numbers.map { fixed[$0] }
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: Constant.self) }
