import GradientMath
public import PluginAPI
import PluginKit

/// Gradient surgery: each gradient is projected off every other one that it conflicts with, in turn; the results are
/// added.
///
///     d_i = g_i;   for j in order:  if <d_i, g_j> < 0:   d_i -= <d_i, g_j> / |g_j|^2 * g_j
///     d = sum_i w_i d_i
///
/// The order only matters with three objectives or more.
final class PCGrad: GramStrategy {
    enum Order: String, SettingChoice { case random, ascending, average }

    static let description = PluginDescription(
        id: "craft.PCGrad", version: "1.0.0",
        summary: "Projects each gradient off those it conflicts with, then adds them.",
        formula: """
            d_i = g_i;   for j in order:   if <d_i, g_j> < 0:   d_i -= <d_i, g_j> / |g_j|^2 * g_j
            d = sum_i w_i d_i                                   w: the incoming weights
            """,
        reference: "Yu et al., Gradient Surgery for Multi-Task Learning (arXiv 2001.06782).")

    static let order = Parameter(
        "order", default: Order.random, "In which order a gradient meets the others: drawn per step, by row, or all.")
    static let seed = Parameter("seed", default: 0, "Seed of the random orders.")
    static var parameters: [any AnyParameter] { [order, seed, BlockScope.parameter] }

    private struct Values: HookValues {
        @Input("gram[k,m,m]") var gram: ArrayView<Double>
        @Input("weights[k,m]") var weights: ArrayView<Double>
        @Input("step") var step: Int?
        @Input("order[m,m]") var order: ArrayView<Int64>?
        @Output("weights[k,m]") var combined: MutableArrayView<Double>
    }

    static let hooks = [
        scopeHook,
        Hook<PCGrad>(.gradientCombine, values: Values()) { strategy, call in
            strategy.step = call.step ?? 0
            strategy.given = try call.order.map { try GivenOrders($0) }
            try strategy.combine(call.gram, call.weights, into: call.combined)
        },
    ]

    let scope: BlockScope
    private let order: Order
    private let seed: Int
    private var step = 0
    private var given: GivenOrders?

    /// The average goes through every order: 720 for each of seven gradients.
    private static let largestAverage = 7

    init(settings: Settings) throws {
        scope = try settings(BlockScope.parameter)
        order = try settings(Self.order)
        seed = try settings(Self.seed)
    }

    func weights(_ gram: Gram, _ incoming: [Double], block: Int) throws -> [Double] {
        var result = incoming
        for (position, row) in gram.rows.enumerated() {
            let others = gram.rows.indices.filter { $0 != position }
            let added: [Double]
            switch order {
            case .ascending: added = project(gram.cosines, position, others)
            case .random:
                var draw = VisitOrder(seed: seed, place: [step, block, row])
                added = project(gram.cosines, position, given?.others(of: row, in: gram) ?? draw.shuffled(others))
            case .average: added = try average(gram.cosines, position, others)
            }
            for other in others where added[other] != 0 {
                result[gram.rows[other]] += incoming[row] * added[other] * (gram.norms[position] / gram.norms[other])
            }
        }
        return result
    }

    /// What is added of every other unit gradient to the unit gradient `row`.
    private func project(_ cosines: SymmetricMatrix, _ row: Int, _ order: [Int]) -> [Double] {
        var added = [Double](repeating: 0, count: cosines.size)
        for other in order {
            var product = cosines[row, other]
            for k in added.indices where added[k] != 0 { product += added[k] * cosines[k, other] }
            if product < -cosineTolerance { added[other] = -product }
        }
        return added
    }

    /// The mean of ``project(_:_:_:)`` over all orders.
    private func average(_ cosines: SymmetricMatrix, _ row: Int, _ others: [Int]) throws -> [Double] {
        guard others.count < Self.largestAverage else {
            throw PluginError(
                "order=average takes at most \(Self.largestAverage) objectives, not \(others.count + 1): "
                    + "use order=random")
        }
        var sum = [Double](repeating: 0, count: cosines.size)
        var count = 0.0
        var order = others
        // Heap's algorithm, recursive form.
        func visit(_ length: Int) {
            guard length > 1 else {
                let added = project(cosines, row, order)
                for k in sum.indices { sum[k] += added[k] }
                count += 1
                return
            }
            for index in 0..<length {
                visit(length - 1)
                if index < length - 1 { order.swapAt(length.isMultiple(of: 2) ? index : 0, length - 1) }
            }
        }
        visit(order.count)
        return sum.map { $0 / count }
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: PCGrad.self) }
