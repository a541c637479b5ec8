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

    func weights(_ gram: Gram, _ incoming: [Double], block: Int) throws -> [Double] {
        let longest = gram.units.max() ?? 1
        let zeros = incoming.map { _ in 0.0 }
        if let direction = gram.direction(withCosines: gram.rows.map { _ in 1 }) {
            // The sum has twice the digits: it may be what little is left of large weights of both signs.
            let v = zip(direction, gram.units).map { $0 * DoubleDouble(longest / $1) }
            let sum = v.reduce(DoubleDouble(0), +)
            guard abs(sum.high) > 0x1p-90 * v.reduce(0, { $0 + abs($1.high) }) else {
                throw PluginError(
                    "the weights of block \(block) cancel, so that nothing scales them to the sum 1: use another scope, or "
                        + "ConFIG, which scales by the direction's length")
            }
            return gram.merging(v.map { ($0 / sum).high }, into: zeros)
        }
        let lengths = gram.norms.map { $0 / longest }
        let v = gram.applySpectrum(to: lengths) { $0.map { 1 / $0 } }
        // `G v` over the lengths.
        let reached = gram.cosines.times(zip(v, lengths).map { $0 * $1 })
        let sum = v.reduce(0, +)
        // Where nothing of what is wanted is within reach, as with two exactly opposed gradients, and where the weights
        // cancel, there is no such direction.
        guard reached.contains(where: { abs($0) > 0x1p-46 }),
            abs(sum) > 0x1p-46 * v.reduce(0, { $0 + abs($1) })
        else { return incoming }
        return gram.merging(v.map { $0 / sum }, into: zeros)
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: IMTLG.self) }
