import GradientMath
public import PluginAPI
import PluginKit

/// Multiple-gradient descent: the shortest vector in the convex hull of the gradients.
///
///     min  |sum_i a_i g_i|^2    subject to    a >= 0,  sum_i a_i = 1
final class MGDA: GramStrategy {
    static let description = PluginDescription(
        id: "craft.MGDA", version: "1.0.0",
        summary: "Takes the shortest vector in the gradients' convex hull.",
        formula: """
            min  |sum_i a_i g_i|^2     subject to     a >= 0,   sum_i a_i = 1
            """,
        reference: "Desideri, MGDA (2012); Sener and Koltun (arXiv 1810.04650).")

    static var parameters: [any AnyParameter] { [BlockScope.parameter] }
    static let hooks = gramHooks

    let scope: BlockScope

    init(settings: Settings) throws { scope = try settings(BlockScope.parameter) }

    func weights(_ gram: Gram, _ incoming: [Double], block: Int) throws -> [Double] {
        let zeros = gram.size - gram.rows.count
        guard zeros == 0 else {
            // A zero gradient is the shortest vector there is.
            return (0..<gram.size).map { gram.rows.contains($0) ? 0 : 1 / Double(zeros) }
        }
        return try gram.leastNormInHull()
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: MGDA.self) }
