import GradientMath
public import PluginAPI
import PluginKit

/// The geometric mean of the losses: every objective is weighed by one over its loss.
///
///     min  f = (prod_i L_i)^(1/m)
///     factor_i = f / (m L_i)
///
/// A loss of zero takes no part: its weight is left alone. The factors multiply the incoming weights.
final class GeometricMean: LossStrategy {
    static let description = PluginDescription(
        id: "craft.GeometricMean", version: "1.0.0",
        summary: "Descends the geometric mean of the losses.",
        formula: """
            min  f = (prod_i L_i)^(1/m)
            factor_i = f / (m L_i)
            """,
        reference:
            "Chennupati et al., MultiNet++: Multi-Stream Feature Aggregation and Geometric Loss Strategy (CVPRW 2019).",
        needsABIMinor: 1)

    static let hooks = [lossHook]

    init(settings: Settings) throws {}

    func factors(_ losses: [Double?]) throws -> [Double?] {
        if let slot = losses.firstIndex(where: { ($0 ?? 0) < 0 }) {
            throw PluginError(
                "the loss of objective \(slot) is \(losses[slot] ?? 0): a geometric mean needs losses that are not negative"
            )
        }
        let logarithms = losses.map { loss in loss.flatMap { $0 > 0 ? logarithm($0) : nil } }
        let count = Double(logarithms.count { $0 != nil })
        let mean = logarithms.reduce(0) { $0 + ($1 ?? 0) } / count
        return logarithms.map { own in own.map { exponential(mean - $0) / count } }
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? {
    pluginTable(of: GeometricMean.self)
}
