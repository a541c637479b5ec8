public import PluginAPI
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

    /// What the budget is a number of.
    enum BudgetUnit: String, SettingChoice {
        case loss
        case anchorVariance = "anchor_variance"
    }

    static let description = PluginDescription(
        id: "craft.CRaFTDual", version: "1.0.0",
        summary: "Adapts a multiplier so that its objective stays within a budget.",
        formula: """
            ascent       lambda <- clip( lambda + lr * (L - budget),                    0, max )
            normalised   lambda <- clip( lambda + lr * clip(L / budget - 1, -1, 1),     0, max )
            """,
        reference: """
            Projected gradient ascent on the Lagrangian, as in CRaFT; Gallego-Posada et al., Cooper (arXiv \
            2504.01212).
            """)

    static let objective = Parameter("objective", default: "retention", "The objective that has the budget.")
    static let budget = Parameter("budget", default: 0.1, minimum: 0, "Largest value the objective should have.")
    static let rate = Parameter("lr", default: 0.01, minimum: 0, "Step size of the multiplier.")
    static let initial = Parameter("init", default: 0.0, minimum: 0, "Multiplier of the first step.")
    static let maximum = Parameter("max", default: Double.infinity, minimum: 0, "Largest multiplier.")
    static let rule = Parameter("rule", default: Rule.ascent, "How the multiplier follows the violation.")
    static let unit = Parameter(
        "budget_unit", default: BudgetUnit.loss,
        "The budget's unit: the loss's, or the variance of the anchor features.")
    static var parameters: [any AnyParameter] { [objective, budget, rate, initial, maximum, rule, unit] }

    private struct Ascent: HookValues {
        @Input("loss.{objective}") var loss: Double?
        @Input("lambda.{objective}") var lambda: Double?
        @Input("metric.{objective}_anchor_variance") var variance: Double?
        @Output("lambda.{objective}") var next: Double?
        @Output("metric.{objective}_budget") var budget: Double?
        @Output("metric.{objective}_over_budget") var ratio: Double?
    }

    static let hooks = [
        Hook<CRaFTDual>(.plan, Output<Double>("lambda.{objective}")) { dual, lambda in lambda.value = dual.initial },
        Hook<CRaFTDual>(.postStep, values: Ascent()) { dual, call in
            // Without the objective there is no constraint.
            guard let loss = call.loss else { return }
            let limit = try dual.limit(anchorVariance: call.variance)
            call.next = try dual.next(call.lambda ?? dual.initial, loss: loss, limit: limit)
            call.budget = limit
            if limit > 0 { call.ratio = loss / limit }
        },
    ]

    private let budget: Double
    private let rate: Double
    private let initial: Double
    private let maximum: Double
    private let rule: Rule
    private let unit: BudgetUnit

    init(settings: Settings) throws {
        budget = try settings(Self.budget)
        rate = try settings(Self.rate)
        initial = try settings(Self.initial)
        maximum = try settings(Self.maximum)
        rule = try settings(Self.rule)
        unit = try settings(Self.unit)
        guard initial <= maximum else { throw PluginError("init=\(initial) is above max=\(maximum)") }
        guard rule != .normalised || budget > 0 else {
            throw PluginError("rule=normalised divides by the budget: give a budget above 0")
        }
        guard budget.isFinite, rate.isFinite, initial.isFinite else {
            throw PluginError("budget, lr and init must be finite")
        }
    }

    /// The budget in the loss's unit.
    private func limit(anchorVariance: Double?) throws -> Double {
        guard unit == .anchorVariance else { return budget }
        guard let anchorVariance, anchorVariance > 0, anchorVariance.isFinite else {
            throw PluginError(
                "budget_unit=anchor_variance needs the variance of the objective's anchor features, which "
                    + (anchorVariance.map { "is \($0)" } ?? "no plugin gives: AnchorVariants does"))
        }
        return budget * anchorVariance
    }

    /// The multiplier after a step with this loss.
    private func next(_ lambda: Double, loss: Double, limit: Double) throws -> Double {
        guard loss.isFinite, lambda.isFinite else {
            throw PluginError("loss \(loss) and multiplier \(lambda) must be finite")
        }
        let change =
            switch rule {
            case .ascent: loss - limit
            case .normalised: min(max(loss / limit - 1, -1), 1)
            }
        let next = min(max(lambda + rate * change, 0), maximum)
        guard next.isFinite else { throw PluginError("the multiplier grew to \(next): use a smaller lr, or set max") }
        return next
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: CRaFTDual.self) }
