public import PluginAPI
import PluginKit

/// Keeps one objective from drowning the others. In each block, where objective i contributes a gradient of norm
/// n_i = |w_i| |g_i| and n is the smallest n_i above zero:      w_i <- w_i * min(1, ratio * n / n_i)
final class ExampleRule: Plugin {
    static let description = PluginDescription(
        id: "org.example.ExampleRule", version: "1.0.0",
        summary: "Caps the ratio between the objectives' gradient norms.")

    static let ratio = Parameter(
        "ratio", default: 10.0, minimum: 1, "Largest ratio between the norms of two contributions.")
    static var parameters: [any AnyParameter] { [ratio] }

    static let hooks = [
        Hook<ExampleRule>(
            .gradientCombine, Input<ArrayView<Double>>("gram[k,m,m]"), Input<ArrayView<Double>>("weights[k,m]"),
            Output<MutableArrayView<Double>>("weights[k,m]")
        ) { rule, gram, weights, capped in
            let count = weights.shape[1]
            for block in 0..<weights.shape[0] {
                let rows = (0..<count).map { block * count + $0 }
                let norms = rows.enumerated().map { abs(weights[$1]) * gram[$1 * count + $0].squareRoot() }
                if let i = norms.firstIndex(where: { !$0.isFinite }) {
                    throw PluginError("block \(block), objective \(i): the norm is \(norms[i])")
                }
                let limit = rule.ratio * (norms.filter { $0 > 0 }.min() ?? .infinity)
                for (row, norm) in zip(rows, norms) { capped[row] = weights[row] * (norm > limit ? limit / norm : 1) }
            }
        }
    ]

    private let ratio: Double
    init(settings: Settings) throws { ratio = try settings(Self.ratio) }
}

@c @implementation
public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: ExampleRule.self) }
