import GradientMath
public import PluginAPI
import PluginKit

/// A multiplier that follows a schedule over the steps, from one value to another.
///
///     linear        from + (to - from) x                 x = (t - begin) / (end - begin), within 0 ... 1
///     cosine        from + (to - from) (1 - cos(pi x)) / 2
///     exponential   from (to / from)^x
///     step          from before `end`, to after
final class MultiplierSchedule: Plugin {
    enum Shape: String, SettingChoice { case linear, cosine, exponential, step }

    static let description = PluginDescription(
        id: "craft.MultiplierSchedule", version: "1.0.0",
        summary: "Moves an objective's multiplier from one value to another over the steps.",
        formula: """
            linear         from + (to - from) x                        x = (t - begin) / (end - begin), within 0 ... 1
            cosine         from + (to - from) (1 - cos(pi x)) / 2
            exponential    from (to / from)^x                          both above 0
            step           from before `end`, to after
            """,
        reference: "Annealed penalties, as for the KL term in Bowman et al. (arXiv 1511.06349).")

    static let objective = Parameter("objective", default: "retention", "The objective that has the multiplier.")
    static let shape = Parameter("shape", default: Shape.linear, "Course between the two values.")
    static let from = Parameter("from", default: 0.0, minimum: 0, "Multiplier up to step begin.")
    static let to = Parameter("to", default: 0.1, minimum: 0, "Multiplier from step end on.")
    static let begin = Parameter("begin", default: 0, minimum: 0, maximum: 1e15, "Step at which the change begins.")
    static let end = Parameter("end", default: 1000, minimum: 0, maximum: 1e15, "Step at which it is complete.")
    static var parameters: [any AnyParameter] { [objective, shape, from, to, begin, end] }

    static let hooks = [
        Hook<MultiplierSchedule>(.plan, Output<Double>("lambda.{objective}")) { rule, lambda in
            lambda.value = rule.value(at: 0)
        },
        Hook<MultiplierSchedule>(.postStep, Input<Int>("step"), Output<Double>("lambda.{objective}")) {
            rule, step, lambda in
            guard step >= 0, step < Int.max else { throw PluginError("step \(step) is not a step of a run") }
            lambda.value = rule.value(at: step + 1)
        },
    ]

    private let shape: Shape
    private let from: Double
    private let to: Double
    private let begin: Int
    private let end: Int

    init(settings: Settings) throws {
        shape = try settings(Self.shape)
        from = try settings(Self.from)
        to = try settings(Self.to)
        begin = try settings(Self.begin)
        end = try settings(Self.end)
        guard begin <= end else { throw PluginError("begin=\(begin) is after end=\(end)") }
        guard from.isFinite, to.isFinite else { throw PluginError("from and to must be finite") }
        guard shape != .exponential || (from > 0 && to > 0) else {
            throw PluginError("shape=exponential needs from and to above 0, not \(from) and \(to)")
        }
    }

    private func value(at step: Int) -> Double {
        if step >= end { return to }
        if step <= begin || shape == .step { return from }
        let x = Double(step - begin) / Double(end - begin)
        return switch shape {
        case .linear, .step: from + (to - from) * x
        case .cosine: from + (to - from) * (1 - cosine(.pi * x)) / 2
        case .exponential: from * power(to / from, x)
        }
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? {
    pluginTable(of: MultiplierSchedule.self)
}
