import GradientMath
public import PluginAPI
import PluginKit

/// Uncertainty weighting: every objective has a learned log-variance `s_i`.
///
///     min over s   sum_i  1/2 exp(-s_i) L_i + 1/2 s_i
///     factor_i = 1/2 exp(-s_i),        s_i <- s_i - lr * 1/2 (1 - exp(-s_i) L_i)
///
/// The log-variance settles where `exp(s_i) = L_i`. Factors used in a step are those before its update; they multiply the
/// incoming weights.
final class UW: LossStrategy {
    static let description = PluginDescription(
        id: "craft.UW", version: "1.0.0",
        summary: "Weighs objectives by a learned uncertainty of each.",
        formula: """
            min over s   sum_i  1/2 exp(-s_i) L_i + 1/2 s_i
            factor_i = 1/2 exp(-s_i)            s_i <- s_i - lr * 1/2 (1 - exp(-s_i) L_i)
            """,
        reference: "Kendall et al., Multi-Task Learning Using Uncertainty to Weigh Losses (arXiv 1705.07115).",
        needsABIMinor: 1)

    static let rate = Parameter("lr", default: 0.025, minimum: 0, maximum: 1e6, "Step size of the log-variances.")
    static let initial = Parameter(
        "init", default: 0.0, minimum: -100, maximum: 100, "Log-variances of the first step.")
    static var parameters: [any AnyParameter] { [rate, initial] }
    static let hooks = [lossHook]

    private let rate: Double
    private let initial: Double
    /// By objective; empty before the first step.
    private var logVariances: [Double] = []

    init(settings: Settings) throws {
        rate = try settings(Self.rate)
        initial = try settings(Self.initial)
    }

    func factors(_ losses: [Double?]) throws -> [Double?] {
        try remember(&logVariances, of: losses.count, from: initial)
        var factors = [Double?](repeating: nil, count: losses.count)
        var next = logVariances
        for (slot, loss) in losses.enumerated() {
            guard let loss else { continue }
            let precision = exponential(-logVariances[slot])
            factors[slot] = 0.5 * precision
            next[slot] -= rate * 0.5 * (1 - precision * loss)
            guard next[slot].isFinite else {
                throw PluginError(
                    "a log-variance is \(next[slot]) after a loss of \(loss): use a smaller lr than \(rate)")
            }
        }
        logVariances = next
        return factors
    }

    // MARK: - State: the log-variances

    static let stateVersion: UInt32 = 2

    func save(to output: inout StateWriter) throws { try output.write(logVariances) }

    func load(from input: inout StateReader, version: UInt32) throws {
        try checkStateByNumber(version: version)
        let read = try input.doubles()
        guard read.allSatisfy(\.isFinite) else {
            throw PluginError("the saved state is damaged: log-variances \(read)")
        }
        logVariances = read
    }

    func reset() { logVariances = [] }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: UW.self) }
