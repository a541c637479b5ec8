import GradientMath
public import PluginAPI
import PluginKit

/// Clipping by length, over all blocks together.
///
///     step         w <- w * min(1, max_norm / |sum_b,i w_bi g_bi|)
///     objective    w_i <- w_i * min(1, max_norm / |w_i g_i|)          each objective by itself
final class ClipGradNorm: Plugin {
    enum Kind: String, SettingChoice { case step, objective }

    static let description = PluginDescription(
        id: "craft.ClipGradNorm", version: "1.0.0",
        summary: "Shortens the combined gradient, or each objective's, to a largest length.",
        formula: """
            per=step         w   <- w   * min(1, max_norm / |sum_i w_i g_i|)
            per=objective    w_i <- w_i * min(1, max_norm / |w_i g_i|)             each objective by itself
            """,
        reference: "Pascanu et al., On the difficulty of training recurrent neural networks (arXiv 1211.5063).")

    static let maxNorm = Parameter("max_norm", default: 1.0, minimum: 0, "Largest length, over all parameters.")
    static let kind = Parameter("per", default: Kind.step, "What is clipped: the combined step, or each objective.")
    static let prefix = Parameter("prefix", default: "", "Put before the metric's name, to tell two instances apart.")
    static var parameters: [any AnyParameter] { [maxNorm, kind, prefix] }

    private struct Values: HookValues {
        @Input("gram[k,m,m]") var gram: ArrayView<Double>
        @Input("weights[k,m]") var weights: ArrayView<Double>
        @Output("weights[k,m]") var combined: MutableArrayView<Double>
        @Output("metric.{prefix}clip_factor") var factor: Double
    }

    static let hooks = [
        Hook<ClipGradNorm>(.gradientCombine, values: Values()) { clip, call in
            let (gram, weights, combined) = (call.gram, call.weights, call.combined)
            let size = weights.shape[1]
            var step = 0.0
            var objectives = [Double](repeating: 0, count: size)
            try combineBlocks(gram, weights, into: combined) { block, incoming, _ in
                step += block.squaredNorm(incoming)
                for (position, row) in block.rows.enumerated() {
                    let length = incoming[row] * block.norms[position]
                    objectives[row] += length * length
                }
                return incoming
            }
            let squares = clip.kind == .step ? [Double](repeating: step, count: size) : objectives
            let factors = squares.map { square in
                let length = square.squareRoot()
                return length > clip.maxNorm ? clip.maxNorm / length : 1
            }
            call.factor = factors.min() ?? 1
            guard squares.allSatisfy(\.isFinite) else {
                throw PluginError("a gradient is too long for its length to be computed")
            }
            for index in 0..<weights.count where factors[index % size] < 1 { combined[index] *= factors[index % size] }
        }
    ]

    private let maxNorm: Double
    private let kind: Kind

    init(settings: Settings) throws {
        maxNorm = try settings(Self.maxNorm)
        kind = try settings(Self.kind)
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? {
    pluginTable(of: ClipGradNorm.self)
}
