import GradientMath
public import PluginAPI
import PluginKit

/// Averaged gradient episodic memory: the sum of all other gradients, projected off the reference gradient when it
/// conflicts with it. The reference is only a constraint and is not followed.
///
///     g = sum_{i != ref} w_i g_i,       d = g - min(<g, g_ref>, 0) / |g_ref|^2 * g_ref
final class AGEM: GramStrategy {
    static let description = PluginDescription(
        id: "craft.AGEM", version: "1.0.0",
        summary: "Projects the gradient off a reference gradient it conflicts with; the reference is not followed.",
        formula: """
            g = sum_{i != ref} w_i g_i        d = g - min(<g, g_ref>, 0) / |g_ref|^2 * g_ref
            """,
        reference: "Chaudhry et al., Efficient Lifelong Learning with A-GEM (arXiv 1812.00420).")

    static let objective = Parameter("objective", default: "action", "The objective that is followed, with all others.")
    static let constraint = Parameter("constraint", default: "retention", "The objective of the reference gradient.")
    static var parameters: [any AnyParameter] { [objective, constraint, BlockScope.parameter] }

    private struct Values: HookValues {
        @Input("gram[k,m,m]") var gram: ArrayView<Double>
        @Input("weights[k,m]") var weights: ArrayView<Double>
        @Input("index.{objective}") var followed: Int?
        @Input("index.{constraint}") var reference: Int?
        @Output("weights[k,m]") var combined: MutableArrayView<Double>
    }

    static let hooks = [
        scopeHook,
        Hook<AGEM>(.gradientCombine, values: Values()) { strategy, call in
            let count = call.weights.shape[1]
            if let reference = call.reference, reference < 0 || reference >= count {
                throw PluginError("the reference is row \(reference), but there are \(count) objectives")
            }
            if let reference = call.reference, reference == call.followed {
                throw PluginError("the objective to follow and the reference are both row \(reference)")
            }
            strategy.reference = call.reference
            try strategy.combine(call.gram, call.weights, into: call.combined)
        },
    ]

    let scope: BlockScope
    private var reference: Int?

    init(settings: Settings) throws {
        scope = try settings(BlockScope.parameter)
        guard try settings(Self.objective) != settings(Self.constraint) else {
            throw PluginError("objective and constraint are both '\(try settings(Self.objective))'")
        }
    }

    func weights(_ gram: Gram, _ incoming: [Double], block: Int) -> [Double] {
        // Without the objective in the run there is nothing to protect.
        guard let reference else { return incoming }
        var result = incoming
        result[reference] = 0
        guard let position = gram.rows.firstIndex(of: reference) else { return result }
        var product = 0.0
        var size = 0.0
        for (other, row) in gram.rows.enumerated() where other != position {
            let term = incoming[row] * gram.norms[other]
            product += term * gram.cosines[other, position]
            size += abs(term)
        }
        if product < -cosineTolerance * size { result[reference] = -product / gram.norms[position] }
        return result
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: AGEM.self) }
