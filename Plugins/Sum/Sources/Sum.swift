import GradientMath
public import PluginAPI
import PluginKit

/// Every gradient once, whatever the multipliers say: `d = sum_i g_i`.
final class Sum: GramStrategy {
    static let description = PluginDescription(
        id: "craft.Sum", version: "1.0.0",
        summary: "Adds the objectives' gradients, each with the weight 1.",
        formula: """
            d = sum_i g_i
            """,
        reference: "Linear scalarisation; `Sum` in TorchJD.")

    static var parameters: [any AnyParameter] { [BlockScope.parameter] }
    static let hooks = gramHooks

    let scope: BlockScope

    init(settings: Settings) throws { scope = try settings(BlockScope.parameter) }

    func weights(_ gram: Gram, _ incoming: [Double], block: Int) -> [Double] { incoming.map { _ in 1 } }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: Sum.self) }
