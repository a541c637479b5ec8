import GradientMath
public import PluginAPI
import PluginKit

/// Dynamic weight average: more weight to objectives whose loss has fallen less.
///
///     factor_i = m softmax(r / T)_i,      r_i = L_i(e - 1) / L_i(e - 2)
///
/// `L_i(e)` is the mean loss of epoch `e`, an epoch being `interval` steps; 1 during the first two. The factors multiply
/// the incoming weights.
final class DWA: LossStrategy {
    static let description = PluginDescription(
        id: "craft.DWA", version: "1.0.0",
        summary: "Weighs objectives by how slowly their losses fall.",
        formula: """
            factor_i = m softmax(r / T)_i,       r_i = L_i(e - 1) / L_i(e - 2)
            """,
        reference: "Liu et al., End-to-End Multi-Task Learning with Attention (arXiv 1803.10704).")

    static let temperature = Parameter(
        "temperature", default: 2.0, minimum: 1e-3, maximum: 1e9, "Evenness of the weights; the larger, the more even.")
    static let interval = Parameter("interval", default: 100, minimum: 1, maximum: 1e9, "Steps of an epoch.")
    static var parameters: [any AnyParameter] { NamedObjectives.parameters + [temperature, interval] }
    static let hooks = [lossHook]

    private let temperature: Double
    private let interval: Int
    /// Steps of the epoch so far.
    private var steps: Int64 = 0
    /// Loss sums of the epoch so far.
    private var sums = [Double](repeating: 0, count: NamedObjectives.capacity)
    /// Mean losses of the last two epochs, the older first.
    private var epochs: [[Double]] = []

    init(settings: Settings) throws {
        try NamedObjectives.check(settings)
        temperature = try settings(Self.temperature)
        interval = try settings(Self.interval)
    }

    func factors(_ losses: [Double?]) -> [Double?] {
        var factors = [Double?](repeating: nil, count: losses.count)
        let present = losses.indices.filter { losses[$0] != nil }
        if epochs.count == 2 {
            let rates = present.map { slot in
                let rate = epochs[1][slot] / epochs[0][slot]
                // A loss of zero has no rate; it counts as one that does not change.
                return rate.isFinite ? rate : 1
            }
            let shares = softmax(rates.map { $0 / temperature })
            for (index, slot) in present.enumerated() { factors[slot] = Double(present.count) * shares[index] }
        }
        for slot in present { sums[slot] += losses[slot] ?? 0 }
        steps += 1
        if steps >= Int64(interval) {
            let means = sums.map { $0 / Double(steps) }
            epochs = Array((epochs + [means]).suffix(2))
            sums = sums.map { _ in 0 }
            steps = 0
        }
        return factors
    }

    // MARK: - State

    static let stateVersion: UInt32 = 1

    func save(to output: inout StateWriter) throws {
        try output.write(steps)
        try output.write(sums)
        try output.write(epochs.flatMap { $0 })
    }

    func load(from input: inout StateReader, version: UInt32) throws {
        let capacity = NamedObjectives.capacity
        let count = try input.integer()
        let partial = try input.doubles(limit: capacity)
        let means = try input.doubles(limit: 2 * capacity)
        guard (0..<1 << 40).contains(count), partial.count == capacity, means.count.isMultiple(of: capacity),
            (partial + means).allSatisfy(\.isFinite)
        else { throw PluginError("the saved state is damaged: \(count) steps, sums \(partial), means \(means)") }
        steps = count
        sums = partial
        epochs = stride(from: 0, to: means.count, by: capacity).map { Array(means[$0..<$0 + capacity]) }
    }

    func reset() {
        steps = 0
        sums = sums.map { _ in 0 }
        epochs = []
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: DWA.self) }
