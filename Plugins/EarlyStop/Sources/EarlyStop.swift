public import PluginAPI
import PluginKit

/// Ends a run when a measure on held-out data, or a loss, says so.
///
///     stop = 1  measure < floor                      2  measure > ceiling
///            3  worse than the first by more than drop
///            4  patience evaluations without a gain of more than min_delta
///            5  loss > loss_ceiling in loss_steps steps on end
///
/// The run is saved first. An evaluation before the first step counts as the first one and never ends a run.
final class EarlyStop: Plugin {
    enum Goal: String, SettingChoice { case max, min }

    static let description = PluginDescription(
        id: "craft.EarlyStop", version: "1.0.0",
        summary: "Ends the run at a floor or without progress of a measure, or at a ceiling of a loss.",
        formula: """
            stop = 1  measure < floor                      2  measure > ceiling
                   3  worse than the first by more than drop
                   4  patience evaluations without a gain of more than min_delta
                   5  loss > loss_ceiling in loss_steps steps on end
            """,
        reference: "Prechelt, Early Stopping - But When? (Neural Networks: Tricks of the Trade, 1998).",
        needsABIMinor: 2)

    static let metric = Parameter(
        "metric", default: "held_out_answer_accuracy", "The measure to watch, by its internal name.")
    static let goal = Parameter("goal", default: Goal.max, "Whether more of it is better, or less.")
    static let floor = Parameter("floor", default: -Double.infinity, "Least value with which the run goes on.")
    static let ceiling = Parameter("ceiling", default: Double.infinity, "Greatest value with which the run goes on.")
    static let drop = Parameter(
        "drop", default: Double.infinity, minimum: 0, "How much worse than the first value it may become.")
    static let patience = Parameter(
        "patience", default: 3, minimum: 0, maximum: 1e9, "Evaluations that may pass without a gain; 0 for any number.")
    static let minDelta = Parameter("min_delta", default: 0.0, minimum: 0, "What counts as a gain is more than this.")
    static let objective = Parameter("objective", default: "retention", "The objective whose loss has the ceiling.")
    static let lossCeiling = Parameter(
        "loss_ceiling", default: Double.infinity, "Greatest loss with which the run goes on.")
    static let lossSteps = Parameter(
        "loss_steps", default: 1, minimum: 1, maximum: 1e9, "Steps on end above the ceiling that end the run.")
    static var parameters: [any AnyParameter] {
        [metric, goal, floor, ceiling, drop, patience, minDelta, objective, lossCeiling, lossSteps]
    }

    private struct Evaluated: HookValues {
        @Input("step") var step: Int
        @Input("eval.{metric}") var value: Double?
        @Output("stop") var stop: Double?
        @Output("metric.{metric}_best") var best: Double?
    }

    private struct Step: HookValues {
        @Input("loss.{objective}") var loss: Double?
        @Output("stop") var stop: Double?
    }

    static let hooks = [
        Hook<EarlyStop>(.evaluate, values: Evaluated()) { plugin, call in
            guard plugin.watchesMeasure else { return }
            guard let value = call.value else {
                throw PluginError(
                    "this run does not measure '\(plugin.metric)': give it held-out data, or name what it measures with "
                        + "metric=")
            }
            guard value.isFinite else { throw PluginError("eval.\(plugin.metric) is \(value): it must be finite") }
            let reason = plugin.reason(for: value)
            if call.step > 0 { call.stop = reason }
            call.best = plugin.goal == .max ? plugin.best : -plugin.best
        },
        Hook<EarlyStop>(.postStep, values: Step()) { plugin, call in
            guard let loss = call.loss else { return }
            guard loss.isFinite else { throw PluginError("the loss is \(loss): it must be finite") }
            plugin.stepsAbove = loss > plugin.lossCeiling ? plugin.stepsAbove + 1 : 0
            if plugin.stepsAbove >= plugin.lossSteps { call.stop = 5 }
        },
    ]

    private let metric: String
    private let goal: Goal
    private let floor: Double
    private let ceiling: Double
    private let drop: Double
    private let patience: Int64
    private let minDelta: Double
    private let lossCeiling: Double
    private let lossSteps: Int64
    private var watchesMeasure: Bool { floor > -.infinity || ceiling < .infinity || drop < .infinity || patience > 0 }
    // Values are remembered so that more is better.
    private var evaluations: Int64 = 0
    private var first = 0.0
    private var best = 0.0
    private var waited: Int64 = 0
    private var stepsAbove: Int64 = 0

    init(settings: Settings) throws {
        metric = try settings(Self.metric)
        goal = try settings(Self.goal)
        floor = try settings(Self.floor)
        ceiling = try settings(Self.ceiling)
        drop = try settings(Self.drop)
        patience = Int64(try settings(Self.patience))
        minDelta = try settings(Self.minDelta)
        lossCeiling = try settings(Self.lossCeiling)
        lossSteps = Int64(try settings(Self.lossSteps))
        guard floor <= ceiling else { throw PluginError("floor=\(floor) is above ceiling=\(ceiling)") }
        guard watchesMeasure || lossCeiling < .infinity else {
            throw PluginError("there is nothing to watch: set floor, ceiling, drop, patience or loss_ceiling")
        }
    }

    /// Takes a measure into account; nil: the run goes on.
    private func reason(for measure: Double) -> Double? {
        let value = goal == .max ? measure : -measure
        if evaluations == 0 {
            (first, best) = (value, value)
        } else if value > best + minDelta {
            (best, waited) = (value, 0)
        } else {
            waited += 1
        }
        evaluations += 1
        if measure < floor { return 1 }
        if measure > ceiling { return 2 }
        if first - value > drop { return 3 }
        return patience > 0 && waited >= patience ? 4 : nil
    }

    // MARK: - State

    static let stateVersion: UInt32 = 1

    func save(to output: inout StateWriter) throws {
        for count in [evaluations, waited, stepsAbove] { try output.write(count) }
        for value in [first, best] { try output.write(value) }
    }

    func load(from input: inout StateReader, version: UInt32) throws {
        let counts = (try input.integer(), try input.integer(), try input.integer())
        let values = (try input.double(), try input.double())
        guard counts.0 >= 0, counts.1 >= 0, counts.2 >= 0, values.0.isFinite, values.1.isFinite else {
            throw PluginError("the saved state is damaged: counts \(counts), values \(values)")
        }
        (evaluations, waited, stepsAbove) = counts
        (first, best) = values
    }

    func reset() {
        (evaluations, waited, stepsAbove) = (0, 0, 0)
        (first, best) = (0, 0)
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: EarlyStop.self) }
