import GradientMath
public import PluginAPI
import PluginKit

/// Conflict-free direction: cosines with the gradients proportional to the weights, equal ones to begin with; as long as
/// the gradients' projections on it together.
///
///     u = U^+ w,      d = (sum_i <g_i, u / |u|>) u / |u|,       U: the gradients divided by their lengths
///
/// In weights of the gradients: `c = C^+ w` with the matrix `C` of cosines.
final class ConFIG: GramStrategy {
    static let description = PluginDescription(
        id: "craft.ConFIG", version: "1.0.0",
        summary: "Takes the direction whose cosines with all gradients are proportional to the weights.",
        formula: """
            u = U^+ w,       d = (sum_i <g_i, u / |u|>) u / |u|            U: the gradients divided by their lengths
            """,
        reference: """
            Liu et al., ConFIG: Towards Conflict-free Training of Physics Informed Neural Networks (arXiv \
            2408.11104).
            """)

    static var parameters: [any AnyParameter] { [BlockScope.parameter] }
    static let hooks = gramHooks

    let scope: BlockScope

    init(settings: Settings) throws { scope = try settings(BlockScope.parameter) }

    func weights(_ gram: Gram, _ incoming: [Double], block: Int) -> [Double] {
        let wanted = gram.rows.map { incoming[$0] }
        let zeros = incoming.map { _ in 0.0 }
        if let direction = gram.direction(withCosines: wanted) {
            // In units of the longest gradient's.
            let longest = gram.units.max() ?? 1
            var (square, total) = (DoubleDouble(0), DoubleDouble(0))
            for row in direction.indices {
                let share = DoubleDouble(gram.balanced[row, row]).squareRoot() * DoubleDouble(wanted[row])
                square += direction[row] * share
                total += share * DoubleDouble(gram.units[row] / longest)
            }
            guard square.high > 0 else { return incoming }
            let scale = total / square
            return gram.merging(
                zip(direction, gram.units).map { ($0 * scale).high * (longest / $1) }, into: zeros)
        }
        let unit = Gram(size: gram.rows.count) { gram.cosines[$0, $1] }
        let direction = unit.applySpectrum(to: wanted) { $0.map { 1 / $0 } }
        let products = gram.cosines.times(direction)
        let largest = wanted.reduce(0) { max($0, abs($1)) }
        // Nothing of what is wanted is within reach, as with two exactly opposed gradients.
        guard products.reduce(0, { max($0, abs($1)) }) > 0x1p-46 * largest else { return incoming }
        let length = zip(direction, products).reduce(0) { $0 + $1.0 * $1.1 }.squareRoot()
        let total = zip(gram.norms, products).reduce(0) { $0 + $1.0 * $1.1 } / length
        return gram.merging(
            gram.rows.indices.map { direction[$0] / length * total / gram.norms[$0] }, into: zeros)
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: ConFIG.self) }
