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

    struct Cap: HookValues {
        @Input("gram[k,m,m]") var gram: ArrayView<Double>
        @Input("weights[k,m]") var weights: ArrayView<Double>
        @Output("weights[k,m]") var capped: MutableArrayView<Double>
    }

    static let hooks = [
        Hook<ExampleRule>(.gradientCombine, values: Cap()) { rule, call in
            let (gram, weights) = (call.gram, call.weights)
            for block in 0..<weights.shape[0] {
                let norms = (0..<weights.shape[1]).map { abs(weights[block, $0]) * gram[block, $0, $0].squareRoot() }
                if let i = norms.firstIndex(where: { !$0.isFinite }) {
                    throw PluginError("block \(block), objective \(i): the norm is \(norms[i])")
                }
                let limit = rule.ratio * (norms.filter { $0 > 0 }.min() ?? .infinity)
                for (i, norm) in norms.enumerated() {
                    call.capped[block, i] = weights[block, i] * (norm > limit ? limit / norm : 1)
                }
            }
        }
    ]

    private let ratio: Double
    init(settings: Settings) throws { ratio = try settings(Self.ratio) }
}

@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: ExampleRule.self) }
