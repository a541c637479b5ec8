public import PluginAPI
import PluginKit

/// Keeps an objective's gradient out of parts of the model, or lets a share of it through.
///
///     g <- factor * g      in the groups
///
/// The route is planned, so that with factor 0 the backward pass ends above the last group that is not cut.
final class KnowledgeInsulation: Plugin {
    static let description = PluginDescription(
        id: "craft.KnowledgeInsulation", version: "1.0.0",
        summary: "Keeps an objective's gradient out of parameter groups.",
        formula: """
            g <- factor * g        in the groups; at 0 their backward pass does not run
            """,
        reference: """
            Driess et al., Knowledge Insulating Vision-Language-Action Models (arXiv 2505.23705): the stop-gradient between \
            the action expert and the rest.
            """, needsABIMinor: 2)

    static let objective = Parameter("objective", default: "action", "The objective whose gradient is kept out.")
    static let groups = Parameter(
        "groups", default: "vision projector decoder", "Parameter groups to protect, separated by spaces.")
    static let factor = Parameter(
        "factor", default: 0.0, minimum: 0, maximum: 1, "Share of the gradient that is let through.")
    static var parameters: [any AnyParameter] { [objective, groups, factor] }

    private struct Plan: HookValues {
        let routes = GroupOutputs("route.{objective}.")
    }

    static let hooks = [
        Hook<KnowledgeInsulation>(.plan, values: Plan()) { plugin, call in
            call.routes.give { plugin.groups.contains($0) ? plugin.factor : nil }
        }
    ]

    private let groups: Set<BlockGroup>
    private let factor: Double

    init(settings: Settings) throws {
        groups = try BlockGroup.list(try settings(Self.groups), of: "groups")
        factor = try settings(Self.factor)
        guard !groups.isEmpty else { throw PluginError("groups is empty: name the parameter groups to protect") }
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? {
    pluginTable(of: KnowledgeInsulation.self)
}
