import PluginAPI
import PluginKit

/// Dual ascent on the multiplier of a constraint `L <= budget`.
///
///     ascent       lambda <- clip(lambda + lr * (L - budget),                     0, max)
///     normalised   lambda <- clip(lambda + lr * clip(L / budget - 1, -1, 1),      0, max)
///
/// The plain rule rises in proportion to the violation but falls only in proportion to the budget, so it winds up after
/// a large first loss; the normalised one moves at most `lr` per step either way. The multiplier is a value of the run
/// (`lambda.{objective}`), not state of this plugin.
final class CRaFTDual: Plugin {
    enum Rule: String, SettingChoice { case ascent, normalised }

    static let description = PluginDescription(
        id: "craft.CRaFTDual", version: "1.0.0",
        summary: "Adapts a multiplier so that its objective stays within a budget.")

    static let objective = Parameter("objective", default: "retention", "The objective that has the budget.")
    static let budget = Parameter("budget", default: 0.1, minimum: 0, "Largest value the objective should have.")
    static let rate = Parameter("lr", default: 0.01, minimum: 0, "Step size of the multiplier.")
    static let initial = Parameter("init", default: 0.0, minimum: 0, "Multiplier of the first step.")
    static let maximum = Parameter("max", default: Double.infinity, minimum: 0, "Largest multiplier.")
    static let rule = Parameter("rule", default: Rule.ascent, "How the multiplier follows the violation.")
    static var parameters: [any AnyParameter] { [objective, budget, rate, initial, maximum, rule] }

    static let hooks = [
        Hook<CRaFTDual>(.plan, Output<Double>("lambda.{objective}")) { dual, lambda in lambda.value = dual.initial },
        Hook<CRaFTDual>(
            .postStep, Input<Double>("loss.{objective}"), Input<Double>("lambda.{objective}"),
            Output<Double>("lambda.{objective}"), Output<Double>("metric.{objective}_budget"),
            Output<Double?>("metric.{objective}_over_budget")
        ) { dual, loss, lambda, next, budget, ratio in
            next.value = dual.next(lambda, loss: loss)
            budget.value = dual.budget
            if dual.budget > 0 { ratio.value = loss / dual.budget }
        },
    ]

    private let budget: Double
    private let rate: Double
    private let initial: Double
    private let maximum: Double
    private let rule: Rule

    init(settings: Settings) throws {
        budget = try settings(Self.budget)
        rate = try settings(Self.rate)
        initial = try settings(Self.initial)
        maximum = try settings(Self.maximum)
        rule = try settings(Self.rule)
        guard initial <= maximum else { throw PluginError("init=\(initial) is above max=\(maximum)") }
        guard rule != .normalised || budget > 0 else {
            throw PluginError("rule=normalised divides by the budget: give a budget above 0")
        }
        guard budget.isFinite, rate.isFinite, initial.isFinite else {
            throw PluginError("budget, lr and init must be finite")
        }
    }

    /// The multiplier after a step with this loss.
    private func next(_ lambda: Double, loss: Double) -> Double {
        let change =
            switch rule {
            case .ascent: loss - budget
            case .normalised: min(max(loss / budget - 1, -1), 1)
            }
        return min(max(lambda + rate * change, 0), maximum)
    }
}
