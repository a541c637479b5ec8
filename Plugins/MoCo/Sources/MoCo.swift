import GradientMath
public import PluginAPI
import PluginKit

/// Multi-objective gradient correction: every objective's gradient is tracked over the steps, which takes the noise out of
/// the direction that serves all of them.
///
///     h_i = L_i g_i / |g_i|                                               or g_i
///     y_i <- y_i - beta / t^beta_sigma * (y_i - h_i)
///     v <- s(v - gamma / t^gamma_sigma * (Y Y' + rho) v)                 s: softmax, or the projection to the simplex
///     d = sum_i v_i y_i
///
/// `t` counts the steps from 1, `y` starts at 0 and `v` at one over the number of objectives.
final class MoCo: Plugin {
    enum Simplex: String, SettingChoice { case softmax, projection }

    static let description = PluginDescription(
        id: "craft.MoCo", version: "1.0.0",
        summary: "Combines gradients that are tracked over the steps, by weights that are learned.",
        formula: """
            y_i <- y_i - beta / t^beta_sigma * (y_i - h_i)                     h_i = L_i g_i / |g_i|, or g_i
            v <- s(v - gamma / t^gamma_sigma * (Y Y' + rho) v)                 s: softmax, or the projection to the simplex
            d = sum_i v_i y_i
            """,
        reference: "Fernando et al., Mitigating Gradient Bias in Multi-objective Learning (ICLR 2023).",
        needsABIMinor: 1)

    static let beta = Parameter("beta", default: 0.5, minimum: 0, maximum: 1, "Share of the new gradient.")
    static let betaDecay = Parameter("beta_sigma", default: 0.5, minimum: 0, maximum: 10, "How fast beta falls.")
    static let gamma = Parameter("gamma", default: 0.1, minimum: 0, maximum: 1e9, "Step size of the weights.")
    static let gammaDecay = Parameter("gamma_sigma", default: 0.5, minimum: 0, maximum: 10, "How fast gamma falls.")
    static let rho = Parameter("rho", default: 0.0, minimum: 0, maximum: 1e9, "Pull of the weights to equal ones.")
    static let simplex = Parameter(
        "simplex", default: Simplex.softmax, "How the weights are kept positive and of sum 1.")
    static let normalize = Parameter(
        "normalize", default: true, "Whether a gradient is tracked with its loss as its length.")
    static var parameters: [any AnyParameter] {
        [beta, betaDecay, gamma, gammaDecay, rho, simplex, normalize]
    }

    static let hooks = [
        Hook<MoCo>(
            .gradientCombine, Input<ArrayView<Float>>("grads[m,n]"), Input<ArrayView<Double>>("losses[m]"),
            Input<ArrayView<Int64>?>("rows[m]"), Input<Int?>("objectives"),
            Output<MutableArrayView<Float>>("combined[n]")
        ) { strategy, gradients, losses, rows, objectives, combined in
            let rows = try ObjectiveRows(rows, of: objectives, count: gradients.shape[0])
            try strategy.combine(gradients, rows, losses: try rows.finite(losses), into: combined)
        }
    ]

    private let beta: Double
    private let betaDecay: Double
    private let gamma: Double
    private let gammaDecay: Double
    private let rho: Double
    private let simplex: Simplex
    private let normalize: Bool
    /// Steps so far.
    private var steps: Int64 = 0
    /// `v`, by objective; empty before the first step.
    private var shares: [Double] = []
    /// `Y` `[M,n]`, by objective; empty before the first step.
    private var tracked: [Float] = []

    init(settings: Settings) throws {
        beta = try settings(Self.beta)
        betaDecay = try settings(Self.betaDecay)
        gamma = try settings(Self.gamma)
        gammaDecay = try settings(Self.gammaDecay)
        rho = try settings(Self.rho)
        simplex = try settings(Self.simplex)
        normalize = try settings(Self.normalize)
    }

