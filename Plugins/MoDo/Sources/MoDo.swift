import GradientMath
public import PluginAPI
import PluginKit

/// Weights learned along inner products of gradients of different samples, in which noise averages out.
///
///     modo      w <- P(w - gamma (C w + rho w))                            d = sum_i w_i g_i
///     sdmgrad   v <- v / 2 + C / s^2 (w + strength u),   w <- P(w - 10 v)  20 times
///               d = sum_i (w_i + strength u_i) / (1 + strength) g_i
///
/// `C` is `gram_cross`, `P` the projection to the simplex, `u` the incoming weights over their sum, `s` the gradients' mean
/// length as `C` has it.
final class MoDo: ScopedStrategy {
    enum Rule: String, SettingChoice {
        case doubleSampling = "modo"
        case directionOriented = "sdmgrad"
    }

    static let description = PluginDescription(
        id: "craft.MoDo", version: "1.0.0",
        summary: "Weights learned along unbiased inner products of gradients: MoDo, and SDMGrad.",
        formula: """
            modo      w <- P(w - gamma (C w + rho w))                            d = sum_i w_i g_i
            sdmgrad   v <- v / 2 + C / s^2 (w + strength u),   w <- P(w - 10 v)  20 times
                      d = sum_i (w_i + strength u_i) / (1 + strength) g_i
            """,
        reference: """
            MoDo: Chen et al., Three-Way Trade-Off in Multi-Objective Learning (arXiv 2305.20057); SDMGrad: Xiao et al., \
            Direction-oriented Multi-objective Learning (arXiv 2305.18409).
            """, needsABIMinor: 2)

    static let rule = Parameter("rule", default: Rule.doubleSampling, "Which of the two.")
    static let gamma = Parameter("gamma", default: 0.001, minimum: 0, maximum: 1e9, "Step size of MoDo's weights.")
    static let rho = Parameter("rho", default: 0.1, minimum: 0, maximum: 1e9, "Pull of MoDo's weights to equal ones.")
    static let strength = Parameter(
        "strength", default: 0.3, minimum: 0, maximum: 1e9, "How near to the incoming weights SDMGrad stays.")
    static var parameters: [any AnyParameter] { [rule, gamma, rho, strength, BlockScope.parameter] }

    private struct Values: HookValues {
        @Input("gram_cross[k,m,m]") var cross: ArrayView<Double>
        @Input("weights[k,m]") var weights: ArrayView<Double>
        @Input("rows[m]") var rows: ArrayView<Int64>?
        @Input("objectives") var objectives: Int?
        @Output("weights[k,m]") var combined: MutableArrayView<Double>
        @Output("metric.modo_smallest_weight") var smallest: Double
    }

    static let hooks = [
        scopeHook,
        Hook<MoDo>(.gradientCombine, values: Values()) { strategy, call in
            let (weights, combined, cross) = (call.weights, call.combined, call.cross)
            guard weights.elements.allSatisfy(\.isFinite), cross.elements.allSatisfy(\.isFinite) else {
                throw PluginError("gram_cross or weights has a value that is not finite: the gradients must be")
            }
            let rows = try ObjectiveRows(call.rows, of: call.objectives, count: weights.shape[1])
            let (blocks, size, m) = (weights.shape[0], weights.shape[1], rows.objectives)
            var shares = strategy.shares
            if shares.isEmpty { shares = [Double](repeating: 1 / Double(m), count: blocks * m) }
            guard shares.count == blocks * m else {
                throw PluginError(
                    "the state holds \(shares.count) weights, but this run has \(blocks) blocks of \(m) objectives: it was "
                        + "saved with other ones")
            }
            var smallest = 0.0
            for block in 0..<blocks {
                // Objectives without a loss in this step keep theirs; the others share what is left of the 1.
                let own = rows.numbers.map { shares[block * m + $0] }
                let total = own.reduce(0, +)
                let next = strategy.learn(
                    total > 0 ? own.map { $0 / total } : own.map { _ in 1 / Double(size) },
                    CrossGram(size: size) { cross[block, $0, $1] }, incoming: (0..<size).map { weights[block, $0] })
                guard next.weights.allSatisfy(\.isFinite) else {
                    throw PluginError("the weights of block \(block) are \(next.weights): its gradients are too long")
                }
                for (row, number) in rows.numbers.enumerated() {
                    shares[block * m + number] = next.kept[row] * total
                    combined[block, row] = next.weights[row]
                }
                smallest += (next.weights.min() ?? 0) / Double(blocks)
            }
            strategy.shares = shares
            call.smallest = smallest
        },
    ]

    private let rule: Rule
    private let gamma: Double
    private let rho: Double
    private let strength: Double
    let scope: BlockScope
    /// `w` `[k,M]`, by objective; empty before the first step.
    private var shares: [Double] = []

    init(settings: Settings) throws {
        rule = try settings(Self.rule)
        gamma = try settings(Self.gamma)
        rho = try settings(Self.rho)
        strength = try settings(Self.strength)
        scope = try settings(BlockScope.parameter)
    }

    /// The weights to keep, and those of the gradients.
    private func learn(_ last: [Double], _ cross: CrossGram, incoming: [Double]) -> (kept: [Double], weights: [Double])
    {
        switch rule {
        case .doubleSampling:
            let next = cross.moDo(last, rate: gamma, rho: rho)
            return (next, next)
        case .directionOriented:
            var settings = CrossGram.DirectionOriented()
            settings.strength = strength
            return cross.directionOriented(last, preference: Preference.mean.vector(incoming), settings)
        }
    }

    // MARK: - State

    static let stateVersion: UInt32 = 1

    func save(to output: inout StateWriter) throws { try output.write(shares) }

    func load(from input: inout StateReader, version: UInt32) throws {
        let values = try input.doubles()
        guard values.allSatisfy({ (0...1.000001).contains($0) }) else {
            throw PluginError("the saved state is damaged: a weight is not from 0 to 1")
        }
        shares = values
    }

    func reset() { shares = [] }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: MoDo.self) }
