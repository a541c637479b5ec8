import GradientMath
public import PluginAPI
import PluginKit

/// Experience replay: the action objective on earlier demonstrations, which come in a data stream, as an objective of its own.
///
///     L = 1/n * sum |p - t|          dL/dp = sign(p - t) / n          n = B*H*A
final class Replay: Plugin {
    static let description = PluginDescription(
        id: "craft.Replay", version: "1.0.0",
        summary: "Mean absolute error of actions on demonstrations of a data stream: earlier tasks, kept in memory.",
        formula: """
            L     = 1/n * sum |p - t|            n = B * H * A
            dL/dp = sign(p - t) / n              sign(0) = 0
            """,
        reference: "Rolnick et al., Experience Replay for Continual Learning (arXiv 1811.11682).", needsABIMinor: 2)

    static let objective = Parameter("objective", default: "replay", "Name of the objective.")
    static let weight = Parameter(
        "weight", default: 1.0, minimum: 0, "Multiplier of the objective when no rule adapts it.")
    static let stream = Parameter(
        "stream", default: "replay", "Name of the data stream: --stream NAME=demonstrations:FOLDER.")
    static let interval = Parameter(
        "interval", default: 1, minimum: 1, maximum: 1e9, "Steps from one batch of the memory to the next.")
    static let start = Parameter("start", default: 0, minimum: 0, maximum: 1e12, "First step with the memory.")
    static let batch = Parameter(
        "batch", default: 0, minimum: 0, maximum: 65_536, "Samples in a batch; 0 takes the run's batch size.")
    static var parameters: [any AnyParameter] { [objective, weight, stream, interval, start, batch] }

    static let hooks = [
        Hook<Replay>(
            .plan, Output<Double>("weight.{objective}"), Output<StreamKind>("stream.{stream}.kind"),
            Output<Int>("stream.{stream}.interval"), Output<Int>("stream.{stream}.start"),
            Output<Int>("stream.{stream}.batch")
        ) { plugin, weight, kind, interval, start, batch in
            weight.value = plugin.weight
            kind.value = .demonstrations
            (interval.value, start.value, batch.value) = (plugin.interval, plugin.start, plugin.batch)
        },
        Hook<Replay>(
            .preBackward, Input<ArrayView<Float>>("stream.{stream}.predicted_actions[b,h,a]"),
            Input<ArrayView<Float>>("stream.{stream}.target_actions[b,h,a]"), Output<Double>("loss.{objective}"),
            Output<MutableArrayView<Float>>("cotangent.{objective}.stream.{stream}.predicted_actions[b,h,a]"),
            Output<Double?>("metric.{objective}_curr_action_l1")
        ) { _, predicted, target, loss, cotangent, current in
            let error = try meanAbsoluteError(predicted, target, cotangent)
            loss.value = error.all
            current.value = error.first
        },
    ]

    private let weight: Double
    private let interval: Int
    private let start: Int
    private let batch: Int

    init(settings: Settings) throws {
        weight = try settings(Self.weight)
        interval = try settings(Self.interval)
        start = try settings(Self.start)
        batch = try settings(Self.batch)
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: Replay.self) }
