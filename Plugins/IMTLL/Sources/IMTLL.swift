import GradientMath
public import PluginAPI
import PluginKit

/// Impartial multi-task learning on losses: every objective has a learned scale that brings its loss to 1.
///
///     min over s   sum_i  exp(s_i) L_i - s_i
///     factor_i = exp(s_i),        s_i <- s_i - lr * (exp(s_i) L_i - 1)
///
/// Factors used in a step are those before its update; they multiply the incoming weights.
final class IMTLL: LossStrategy {
    static let description = PluginDescription(
        id: "craft.IMTLL", version: "1.0.0",
        summary: "Brings all losses to one scale by learned factors.",
        formula: """
            min over s   sum_i  exp(s_i) L_i - s_i
            factor_i = exp(s_i)            s_i <- s_i - lr * (exp(s_i) L_i - 1)
            """,
        reference: "Liu et al., Towards Impartial Multi-task Learning (ICLR 2021).",
        needsABIMinor: 1)

    static let rate = Parameter("lr", default: 0.025, minimum: 0, maximum: 1e6, "Step size of the log-scales.")
    static let initial = Parameter("init", default: 0.0, minimum: -100, maximum: 100, "Log-scales of the first step.")
    static var parameters: [any AnyParameter] { [rate, initial] }
    static let hooks = [lossHook]

    private let rate: Double
    private let initial: Double
    /// By objective; empty before the first step.
    private var logScales: [Double] = []

    init(settings: Settings) throws {
        rate = try settings(Self.rate)
        initial = try settings(Self.initial)
    }

    func factors(_ losses: [Double?]) throws -> [Double?] {
        try remember(&logScales, of: losses.count, from: initial)
        var factors = [Double?](repeating: nil, count: losses.count)
        var next = logScales
        for (slot, loss) in losses.enumerated() {
            guard let loss else { continue }
            let scale = exponential(logScales[slot])
            factors[slot] = scale
            next[slot] -= rate * (scale * loss - 1)
            guard exponential(next[slot]).isFinite, next[slot].isFinite else {
                throw PluginError(
                    "the log-scale of objective \(slot) is \(next[slot]) after a loss of \(loss): use a smaller lr than "
                        + "\(rate); a loss that stays 0 has no scale")
            }
        }
        logScales = next
        return factors
    }

    // MARK: - State: the log-scales

    static let stateVersion: UInt32 = 1

    func save(to output: inout StateWriter) throws { try output.write(logScales) }

    func load(from input: inout StateReader, version: UInt32) throws {
        let read = try input.doubles()
        guard read.allSatisfy(\.isFinite) else {
            throw PluginError("the saved state is damaged: log-scales \(read)")
        }
        logScales = read
    }

    func reset() { logScales = [] }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: IMTLL.self) }
