public import PluginAPI
import PluginKit

/// The augmented Lagrangian of a constraint `L <= budget`: a multiplier and a quadratic penalty together.
///
///     weight in the step:     max(0, lambda + rho (L_t - budget))         of this step's own violation
///     after it:               lambda <- clip(lambda + rho (L_t - budget), 0, max)
///     then, if L_t - budget > tolerance:     rho <- min(rho * growth + increment, max_penalty)
///
/// The multiplier is a value of the run (`lambda.{objective}`); the state here is `rho`.
final class AugmentedLagrangian: Plugin {
    enum Violation: String, SettingChoice { case absolute, relative }

    static let description = PluginDescription(
        id: "craft.AugmentedLagrangian", version: "1.0.0",
        summary: "Keeps an objective within a budget by a multiplier and a growing quadratic penalty.",
        formula: """
            weight in the step:    max(0, lambda + rho (L_t - budget))              of this step's own violation
            after it:              lambda <- clip(lambda + rho (L_t - budget), 0, max)
            then, if L_t - budget > tolerance:      rho <- min(rho * growth + increment, max_penalty)
            """,
        reference: """
            Bertsekas, Constrained Optimization and Lagrange Multiplier Methods (1982); Cooper (arXiv 2504.01212).
            """)

    static let objective = Parameter("objective", default: "retention", "The objective that has the budget.")
    static let budget = Parameter("budget", default: 0.1, minimum: 0, "Largest value the objective should have.")
    static let penalty = Parameter("penalty", default: 1.0, minimum: 0, "Penalty coefficient of the first step.")
    static let growth = Parameter(
        "growth", default: 1.01, minimum: 1, "Factor of the coefficient after a step that violates the constraint.")
    static let increment = Parameter(
        "increment", default: 0.0, minimum: 0, "Added to the coefficient after a step that violates the constraint.")
    static let tolerance = Parameter("tolerance", default: 0.0, minimum: 0, "Violation that does not count as one.")
    static let restart = Parameter(
        "restart", default: false, "Whether the coefficient starts anew when the constraint is met.")
    static let largestPenalty = Parameter("max_penalty", default: 1e4, minimum: 0, "Largest penalty coefficient.")
    static let violation = Parameter(
        "violation", default: Violation.absolute, "The violation's unit: the loss's, or a share of the budget.")
    static let initial = Parameter("init", default: 0.0, minimum: 0, "Multiplier of the first step.")
    static let maximum = Parameter("max", default: Double.infinity, minimum: 0, "Largest multiplier.")
    static var parameters: [any AnyParameter] {
        [
            objective, budget, penalty, growth, increment, tolerance, restart, largestPenalty, violation, initial,
            maximum,
        ]
    }

    private struct Penalty: HookValues {
        @Input("weights[k,m]") var weights: ArrayView<Double>
        @Input("index.{objective}") var index: Int?
        @Input("loss.{objective}") var loss: Double?
        @Input("lambda.{objective}") var lambda: Double?
        @Output("weights[k,m]") var combined: MutableArrayView<Double>
        @Output("metric.{objective}_effective_lambda") var effective: Double?
    }

    private struct Update: HookValues {
        @Input("loss.{objective}") var loss: Double?
        @Input("lambda.{objective}") var lambda: Double?
        @Output("lambda.{objective}") var next: Double?
        @Output("metric.{objective}_budget") var budget: Double?
        @Output("metric.{objective}_penalty") var coefficient: Double?
        @Output("metric.{objective}_over_budget") var ratio: Double?
    }

    static let hooks = [
        Hook<AugmentedLagrangian>(.plan, Output<Double>("lambda.{objective}")) { rule, lambda in
            lambda.value = rule.initial
        },
        Hook<AugmentedLagrangian>(.gradientCombine, values: Penalty()) { rule, call in
            let (weights, combined) = (call.weights, call.combined)
            combined.assign(weights)
            // Without the objective there is no constraint.
            guard let index = call.index, let loss = call.loss else { return }
            let lambda = call.lambda ?? rule.initial
            guard (0..<weights.shape[1]).contains(index) else {
                throw PluginError("the objective's row is \(index), but there are \(weights.shape[1]) objectives")
            }
            let effective = try rule.next(lambda, loss: loss)
            // Added to what a strategy earlier in the list may have put on top of the multiplier.
            for block in 0..<weights.shape[0] { combined[block, index] += effective - lambda }
            call.effective = effective
        },
        Hook<AugmentedLagrangian>(.postStep, values: Update()) { rule, call in
            guard let loss = call.loss else { return }
            call.next = try rule.next(call.lambda ?? rule.initial, loss: loss)
            call.budget = rule.budget
            call.coefficient = rule.coefficient
            if rule.budget > 0 { call.ratio = loss / rule.budget }
            rule.grow(after: rule.excess(loss))
        },
    ]

    private let budget: Double
    private let penalty: Double
    private let growth: Double
    private let increment: Double
    private let tolerance: Double
    private let restarts: Bool
    private let largestPenalty: Double
    private let violation: Violation
    private let initial: Double
    private let maximum: Double
    /// `rho`
    private var coefficient: Double

    init(settings: Settings) throws {
        budget = try settings(Self.budget)
        penalty = try settings(Self.penalty)
        growth = try settings(Self.growth)
        increment = try settings(Self.increment)
        tolerance = try settings(Self.tolerance)
        restarts = try settings(Self.restart)
        largestPenalty = try settings(Self.largestPenalty)
        violation = try settings(Self.violation)
        initial = try settings(Self.initial)
        maximum = try settings(Self.maximum)
        coefficient = penalty
        guard initial <= maximum else { throw PluginError("init=\(initial) is above max=\(maximum)") }
        guard penalty <= largestPenalty else {
            throw PluginError("penalty=\(penalty) is above max_penalty=\(largestPenalty)")
        }
        guard violation != .relative || budget > 0 else {
            throw PluginError("violation=relative divides by the budget: give a budget above 0")
        }
        guard [budget, penalty, growth, increment, tolerance, largestPenalty, initial].allSatisfy(\.isFinite) else {
            throw PluginError("every setting but max must be finite")
        }
    }

    private func excess(_ loss: Double) -> Double {
        violation == .absolute ? loss - budget : loss / budget - 1
    }

    private func next(_ lambda: Double, loss: Double) throws -> Double {
        guard loss.isFinite, lambda.isFinite else {
            throw PluginError("loss \(loss) and multiplier \(lambda) must be finite")
        }
        let next = min(max(lambda + coefficient * excess(loss), 0), maximum)
        guard next.isFinite else { throw PluginError("the multiplier grew to \(next): set max, or a smaller penalty") }
        return next
    }

    private func grow(after excess: Double) {
        if excess > tolerance {
            coefficient = min(coefficient * growth + increment, largestPenalty)
        } else if restarts {
            coefficient = penalty
        }
    }

    // MARK: - State: the penalty coefficient

    static let stateVersion: UInt32 = 1

    func save(to output: inout StateWriter) throws { try output.write(coefficient) }

    func load(from input: inout StateReader, version: UInt32) throws {
        let value = try input.double()
        guard value.isFinite, value >= 0 else { throw PluginError("the saved state is damaged: coefficient \(value)") }
        coefficient = value
    }

    func reset() { coefficient = penalty }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? {
    pluginTable(of: AugmentedLagrangian.self)
}
