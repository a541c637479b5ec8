import GradientMath
public import PluginAPI
import PluginKit

/// Smooth Tchebycheff scalarisation: nearly all weight to the objective that is furthest from its ideal, by a maximum that
/// has a derivative.
///
///     min  mu log sum_i exp(y_i / mu),       y_i = p_i (L_i - z_i)
///     factor_i = p_i softmax(y / mu)_i
///
/// The factors multiply the incoming weights.
final class STCH: LossStrategy {
    static let description = PluginDescription(
        id: "craft.STCH", version: "1.0.0",
        summary: "Follows the objective furthest from its ideal, by a smooth maximum.",
        formula: """
            min  mu log sum_i exp(y_i / mu),       y_i = p_i (L_i - z_i)
            factor_i = p_i softmax(y / mu)_i
            """,
        reference: "Lin et al., Smooth Tchebycheff Scalarization for Multi-Objective Optimization (arXiv 2402.19078).",
        needsABIMinor: 1)

    static let smoothness = Parameter(
        "mu", default: 0.1, minimum: 1e-9, maximum: 1e9, "Smoothness of the maximum, in the losses' unit.")
    static let preference = Parameter(
        "preference", default: "mean",
        "The preferences p: numbers separated by spaces, or mean for equal ones of sum 1.")
    static let ideal = Parameter(
        "ideal", default: "0", "The losses' ideal values z: one number, or one per objective, separated by spaces.")
    static var parameters: [any AnyParameter] { [smoothness, preference, ideal] }
    static let hooks = [lossHook]

    private let smoothness: Double
    /// Equal ones without.
    private let preference: NumberList?
    private let ideal: NumberList

    init(settings: Settings) throws {
        smoothness = try settings(Self.smoothness)
        let text = try settings(Self.preference)
        preference = text == "mean" ? nil : try NumberList("preference", text)
        ideal = try NumberList("ideal", settings(Self.ideal))
        guard preference?.given.allSatisfy({ $0 >= 0 }) != false else {
            throw PluginError("preference='\(text)': a preference is negative")
        }
    }

    func factors(_ losses: [Double?]) throws -> [Double?] {
        let present = losses.indices.filter { losses[$0] != nil }
        let preferences =
            try preference?.values(of: losses.count) ?? losses.map { _ in 1 / Double(max(present.count, 1)) }
        let ideals = try ideal.values(of: losses.count)
        let distances = present.map { preferences[$0] * ((losses[$0] ?? 0) - ideals[$0]) }
        let furthest = distances.max() ?? 0
        // Below the largest one before the division, which cannot overflow then.
        let shares = softmax(distances.map { ($0 - furthest) / smoothness })
        var factors = [Double?](repeating: nil, count: losses.count)
        for (index, slot) in present.enumerated() { factors[slot] = preferences[slot] * shares[index] }
        return factors
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: STCH.self) }
