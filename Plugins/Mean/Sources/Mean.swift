import GradientMath
public import PluginAPI
import PluginKit

/// The mean of the gradients, whatever the multipliers say: `d = 1/m sum_i g_i`.
final class Mean: GramStrategy {
    static let description = PluginDescription(
        id: "craft.Mean", version: "1.0.0",
        summary: "Averages the objectives' gradients.",
        formula: """
            d = 1/m sum_i g_i
            """,
        reference: "Linear scalarisation; `Mean` in TorchJD.")

    static var parameters: [any AnyParameter] { [BlockScope.parameter] }
    static let hooks = gramHooks

    let scope: BlockScope

    init(settings: Settings) throws { scope = try settings(BlockScope.parameter) }

    func weights(_ gram: Gram, _ incoming: [Double], block: Int) -> [Double] {
        incoming.map { _ in 1 / Double(incoming.count) }
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: Mean.self) }
