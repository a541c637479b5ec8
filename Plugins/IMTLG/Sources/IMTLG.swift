import GradientMath
public import PluginAPI
import PluginKit

/// Impartial multi-task learning on gradients: a direction with the same projection on every gradient's direction.
///
///     w = v / sum(v),      v = G^+ sqrt(diag G)
final class IMTLG: GramStrategy {
    static let description = PluginDescription(
        id: "craft.IMTLG", version: "1.0.0",
        summary: "Takes the direction whose projections on all gradients' directions are equal.",
        formula: """
            w = v / sum(v),       v = G^+ sqrt(diag G)
            """,
        reference: "Liu et al., Towards Impartial Multi-task Learning (ICLR 2021).")

    static var parameters: [any AnyParameter] { [BlockScope.parameter] }
    static let hooks = gramHooks

    let scope: BlockScope

    init(settings: Settings) throws { scope = try settings(BlockScope.parameter) }

    func weights(_ gram: Gram, _ incoming: [Double], block: Int) -> [Double] {
        let longest = gram.norms.max() ?? 1
        let v = gram.pseudoInverse(times: gram.norms.map { $0 / longest })
        let sum = v.reduce(0, +)
        // Weights that cancel cannot be normalised: there is no such direction.
        guard abs(sum) > 0x1p-46 * v.reduce(0, { $0 + abs($1) }) else { return incoming }
        return gram.merging(v.map { $0 / sum }, into: incoming.map { _ in 0 })
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: IMTLG.self) }
