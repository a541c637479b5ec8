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
        // Coefficients of unit gradients.
        let center = gram.rows.indices.map { preferred[gram.rows[$0]] * gram.norms[$0] }
        let largest = center.reduce(0) { max($0, abs($1)) }
        let length = max(gram.cosines.quadratic(center), 0).squareRoot()
        // A mean gradient of zero leaves nothing to search around.
        guard radius > 0, length > 0x1p-46 * largest else { return preferred }
        let added = try step(gram, center.map { $0 / length }).map { $0 * length }
        return gram.merging(
            gram.rows.indices.map { preferred[gram.rows[$0]] + added[$0] / gram.norms[$0] }, into: preferred)
    }

    /// What is added to `center`, both in unit gradients, `center` of length 1.
    ///
    /// Where the ball limits the step, `d = g_0 + sum_S z_i g_i` with `<g_i, d> = mu` on a support `S`, `<g_i, d> >= mu`
    /// off it and `|z| = c`: a linear system in `mu`, then a quadratic equation for it. Where it does not, the worst
    /// objective cannot improve at all, and the nearest step that makes none worse is taken.
    private func step(_ gram: Gram, _ center: [Double]) throws -> [Double] {
        let n = gram.rows.count
        let shortest = gram.norms.min() ?? 1
        let inverse = gram.norms.map { shortest / $0 }
        let products = gram.cosines.times(center)
        let found = try ActiveSet.best(among: Array(0..<n)) { support in
            guard !support.isEmpty,
                let a = LinearSystem.solve(gram.cosines, support: support, support.map { inverse[$0] }),
                let b = LinearSystem.solve(gram.cosines, support: support, support.map { products[$0] })
            else { return nil }
            func sum(_ x: [Double], _ y: [Double]) -> Double {
                support.indices.reduce(0) { $0 + x[$1] * y[support[$1]] }
            }
            let (aa, ab, bb) = (sum(a, inverse), sum(a, products), sum(b, products))
            let root = max(aa * radius * radius - max(aa * bb - ab * ab, 0), 0).squareRoot()
            let level = (ab + root) / aa
            var z = [Double](repeating: 0, count: n)
            for (position, row) in support.enumerated() { z[row] = level * a[position] - b[position] }
            let reached = gram.cosines.times(zip(center, z).map { $0 + $1 })
            var violation = abs(max(gram.cosines.quadratic(z), 0).squareRoot() - radius)
            for row in 0..<n { violation = max(violation, -z[row], level * inverse[row] - reached[row]) }
            return (z, violation / z.reduce(max(1, radius), max))
        }
        if let found, found.violation < 0x1p-30 { return found.solution }
        let correction = try gram.dualConeCorrection(center)
        // Where rounding decides which case this is, the step still stays in the ball.
        let length = max(gram.cosines.quadratic(correction), 0).squareRoot()
        return length > radius ? correction.map { $0 / length * radius } : correction
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: CAGrad.self) }
