import GradientMath
public import PluginAPI
import PluginKit

/// Alpha-fair resource allocation: the step that maximises the objectives' alpha-fair utility of their first-order gains.
///
///     (G w)_i = w_i^(-1/alpha),   w > 0
///
/// alpha = 1 is the Nash bargaining solution; larger ones favour the objective that gains least.
final class FairGrad: GramStrategy {
    static let description = PluginDescription(
        id: "craft.FairGrad", version: "1.0.0",
        summary: "Shares the step's gain among the objectives alpha-fairly.",
        formula: """
            (G w)_i = w_i^(-1/alpha),    w > 0
            """,
        reference: "Ban and Ji, Fair Resource Allocation in Multi-Task Learning (arXiv 2402.15638).")

    static let alpha = Parameter(
        "alpha", default: 1.0, minimum: 0.1, maximum: 100,
        "Kind of fairness: 1 proportional, larger towards the worst off.")
    static var parameters: [any AnyParameter] { [alpha, BlockScope.parameter] }
    static let hooks = gramHooks

    let scope: BlockScope
    private let alpha: Double

    init(settings: Settings) throws {
        scope = try settings(BlockScope.parameter)
        alpha = try settings(Self.alpha)
    }

    func weights(_ gram: Gram, _ incoming: [Double], block: Int) throws -> [Double] {
        // Without a solution the weights stay as they came.
        try gram.alphaFairWeights(power: 1 / alpha) ?? incoming
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: FairGrad.self) }
