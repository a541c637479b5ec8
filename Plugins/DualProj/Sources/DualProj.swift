import GradientMath
public import PluginAPI
import PluginKit

/// Dual-cone projection, the rule of GEM: the nearest vector to the weighted sum that conflicts with no gradient.
///
///     d = argmin_d |d - sum_i u_i g_i|^2    subject to    <g_j, d> >= 0 for all j
final class DualProj: GramStrategy {
    static let description = PluginDescription(
        id: "craft.DualProj", version: "1.0.0",
        summary: "Projects the weighted sum to the nearest vector that conflicts with no gradient.",
        formula: """
            d = argmin_d |d - sum_i u_i g_i|^2    subject to    <g_j, d> >= 0 for all j
            """,
        reference: "Lopez-Paz and Ranzato, Gradient Episodic Memory (arXiv 1706.08840).")

    static let preference = Parameter(
        "preference", default: Preference.mean, "What u is: the incoming weights, or these over their sum.")
    static var parameters: [any AnyParameter] { [preference, BlockScope.parameter] }
    static let hooks = gramHooks

    let scope: BlockScope
    private let preference: Preference

    init(settings: Settings) throws {
        scope = try settings(BlockScope.parameter)
        preference = try settings(Self.preference)
    }

    func weights(_ gram: Gram, _ incoming: [Double], block: Int) throws -> [Double] {
        let preferred = preference.vector(incoming)
        let added = try gram.dualConeCorrection(gram.rows.map { preferred[$0] })
        return gram.merging(gram.rows.indices.map { preferred[gram.rows[$0]] + added[$0] }, into: preferred)
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: DualProj.self) }
