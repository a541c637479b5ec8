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
        reference: "Liu et al., End-to-End Multi-Task Learning with Attention (arXiv 1803.10704).",
        needsABIMinor: 1)

    static let temperature = Parameter(
        "temperature", default: 2.0, minimum: 1e-3, maximum: 1e9, "Evenness of the weights; the larger, the more even.")
    static let interval = Parameter("interval", default: 100, minimum: 1, maximum: 1e9, "Steps of an epoch.")
    static var parameters: [any AnyParameter] { [temperature, interval] }
    static let hooks = [lossHook]

    private let temperature: Double
    private let interval: Int
    /// Steps of the epoch so far.
    private var steps: Int64 = 0
    /// Loss sums of the epoch so far, and of how many steps, by objective.
    private var sums: [Double] = []
    private var counts: [Double] = []
    /// Mean losses of the last two epochs, the older first; 0 where an epoch had none.
    private var epochs: [[Double]] = []

    init(settings: Settings) throws {
        temperature = try settings(Self.temperature)
        interval = try settings(Self.interval)
    }

    func factors(_ losses: [Double?]) throws -> [Double?] {
        try remember(&sums, of: losses.count, from: 0)
        try remember(&counts, of: losses.count, from: 0)
        var factors = [Double?](repeating: nil, count: losses.count)
        let present = losses.indices.filter { losses[$0] != nil }
        if epochs.count == 2 {
            let rates = present.map { slot in
                let rate = epochs[1][slot] / epochs[0][slot]
                // A loss of zero and one that an epoch did not have have no rate; they count as one that does not change.
                return rate.isFinite && epochs[1][slot] != 0 ? rate : 1
            }
            let shares = softmax(rates.map { $0 / temperature })
            for (index, slot) in present.enumerated() { factors[slot] = Double(present.count) * shares[index] }
        }
        for slot in present {
            sums[slot] += losses[slot] ?? 0
            counts[slot] += 1
        }
        steps += 1
        if steps >= Int64(interval) {
            let means = zip(sums, counts).map { $1 > 0 ? $0 / $1 : 0 }
            epochs = Array((epochs + [means]).suffix(2))
            sums = sums.map { _ in 0 }
            counts = sums
            steps = 0
        }
        return factors
    }

    // MARK: - State

    static let stateVersion: UInt32 = 2

    func save(to output: inout StateWriter) throws {
        try output.write(steps)
        try output.write(sums)
        try output.write(counts)
        try output.write(epochs.flatMap { $0 })
    }

    func load(from input: inout StateReader, version: UInt32) throws {
        try checkStateByNumber(version: version)
        let count = try input.integer()
        let partial = try input.doubles()
        let seen = try input.doubles(limit: partial.count)
        let means = try input.doubles(limit: 2 * partial.count)
        guard (0..<1 << 40).contains(count), seen.count == partial.count,
            (partial + seen + means).allSatisfy(\.isFinite),
            partial.isEmpty ? means.isEmpty : means.count.isMultiple(of: partial.count)
        else { throw PluginError("the saved state is damaged: \(count) steps, sums \(partial), means \(means)") }
        (steps, sums, counts) = (count, partial, seen)
        epochs = stride(from: 0, to: means.count, by: max(partial.count, 1)).map {
            Array(means[$0..<$0 + partial.count])
        }
    }

    func reset() {
        steps = 0
        (sums, counts, epochs) = ([], [], [])
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: DWA.self) }
