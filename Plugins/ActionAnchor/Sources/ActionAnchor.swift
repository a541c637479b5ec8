import GradientMath
public import PluginAPI
import PluginKit

/// Action distillation: how far the predicted actions are from those of the initial policy on the same batch.
///
///     l1:  L = 1/n * sum |p - p~|          mse:  L = 1/n * sum (p - p~)^2          n = B*H*A
///
/// p~: actions under the initial weights, head and all. Sums accumulate in Double.
final class ActionAnchor: Plugin {
    enum Distance: String, SettingChoice { case l1, mse }

    static let description = PluginDescription(
        id: "craft.ActionAnchor", version: "1.0.0",
        summary: "Penalises drift of the actions from those of the initial policy.",
        formula: """
            l1:   L = 1/n * sum |p - p~|         dL/dp = sign(p - p~) / n
            mse:  L = 1/n * sum (p - p~)^2       dL/dp = 2 (p - p~) / n          n = B * H * A
            """,
        reference: "Li and Hoiem, Learning without Forgetting (arXiv 1606.09282), on actions.", needsABIMinor: 2)

    static let objective = Parameter("objective", default: "action_anchor", "Name of the objective.")
    static let weight = Parameter(
        "weight", default: 0.1, minimum: 0, "Multiplier of the objective when no rule adapts it.")
    static let distance = Parameter("distance", default: Distance.l1, "Absolute or squared difference.")
    static var parameters: [any AnyParameter] { [objective, weight, distance] }

    static let hooks = [
        Hook<ActionAnchor>(.plan, Output<Double>("weight.{objective}")) { plugin, weight in weight.value = plugin.weight
        },
        Hook<ActionAnchor>(
            .preBackward, Input<ArrayView<Float>>("predicted_actions[b,h,a]"),
            Input<ArrayView<Float>>("anchor_actions[b,h,a]"), Output<Double>("loss.{objective}"),
            Output<MutableArrayView<Float>>("cotangent.{objective}.predicted_actions[b,h,a]")
        ) { plugin, predicted, anchor, loss, cotangent in
            loss.value =
                switch plugin.distance {
                case .l1: try meanAbsoluteError(predicted, anchor, cotangent).all
                case .mse: try meanSquaredError(predicted, anchor, cotangent)
                }
        },
    ]

    private let weight: Double
    private let distance: Distance

    init(settings: Settings) throws {
        weight = try settings(Self.weight)
        distance = try settings(Self.distance)
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? {
    pluginTable(of: ActionAnchor.self)
}
