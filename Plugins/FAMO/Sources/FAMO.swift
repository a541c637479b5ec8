import GradientMath
public import PluginAPI
import PluginKit

/// Fast adaptive multitask optimisation: all losses are to fall at the same relative rate.
///
///     z = softmax(xi),        factor_i = (z_i / (L_i - b)) / sum_j (z_j / (L_j - b))
///     delta_i = log(L_i(t - 1) - b) - log(L_i(t) - b)
///     xi <- xi - lr * (z .* (delta - <z, delta>) + decay * xi)
///
/// The published method measures `delta` twice on the same batch; here it is taken between two steps, which costs nothing
/// and is noisier. A loss that is not above its bound `b` takes no part in the step: its weight is left alone. The factors
/// multiply the incoming weights.
final class FAMO: LossStrategy {
    static let description = PluginDescription(
        id: "craft.FAMO", version: "1.0.0",
        summary: "Weighs objectives so that all losses fall at the same relative rate.",
        formula: """
            z = softmax(xi)        factor_i = (z_i / (L_i - b)) / sum_j (z_j / (L_j - b))
            delta_i = log(L_i(t - 1) - b) - log(L_i(t) - b)
            xi <- xi - lr * (z .* (delta - <z, delta>) + decay * xi)                b = min_loss
            """,
        reference: "Liu et al., FAMO (arXiv 2306.03792).",
        needsABIMinor: 1)

    static let rate = Parameter("lr", default: 0.025, minimum: 0, maximum: 1e6, "Step size of the logits.")
    static let decay = Parameter("decay", default: 0.001, minimum: 0, maximum: 1e6, "Pull of the logits towards 0.")
    static let bound = Parameter("min_loss", default: 0.0, "Least value the losses can have.")
    static var parameters: [any AnyParameter] { [rate, decay, bound] }
    static let hooks = [lossHook]

    private let rate: Double
    private let decay: Double
    private let bound: Double
    /// By objective; empty before the first step.
    private var logits: [Double] = []
    /// Above the bound; 0 where there was none.
    private var lastLosses: [Double] = []

    init(settings: Settings) throws {
        rate = try settings(Self.rate)
        decay = try settings(Self.decay)
        bound = try settings(Self.bound)
        guard bound.isFinite else { throw PluginError("min_loss must be finite") }
    }

    func factors(_ losses: [Double?]) throws -> [Double?] {
        try remember(&logits, of: losses.count, from: 0)
        try remember(&lastLosses, of: losses.count, from: 0)
        let above = losses.map { max(($0 ?? bound) - bound, 0) }
        adapt(above)
        // An objective that has no loss in this step keeps its last one.
        for slot in losses.indices where losses[slot] != nil { lastLosses[slot] = above[slot] }
        var factors = [Double?](repeating: nil, count: losses.count)
        let slots = above.indices.filter { above[$0] > 0 }
        guard let least = slots.map({ above[$0] }).min() else { return factors }
        let shares = softmax(slots.map { logits[$0] })
        // Relative to the least loss: a quotient that cannot overflow.
        let pulls = slots.indices.map { shares[$0] * (least / above[slots[$0]]) }
        let sum = pulls.reduce(0, +)
        for (index, slot) in slots.enumerated() { factors[slot] = pulls[index] / sum }
        return factors
    }

    /// Moves the logits by how the losses changed since the last step.
    private func adapt(_ above: [Double]) {
        let slots = above.indices.filter { above[$0] > 0 && lastLosses[$0] > 0 }
        guard !slots.isEmpty else { return }
        let shares = softmax(slots.map { logits[$0] })
        let changes = slots.map { logarithm(lastLosses[$0]) - logarithm(above[$0]) }
        let mean = zip(shares, changes).reduce(0) { $0 + $1.0 * $1.1 }
        for (index, slot) in slots.enumerated() {
            logits[slot] -= rate * (shares[index] * (changes[index] - mean) + decay * logits[slot])
        }
    }

    // MARK: - State: the logits and the last losses

    static let stateVersion: UInt32 = 2

    func save(to output: inout StateWriter) throws {
        try output.write(logits)
        try output.write(lastLosses)
    }

    func load(from input: inout StateReader, version: UInt32) throws {
        try checkStateByNumber(version: version)
        let read = (try input.doubles(), try input.doubles())
        guard read.0.count == read.1.count, (read.0 + read.1).allSatisfy(\.isFinite) else {
            throw PluginError("the saved state is damaged: logits \(read.0), losses \(read.1)")
        }
        (logits, lastLosses) = read
    }

    func reset() { (logits, lastLosses) = ([], []) }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: FAMO.self) }
