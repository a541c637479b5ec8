public import PluginAPI
import PluginKit

/// A multiplier that never changes: the control for every rule that adapts one.
final class FixedMultiplier: Plugin {
    static let description = PluginDescription(
        id: "craft.FixedMultiplier", version: "1.0.0",
        summary: "Keeps an objective's multiplier at one value.",
        formula: """
            lambda = value
            """,
        reference: "Penalty method with a fixed coefficient.")

    static let objective = Parameter("objective", default: "retention", "The objective that has the multiplier.")
    static let value = Parameter("value", default: 0.1, minimum: 0, "The multiplier.")
    static var parameters: [any AnyParameter] { [objective, value] }

    static let hooks = [
        Hook<FixedMultiplier>(.plan, Output<Double>("lambda.{objective}")) { rule, lambda in lambda.value = rule.value
        },
        Hook<FixedMultiplier>(.postStep, Output<Double>("lambda.{objective}")) { rule, lambda in
            lambda.value = rule.value
        },
    ]

    private let value: Double

    init(settings: Settings) throws {
        value = try settings(Self.value)
        guard value.isFinite else { throw PluginError("value must be finite") }
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? {
    pluginTable(of: FixedMultiplier.self)
}
