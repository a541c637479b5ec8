import GradientMath
public import PluginAPI
import PluginKit

/// Gradient vaccine: where the cosine between two gradients is below its running average, the first is turned towards
/// the second until it has that cosine.
///
///     d_i = g_i;   for j in order:
///         phi = cos(d_i, g_j)
///         if phi < target_ij:
///             d_i += |d_i| (target sqrt(1 - phi^2) - phi sqrt(1 - target^2)) / (|g_j| sqrt(1 - target^2)) * g_j
///         target_ij = (1 - beta) target_ij + beta phi
///     d = sum_i w_i d_i
///
/// Targets start at 0, so that the first step is PCGrad's.
final class GradVac: GramStrategy {
    enum Order: String, SettingChoice { case random, ascending }

    static let description = PluginDescription(
        id: "craft.GradVac", version: "1.0.0",
        summary: "Turns each gradient towards the others until their cosines are the usual ones.",
        formula: """
            d_i = g_i;   for j in order:
                phi = cos(d_i, g_j)
                if phi < target_ij:
                    d_i += |d_i| (target sqrt(1 - phi^2) - phi sqrt(1 - target^2)) / (|g_j| sqrt(1 - target^2)) * g_j
                target_ij = (1 - beta) target_ij + beta phi
            d = sum_i w_i d_i                                   w: the incoming weights
            """,
        reference: "Wang et al., Gradient Vaccine (arXiv 2010.05874).",
        needsABIMinor: 1)

    static let beta = Parameter(
        "beta", default: 0.5, minimum: 0, maximum: 1, "How fast the targets follow the cosines; 1 keeps no memory.")
    static let order = Parameter(
        "order", default: Order.random, "In which order a gradient meets the others: drawn per step, or by row.")
    static let seed = Parameter("seed", default: 0, "Seed of the random orders.")
    static var parameters: [any AnyParameter] { [beta, order, seed, BlockScope.parameter] }

    private struct Values: HookValues {
        @Input("gram[k,m,m]") var gram: ArrayView<Double>
        @Input("weights[k,m]") var weights: ArrayView<Double>
        @Input("rows[m]") var rows: ArrayView<Int64>?
        @Input("objectives") var objectives: Int?
        @Input("step") var step: Int?
        @Input("order[m,m]") var order: ArrayView<Int64>?
        @Output("weights[k,m]") var combined: MutableArrayView<Double>
    }

    static let hooks = [
        scopeHook,
        Hook<GradVac>(.gradientCombine, values: Values()) { strategy, call in
            let gram = call.gram
            let rows = try ObjectiveRows(call.rows, of: call.objectives, count: gram.shape[1])
            (strategy.rows, strategy.objectives) = (rows.numbers, rows.objectives)
            let count = gram.shape[0] * rows.objectives * rows.objectives
            if strategy.targets.isEmpty { strategy.targets = [Double](repeating: 0, count: count) }
            guard strategy.targets.count == count else {
                throw PluginError(
                    "the state holds \(strategy.targets.count) target cosines, but this run has \(count): "
                        + "it was saved with other objectives or another scope")
            }
            strategy.step = call.step ?? 0
            strategy.given = try call.order.map { try GivenOrders($0) }
            try strategy.combine(gram, call.weights, into: call.combined)
        },
    ]

    let scope: BlockScope
    private let beta: Double
    private let order: Order
    private let seed: Int
    private var step = 0
    private var given: GivenOrders?
    /// Objectives of the step's rows.
    private var rows: [Int] = []
    /// Objectives of the run (M).
    private var objectives = 0
    /// `[K,M,M]` by objective; empty before the first step.
    private var targets: [Double] = []

    init(settings: Settings) throws {
        scope = try settings(BlockScope.parameter)
        beta = try settings(Self.beta)
        order = try settings(Self.order)
        seed = try settings(Self.seed)
    }

    func weights(_ gram: Gram, _ incoming: [Double], block: Int) -> [Double] {
        var result = incoming
        for (position, row) in gram.rows.enumerated() {
            var others = gram.rows.indices.filter { $0 != position }
            if order == .random {
                var draw = VisitOrder(seed: seed, place: [step, block, row])
                others = given?.others(of: row, in: gram) ?? draw.shuffled(others)
            }
            // In units of the gradients' lengths.
            var turned = [Double](repeating: 0, count: gram.rows.count)
            turned[position] = 1
            for other in others {
                let length = max(gram.cosines.quadratic(turned), 0).squareRoot()
                guard length > cosineTolerance else { break }
                let cosine = min(max(gram.cosines.times(turned)[other] / length, -1), 1)
                let slot = (block * objectives + rows[row]) * objectives + rows[gram.rows[other]]
                let target = targets[slot]
                let sine = (1 - target * target).squareRoot()
                // No finite turn makes two gradients parallel.
                if cosine < target - cosineTolerance, sine > cosineTolerance {
                    turned[other] += length * (target * (1 - cosine * cosine).squareRoot() - cosine * sine) / sine
                }
                targets[slot] = (1 - beta) * target + beta * cosine
            }
            for other in others where turned[other] != 0 {
                result[gram.rows[other]] += incoming[row] * turned[other] * (gram.norms[position] / gram.norms[other])
            }
        }
        return result
    }

    // MARK: - State: the targets

    static let stateVersion: UInt32 = 1

    func save(to output: inout StateWriter) throws { try output.write(targets) }

    func load(from input: inout StateReader, version: UInt32) throws {
        let read = try input.doubles()
        guard read.allSatisfy({ abs($0) <= 1 }) else {
            throw PluginError("the saved state is damaged: a cosine above 1")
        }
        targets = read
    }

    func reset() { targets = [] }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: GradVac.self) }
