import GradientMath
public import PluginAPI
import PluginKit

/// Gradient sign dropout: per coordinate, gradients of one sign stay and the others go, by a coin whose bias is the
/// purity of the signs.
///
///     P_c = 1/2 (1 + sum_i g_ic / sum_i |g_ic|),     U_c uniform in [0, 1)
///     d_c = sum_i g_ic [P_c > U_c and g_ic > 0, or P_c < U_c and g_ic < 0]
///
/// `g_i` is the objective's gradient times its incoming weight. A draw is that of `uniforms` where somebody gives it; else
/// it depends on seed, step and coordinate alone, so that a resumed run draws what an uninterrupted one does.
final class GradDrop: Plugin {
    static let description = PluginDescription(
        id: "craft.GradDrop", version: "1.0.0",
        summary: "Keeps, coordinate by coordinate, the gradients of one sign, drawn by the purity of the signs.",
        formula: """
            P_c = 1/2 (1 + sum_i g_ic / sum_i |g_ic|),     U_c uniform in [0, 1)
            d_c = sum_i g_ic [P_c > U_c and g_ic > 0, or P_c < U_c and g_ic < 0]
            """,
        reference: """
            Chen et al., Just Pick a Sign: Optimizing Deep Multitask Models with Gradient Sign Dropout (arXiv \
            2010.06808).
            """)

    static let leak = Parameter(
        "leak", default: 0.0, minimum: 0, maximum: 1, "Share of every gradient that is kept whatever its sign.")
    static let seed = Parameter("seed", default: 0, "Added to the run's seed.")
    static var parameters: [any AnyParameter] { [leak, seed] }

    private struct Draw: HookValues {
        @Input("grads[m,n]") var gradients: ArrayView<Float>
        @Input("weights[1,m]") var weights: ArrayView<Double>
        @Input("step") var step: Int?
        @Input("seed") var seed: Int?
        @Input("uniforms[n]") var uniforms: ArrayView<Double>?
        @Output("combined[n]") var combined: MutableArrayView<Float>
    }

    static let hooks = [
        // Coordinates know no blocks: one weight per objective.
        Hook<GradDrop>(.plan, Output<BlockScope>("block_scope")) { _, scope in scope.value = .global },
        Hook<GradDrop>(.gradientCombine, values: Draw()) { strategy, call in
            let uniforms = call.uniforms
            if let bad = uniforms?.elements.first(where: { !($0 >= 0 && $0 < 1) }) {
                throw PluginError("uniforms has \(bad): expected numbers from 0 to below 1")
            }
            try strategy.combine(
                call.gradients, call.weights, draws: uniforms,
                key: RandomDraws.mixed(
                    UInt64(bitPattern: Int64((call.seed ?? 0) &+ strategy.seed))
                        ^ RandomDraws.mixed(UInt64(bitPattern: Int64(call.step ?? 0)))),
                into: call.combined)
        },
    ]

    private let leak: Float
    private let seed: Int

    init(settings: Settings) throws {
        leak = Float(try settings(Self.leak))
        seed = try settings(Self.seed)
    }

    private func combine(
        _ gradients: ArrayView<Float>, _ weights: ArrayView<Double>, draws: ArrayView<Double>?, key: UInt64,
        into combined: MutableArrayView<Float>
    ) throws {
        let (m, n) = (gradients.shape[0], gradients.shape[1])
        let factors = (0..<m).map { Float(weights[$0]) }
        let (values, result) = (gradients.elements, combined.elements)
        for column in 0..<n {
            var sum: Float = 0
            var magnitude: Float = 0
            for row in 0..<m {
                let value = factors[row] * values[row * n + column]
                sum += value
                magnitude += abs(value)
            }
            // Where all gradients are zero nothing is drawn and nothing dropped.
            guard magnitude > 0 || magnitude.isNaN else {
                result[column] = 0
                continue
            }
            let purity = 0.5 * (1 + sum / magnitude)
            let draw =
                draws.map { Float($0[column]) } ?? Float(RandomDraws.mixed(key &+ UInt64(column)) >> 40) * 0x1p-24
            var kept: Float = 0
            for row in 0..<m {
                let value = factors[row] * values[row * n + column]
                let stays = value > 0 ? purity > draw : purity < draw
                kept += stays ? value : leak * value
            }
            guard kept.isFinite else {
                throw PluginError(
                    "coordinate \(column) of the combined gradient is \(kept) in single precision: the gradients and "
                        + "their weights (\(weights.elements.map { "\($0)" }.joined(separator: ", "))) are too large")
            }
            result[column] = kept
        }
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: GradDrop.self) }