    private func combine(
        _ gradients: ArrayView<Float>, _ rows: ObjectiveRows, losses: [Double?], into combined: MutableArrayView<Float>
    ) throws {
        let (m, n) = (rows.objectives, gradients.shape[1])
        try remember(&shares, of: m, from: 1 / Double(m))
        if tracked.isEmpty { tracked = [Float](repeating: 0, count: m * n) }
        guard tracked.count == m * n else {
            throw PluginError(
                "the state holds \(tracked.count) tracked values, but this run has \(m) objectives of \(n): it was saved "
                    + "with another model or other objectives")
        }
        steps += 1
        try track(gradients, rows, losses)
        try weigh(n)
        let result = combined.elements
        tracked.withUnsafeBufferPointer { y in
            for column in 0..<n {
                var sum = 0.0
                for objective in 0..<m { sum += shares[objective] * Double(y[objective * n + column]) }
                result[column] = Float(sum)
            }
        }
    }

    /// `y_i <- y_i - rate (y_i - h_i)` of the objectives that have a gradient in this step.
    private func track(_ gradients: ArrayView<Float>, _ rows: ObjectiveRows, _ losses: [Double?]) throws {
        let n = gradients.shape[1]
        let rate = beta / power(Double(steps), betaDecay)
        let values = gradients.elements
        for (row, objective) in rows.numbers.enumerated() {
            var square = 0.0
            for column in 0..<n {
                let value = Double(values[row * n + column])
                square += value * value
            }
            guard square.isFinite else { throw PluginError("the gradient of objective \(objective) is not finite") }
            // A gradient of zero has no direction to give a length to.
            let scale = !normalize || square == 0 ? 1 : (losses[objective] ?? 0) / square.squareRoot()
            tracked.withUnsafeMutableBufferPointer { y in
                for column in 0..<n {
                    let old = Double(y[objective * n + column])
                    y[objective * n + column] = Float(old - rate * (old - scale * Double(values[row * n + column])))
                }
            }
        }
    }

    /// A step of the weights along the tracked gradients' inner products.
    private func weigh(_ n: Int) throws {
        let m = shares.count
        let products = tracked.withUnsafeBufferPointer { y in
            SymmetricMatrix(size: m) { i, j in
                var sum = 0.0
                for column in 0..<n { sum += Double(y[i * n + column]) * Double(y[j * n + column]) }
                return sum
            }
        }
        let rate = gamma / power(Double(steps), gammaDecay)
        let pulls = products.times(shares)
        let moved = shares.indices.map { shares[$0] - rate * (pulls[$0] + rho * shares[$0]) }
        guard moved.allSatisfy(\.isFinite) else { throw PluginError("the weights are \(moved): use a smaller gamma") }
        shares = simplex == .softmax ? softmax(moved) : projectOntoSimplex(moved)
    }

    // MARK: - State: the steps, the weights and the tracked gradients

    static let stateVersion: UInt32 = 1

    func save(to output: inout StateWriter) throws {
        try output.write(steps)
        try output.write(shares)
        try output.write(Int64(tracked.count))
        for value in tracked { try output.write(Double(value)) }
    }

    func load(from input: inout StateReader, version: UInt32) throws {
        let count = try input.integer()
        let weights = try input.doubles()
        let size = try input.integer()
        guard (0..<1 << 60).contains(count), weights.allSatisfy(\.isFinite), (0..<1 << 40).contains(size) else {
            throw PluginError("the saved state is damaged: \(count) steps, weights \(weights), \(size) tracked values")
        }
        var values: [Float] = []
        for _ in 0..<size { values.append(Float(try input.double())) }
        guard values.allSatisfy(\.isFinite) else {
            throw PluginError("the saved state is damaged: a tracked gradient is not finite")
        }
        (steps, shares, tracked) = (count, weights, values)
    }

    func reset() {
        steps = 0
        (shares, tracked) = ([], [])
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: MoCo.self) }
