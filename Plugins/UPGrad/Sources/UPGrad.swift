import GradientMath
public import PluginAPI
import PluginKit

/// Unconflicting projection: each gradient is replaced by the nearest vector that conflicts with none, and these are
/// added.
///
///     d = sum_i u_i p(g_i),     p(g) = argmin_d |d - g|^2   subject to   <g_j, d> >= 0 for all j
final class UPGrad: GramStrategy {
    static let description = PluginDescription(
        id: "craft.UPGrad", version: "1.0.0",
        summary: "Projects each gradient to the nearest vector that conflicts with none, then adds them.",
        formula: """
            d = sum_i u_i p(g_i),       p(g) = argmin_d |d - g|^2   subject to   <g_j, d> >= 0 for all j
            """,
        reference: "Quinton and Rey, Jacobian Descent for Multi-Objective Optimization (arXiv 2406.16232).")

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
        var result = preferred
        let projection = ConeProjection(gram)
        for (position, row) in gram.rows.enumerated() {
            try projection.correct(row: position)
            for (other, added) in projection.added.enumerated() where added != 0 {
                result[gram.rows[other]] += preferred[row] * added
            }
        }
        return result
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: UPGrad.self) }
