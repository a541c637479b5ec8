import GradientMath
public import PluginAPI
import PluginKit

/// The Nash bargaining solution: the step that maximises the product of the objectives' first-order gains.
///
///     (G w)_i = 1 / w_i,   w > 0
///
/// `|sum_i w_i g_i|` is then the square root of the number of objectives, whatever the gradients' lengths.
final class NashMTL: ScopedStrategy {
    static let description = PluginDescription(
        id: "craft.NashMTL", version: "1.0.0",
        summary: "Maximises the product of the objectives' first-order gains.",
        formula: """
            (G w)_i = 1 / w_i,    w > 0
            """,
        reference: "Navon et al., Multi-Task Learning as a Bargaining Game (arXiv 2202.01017).",
        needsABIMinor: 1)

    static let maxNorm = Parameter(
        "max_norm", default: 1.0, minimum: 0, "Largest length of a block's combined gradient; 0 for no limit.")
    static let interval = Parameter(
        "update_weights_every", default: 1, minimum: 1, maximum: 1e9,
        "Steps between solutions of the bargaining problem.")
    static var parameters: [any AnyParameter] { [maxNorm, interval, BlockScope.parameter] }

    private struct Values: HookValues {
        @Input("gram[k,m,m]") var gram: ArrayView<Double>
        @Input("weights[k,m]") var weights: ArrayView<Double>
        @Input("rows[m]") var rows: ArrayView<Int64>?
        @Input("objectives") var objectives: Int?
        @Output("weights[k,m]") var combined: MutableArrayView<Double>
    }

    static let hooks = [
        scopeHook,
        Hook<NashMTL>(.gradientCombine, values: Values()) { strategy, call in
            let (gram, weights, rows) = (call.gram, call.weights, call.rows)
            let numbers = try ObjectiveRows(rows, of: call.objectives, count: gram.shape[1]).numbers.map(Double.init)
            // Other objectives than those of the last solution need one of their own.
            let isSolved = rows == nil || strategy.keptRows == numbers
            if strategy.calls % Int64(strategy.interval) == 0 || !isSolved { strategy.kept = [] }
            strategy.keptRows = numbers
            guard strategy.kept.isEmpty || strategy.kept.count == weights.count else {
                throw PluginError(
                    "the state holds \(strategy.kept.count) weights, but this run has \(weights.count): "
                        + "it was saved with other objectives or another scope")
            }
            let isSolving = strategy.kept.isEmpty
            if isSolving { strategy.kept = [Double](repeating: 0, count: weights.count) }
            try combineBlocks(gram, weights, into: call.combined) { gram, incoming, block in
                let range = block * gram.size..<(block + 1) * gram.size
                if isSolving {
                    // Without a solution the weights stay as they came.
                    strategy.kept.replaceSubrange(range, with: try gram.alphaFairWeights(power: 1) ?? incoming)
                }
                return strategy.limited(Array(strategy.kept[range]), gram)
            }
            strategy.calls += 1
        },
    ]

    let scope: BlockScope
    private let maxNorm: Double
    private let interval: Int
    /// Steps so far.
    private var calls: Int64 = 0
    /// `[K,M]`: the last solutions, before the limit; empty before the first step.
    private var kept: [Double] = []
    /// The objectives they are of.
    private var keptRows: [Double] = []

    init(settings: Settings) throws {
        scope = try settings(BlockScope.parameter)
        maxNorm = try settings(Self.maxNorm)
        interval = try settings(Self.interval)
    }

    private func limited(_ weights: [Double], _ gram: Gram) -> [Double] {
        let length = gram.squaredNorm(weights).squareRoot()
        guard maxNorm > 0, length > maxNorm else { return weights }
        return weights.map { $0 / length * maxNorm }
    }

    // MARK: - State: how many steps, and the solutions still in use

    static let stateVersion: UInt32 = 2

    func save(to output: inout StateWriter) throws {
        try output.write(calls)
        try output.write(kept)
        try output.write(keptRows)
    }

    func load(from input: inout StateReader, version: UInt32) throws {
        let steps = try input.integer()
        let weights = try input.doubles()
        let rows = version < 2 ? [] : try input.doubles()
        guard (0..<1 << 60).contains(steps), weights.allSatisfy(\.isFinite) else {
            throw PluginError("the saved state is damaged: \(steps) steps, or weights that are not finite")
        }
        calls = steps
        kept = weights
        keptRows = rows
    }

    func reset() {
        calls = 0
        kept = []
        keptRows = []
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: NashMTL.self) }
