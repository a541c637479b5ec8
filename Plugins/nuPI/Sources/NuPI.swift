public import PluginAPI
import PluginKit

/// A multiplier that follows a constraint's violation as a PI controller does: besides the accumulated violation, how it
/// has changed.
///
///     e_t     = L_t - budget
///     xi_t    = nu xi_{t-1} + (1 - nu) e_t
///     lambda <- clip(lambda + lr (ki e_t + kp (xi_t - xi_{t-1})), 0, max)
///
/// `kp = 0` is dual ascent; `kp = ki`, `nu = 0` the optimistic gradient method. The multiplier is a value of the run
/// (`lambda.{objective}`); the state here is `xi`.
final class NuPI: Plugin {
    /// What the average is in the first step, and after it.
    enum Start: String, SettingChoice {
        /// No proportional part in the first step; `xi_0 = 0` after it, as Cooper's code has it.
        case sgd
        /// `xi_{-1} = 0`.
        case zeros
        /// No proportional part in the first step; `xi_0 = e_0` after it, as the paper has it.
        case error
    }

    enum Violation: String, SettingChoice { case absolute, relative }

    static let description = PluginDescription(
        id: "craft.nuPI", version: "1.0.0",
        summary: "Adapts a multiplier to a budget with a PI controller, which damps oscillation.",
        formula: """
            e_t     = L_t - budget                             violation=relative:  L_t / budget - 1
            xi_t    = nu xi_(t-1) + (1 - nu) e_t
            lambda <- clip(lambda + lr (ki e_t + kp (xi_t - xi_(t-1))), 0, max)
            """,
        reference: """
            Sohrabi et al., On PI Controllers for Updating Lagrange Multipliers (arXiv 2406.04558); Cooper (arXiv \
            2504.01212).
            """)

    static let objective = Parameter("objective", default: "retention", "The objective that has the budget.")
    static let budget = Parameter("budget", default: 0.1, minimum: 0, "Largest value the objective should have.")
    static let rate = Parameter("lr", default: 0.01, minimum: 0, "Step size of the multiplier.")
    static let proportional = Parameter("kp", default: 1.0, minimum: 0, "Gain on the change of the averaged violation.")
    static let integral = Parameter("ki", default: 1.0, minimum: 0, "Gain on the violation.")
    static let nu = Parameter("nu", default: 0.0, minimum: -1, maximum: 1, "Memory of the violation's average.")
    static let start = Parameter("start", default: Start.sgd, "How the average begins.")
    static let violation = Parameter(
        "violation", default: Violation.absolute, "The violation's unit: the loss's, or a share of the budget.")
    static let initial = Parameter("init", default: 0.0, minimum: 0, "Multiplier of the first step.")
    static let maximum = Parameter("max", default: Double.infinity, minimum: 0, "Largest multiplier.")
    static var parameters: [any AnyParameter] {
        [objective, budget, rate, proportional, integral, nu, start, violation, initial, maximum]
    }

    private struct Update: HookValues {
        @Input("loss.{objective}") var loss: Double?
        @Input("lambda.{objective}") var lambda: Double?
        @Output("lambda.{objective}") var next: Double?
        @Output("metric.{objective}_budget") var budget: Double?
        @Output("metric.{objective}_over_budget") var ratio: Double?
    }

    static let hooks = [
        Hook<NuPI>(.plan, Output<Double>("lambda.{objective}")) { rule, lambda in lambda.value = rule.initial },
        Hook<NuPI>(.postStep, values: Update()) { rule, call in
            // Without the objective there is no constraint.
            guard let loss = call.loss else { return }
            call.next = try rule.next(call.lambda ?? rule.initial, loss: loss)
            call.budget = rule.budget
            if rule.budget > 0 { call.ratio = loss / rule.budget }
        },
    ]

    private let budget: Double
    private let rate: Double
    private let proportional: Double
    private let integral: Double
    private let nu: Double
    private let start: Start
    private let violation: Violation
    private let initial: Double
    private let maximum: Double
    private var average = 0.0
    private var hasBegun = false

    init(settings: Settings) throws {
        budget = try settings(Self.budget)
        rate = try settings(Self.rate)
        proportional = try settings(Self.proportional)
        integral = try settings(Self.integral)
        nu = try settings(Self.nu)
        start = try settings(Self.start)
        violation = try settings(Self.violation)
        initial = try settings(Self.initial)
        maximum = try settings(Self.maximum)
        guard initial <= maximum else { throw PluginError("init=\(initial) is above max=\(maximum)") }
        guard violation != .relative || budget > 0 else {
            throw PluginError("violation=relative divides by the budget: give a budget above 0")
        }
        guard [budget, rate, proportional, integral, initial].allSatisfy(\.isFinite) else {
            throw PluginError("budget, lr, kp, ki and init must be finite")
        }
    }

    /// The multiplier after a step with this loss.
    private func next(_ lambda: Double, loss: Double) throws -> Double {
        guard loss.isFinite, lambda.isFinite else {
            throw PluginError("loss \(loss) and multiplier \(lambda) must be finite")
        }
        let error = violation == .absolute ? loss - budget : loss / budget - 1
        var change = integral * error
        if hasBegun || start == .zeros {
            let following = nu * average + (1 - nu) * error
            change += proportional * (following - average)
            average = following
        } else {
            average = start == .error ? error : 0
        }
        hasBegun = true
        let next = min(max(lambda + rate * change, 0), maximum)
        guard next.isFinite else { throw PluginError("the multiplier grew to \(next): use a smaller lr, or set max") }
        return next
    }

    // MARK: - State: the averaged violation

    static let stateVersion: UInt32 = 1

    func save(to output: inout StateWriter) throws {
        try output.write(Int64(hasBegun ? 1 : 0))
        try output.write(average)
    }

    func load(from input: inout StateReader, version: UInt32) throws {
        let begun = try input.integer()
        let value = try input.double()
        guard begun == 0 || begun == 1, value.isFinite else {
            throw PluginError("the saved state is damaged: \(begun), \(value)")
        }
        hasBegun = begun == 1
        average = value
    }

    func reset() {
        hasBegun = false
        average = 0
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: NuPI.self) }
