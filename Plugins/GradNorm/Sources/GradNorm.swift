import GradientMath
public import PluginAPI
import PluginKit

/// Gradient normalisation: weights are learned so that weighted gradients have one length, more for objectives whose loss
/// falls slower than the others'.
///
///     r_i = (L_i / L_i(0)) / mean_j (L_j / L_j(0))          n_i = w_i |g_i|          n = mean_j n_j
///     w_i <- w_i - lr * sign(n_i - n r_i^alpha) |g_i| / n        then scaled to sum up to the number of objectives
///
/// The division by `n` makes the step free of the gradients' scale. Weights used in a step are those before its update;
/// `L_i(0)` is an objective's first positive loss. The factors multiply the incoming weights.
final class GradNorm: Plugin {
    static let description = PluginDescription(
        id: "craft.GradNorm", version: "1.0.0",
        summary: "Learns weights that balance gradient lengths by how fast each loss falls.",
        formula: """
            r_i = (L_i / L_i(0)) / mean_j (L_j / L_j(0))        n_i = w_i |g_i|        n = mean_j n_j
            w_i <- w_i - lr * sign(n_i - n r_i^alpha) |g_i| / n        then scaled to sum up to the number of objectives
            """,
        reference: "Chen et al., GradNorm (arXiv 1711.02257).",
        needsABIMinor: 1)

    static let alpha = Parameter(
        "alpha", default: 1.5, minimum: 0, maximum: 100,
        "How strongly slow objectives are favoured; 0 equalises lengths.")
    static let rate = Parameter("lr", default: 0.025, minimum: 0, maximum: 1e6, "Step size of the weights.")
    static var parameters: [any AnyParameter] { [alpha, rate] }

    static let hooks = [
        Hook<GradNorm>(
            .gradientCombine, Input<ArrayView<Double>>("gram[k,m,m]"), Input<ArrayView<Double>>("losses[m]"),
            Input<ArrayView<Double>>("weights[k,m]"), Input<ArrayView<Int64>?>("rows[m]"), Input<Int?>("objectives"),
            Output<MutableArrayView<Double>>("weights[k,m]")
        ) { plugin, gram, losses, weights, rows, objectives, combined in
            let size = weights.shape[1]
            let rows = try ObjectiveRows(rows, of: objectives, count: size)
            let losses = try rows.finite(losses)
            var norms = [Double](repeating: 0, count: rows.objectives)
            for (row, number) in rows.numbers.enumerated() {
                var square = 0.0
                for block in 0..<gram.shape[0] { square += gram[(block * size + row) * size + row] }
                guard square.isFinite else { throw PluginError("the gradient of objective \(number) is not finite") }
                norms[number] = max(square, 0).squareRoot()
            }
            try remember(&plugin.factors, of: rows.objectives, from: 1)
            try remember(&plugin.firstLosses, of: rows.objectives, from: 0)
            try rows.scale(weights, by: plugin.factors.map { $0 }, into: combined)
            try plugin.update(losses, norms)
        }
    ]

    private let alpha: Double
    private let rate: Double
    /// By objective; empty before the first step.
    private var factors: [Double] = []
    /// 0 until there is one.
    private var firstLosses: [Double] = []

    init(settings: Settings) throws {
        alpha = try settings(Self.alpha)
        rate = try settings(Self.rate)
    }

    private func update(_ losses: [Double?], _ norms: [Double]) throws {
        for (slot, loss) in losses.enumerated() where firstLosses[slot] == 0 { firstLosses[slot] = max(loss ?? 0, 0) }
        let slots = losses.indices.filter { losses[$0] != nil && firstLosses[$0] > 0 && norms[$0] > 0 }
        guard slots.count > 1 else { return }
        let count = Double(slots.count)
        let ratios = slots.map { max((losses[$0] ?? 0) / firstLosses[$0], 0) }
        let meanRatio = ratios.reduce(0, +) / count
        let lengths = slots.map { factors[$0] * norms[$0] }
        let meanLength = lengths.reduce(0, +) / count
        guard meanRatio > 0, meanLength > 0 else { return }
        let total = slots.reduce(0) { $0 + factors[$1] }
        var moved = slots.map { factors[$0] }
        for index in slots.indices {
            let target = meanLength * power(ratios[index] / meanRatio, alpha)
            let sign = lengths[index] > target ? 1.0 : lengths[index] < target ? -1 : 0
            moved[index] = max(moved[index] - rate * sign * norms[slots[index]] / meanLength, 0)
        }
        let sum = moved.reduce(0, +)
        guard sum > 0, sum.isFinite else {
            throw PluginError("the weights came to \(moved): use a smaller lr than \(rate)")
        }
        for (index, slot) in slots.enumerated() { factors[slot] = moved[index] / sum * total }
    }

    // MARK: - State: the weights and the first losses

    static let stateVersion: UInt32 = 2

    func save(to output: inout StateWriter) throws {
        try output.write(factors)
        try output.write(firstLosses)
    }

    func load(from input: inout StateReader, version: UInt32) throws {
        try checkStateByNumber(version: version)
        let read = (try input.doubles(), try input.doubles())
        guard read.0.count == read.1.count, (read.0 + read.1).allSatisfy({ $0.isFinite && $0 >= 0 }) else {
            throw PluginError("the saved state is damaged: factors \(read.0), losses \(read.1)")
        }
        (factors, firstLosses) = read
    }

    func reset() { (factors, firstLosses) = ([], []) }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: GradNorm.self) }
