import GradientMath
public import PluginAPI
import PluginKit

/// The action objective: mean absolute error between predicted and target action chunks.
///
///     L = 1/n * sum |p - t|          dL/dp = sign(p - t) / n          n = B*H*A
///
/// Sums accumulate in Double; sign(0) = 0.
final class BaselineL1: Plugin {
    static let description = PluginDescription(
        id: "craft.BaselineL1", version: "1.0.0",
        summary: "Mean absolute error on normalised action chunks.",
        formula: """
            L     = 1/n * sum |p - t|            n = B * H * A
            dL/dp = sign(p - t) / n              sign(0) = 0
            """,
        reference: "VLA-Adapter's L1 regression head (arXiv 2509.09372) and OpenVLA-OFT (arXiv 2502.19645).")

    static let objective = Parameter("objective", default: "action", "Name of the objective.")
    static let weight = Parameter(
        "weight", default: 1.0, minimum: 0, "Multiplier of the objective when no rule adapts it.")
    static var parameters: [any AnyParameter] { [objective, weight] }

    private struct Objective: HookValues {
        @Input("predicted_actions[b,h,a]") var predicted: ArrayView<Float>
        @Input("target_actions[b,h,a]") var target: ArrayView<Float>
        @Output("loss.{objective}") var loss: Double
        @Output("cotangent.{objective}.predicted_actions[b,h,a]") var cotangent: MutableArrayView<Float>
        @Output("metric.curr_action_l1") var current: Double?
        @Output("metric.next_actions_l1") var next: Double?
    }

    static let hooks = [
        Hook<BaselineL1>(.plan, Output<Double>("weight.{objective}")) { plugin, weight in weight.value = plugin.weight
        },
        Hook<BaselineL1>(.preBackward, values: Objective()) { _, call in
            let error = try meanAbsoluteError(call.predicted, call.target, call.cotangent)
            call.loss = error.all
            call.current = error.first
            call.next = error.rest
        },
    ]

    private let weight: Double

    init(settings: Settings) throws { weight = try settings(Self.weight) }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: BaselineL1.self) }
