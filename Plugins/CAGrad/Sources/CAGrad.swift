import GradientMath
public import PluginAPI
import PluginKit

/// Conflict-averse descent: near the mean gradient, the step whose worst objective improves most.
///
///     max_d  min_i <g_i, d>     subject to    |d - g_0| <= c |g_0|,      g_0 = sum_i u_i g_i
///
/// With `c >= 1` no objective gets worse to first order.
final class CAGrad: GramStrategy {
    static let description = PluginDescription(
        id: "craft.CAGrad", version: "1.0.0",
        summary: "Finds, near the mean gradient, the step whose worst objective improves most.",
        formula: """
            max_d  min_i <g_i, d>     subject to    |d - g_0| <= c |g_0|,       g_0 = sum_i u_i g_i
            """,
        reference: "Liu et al., Conflict-Averse Gradient Descent (arXiv 2110.14048).")

    static let radius = Parameter(
        "c", default: 0.5, minimum: 0, "Radius of the search around the mean gradient, in its length.")
    static let preference = Parameter(
        "preference", default: Preference.mean,
        "What g_0 is the sum with: the incoming weights, or these over their sum.")
    static var parameters: [any AnyParameter] { [radius, preference, BlockScope.parameter] }
    static let hooks = gramHooks

    let scope: BlockScope
    private let radius: Double
    private let preference: Preference

    init(settings: Settings) throws {
        scope = try settings(BlockScope.parameter)
        radius = try settings(Self.radius)
        preference = try settings(Self.preference)
        guard radius.isFinite else { throw PluginError("c must be finite") }
    }

    func weights(_ gram: Gram, _ incoming: [Double], block: Int) throws -> [Double] {
        let preferred = preference.vector(incoming)
        let length = gram.squaredNorm(preferred).squareRoot()
        let largest = gram.rows.indices.reduce(0) { max($0, abs(preferred[gram.rows[$1]] * gram.norms[$1])) }
        // A mean gradient of zero leaves nothing to search around.
        guard radius > 0, length > 0x1p-46 * largest else { return preferred }
        let added = try gram.conflictAverseStep(from: gram.rows.map { preferred[$0] }, radius: radius)
        return gram.merging(
            gram.rows.indices.map { preferred[gram.rows[$0]] + added[$0] }, into: preferred)
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: CAGrad.self) }
