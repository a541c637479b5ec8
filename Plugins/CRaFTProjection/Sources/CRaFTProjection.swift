public import PluginAPI
import PluginKit

/// Removes from the action gradient what would increase the constraint's loss, block by block.
///
///     if <g_a, g_c> < 0:   g_a' = g_a - <g_a, g_c> / |g_c|^2 * g_c
///
/// In weights of the objectives' gradients, which is all the host needs, this is
///
///     w_c += w_a * max(0, -G_ac / G_cc)
///
/// so projecting is the same as putting a floor under the multiplier. One-sided: the constraint's gradient is never
/// changed. Measurements are taken with projection off too.
final class CRaFTProjection: Plugin {
    static let description = PluginDescription(
        id: "craft.CRaFTProjection", version: "1.0.0",
        summary: "Removes the component of the action gradient that conflicts with a constraint.",
        formula: """
            if <g_a, g_c> < 0:    g_a' = g_a - <g_a, g_c> / |g_c|^2 * g_c        otherwise g_a' = g_a
            """,
        reference: """
            CRaFT; A-GEM (Chaudhry et al., arXiv 1812.00420) and PCGrad (Yu et al., arXiv 2001.06782) use the same \
            projection.
            """)

    static let objective = Parameter("objective", default: "action", "The objective whose gradient is projected.")
    static let constraint = Parameter("constraint", default: "retention", "The objective that is protected.")
    static let scope = Parameter("scope", default: BlockScope.tensor, "What is projected as one vector.")
    static let enable = Parameter("enable", default: true, "Whether to project; conflicts are measured either way.")
    static let prefix = Parameter("prefix", default: "", "Put before the metrics' names, to tell two instances apart.")
    static var parameters: [any AnyParameter] { [objective, constraint, scope, enable, prefix] }

    private struct Projection: HookValues {
        @Input("gram[k,m,m]") var gram: ArrayView<Double>
        @Input("weights[k,m]") var weights: ArrayView<Double>
        @Input("numel[k]") var numel: ArrayView<Int64>
        @Input("index.{objective}") var action: Int?
        @Input("index.{constraint}") var constraint: Int?
        @Input("lambda.{constraint}") var lambda: Double?
        @Output("weights[k,m]") var combined: MutableArrayView<Double>
        @Output("metric.{prefix}conflict_ratio") var ratio: Double?
        @Output("metric.{prefix}conflict_ratio_numel") var ratioByNumel: Double?
        @Output("metric.{prefix}gradient_cosine") var cosine: Double?
        @Output("metric.{prefix}gradient_norm_ratio") var normRatio: Double?
        @Output("metric.{prefix}lambda_headroom") var headroom: Double?
    }

    static let hooks = [
        Hook<CRaFTProjection>(.plan, Output<BlockScope>("block_scope")) { plugin, scope in scope.value = plugin.scope },
        Hook<CRaFTProjection>(.gradientCombine, values: Projection()) { plugin, call in
            let (weights, combined) = (call.weights, call.combined)
            combined.assign(weights)
            // Without one of the two there is nothing to protect and nothing to measure.
            guard let action = call.action, let constraint = call.constraint else { return }
            if let lambda = call.lambda, !lambda.isFinite {
                throw PluginError("lambda.\(plugin.constraint) is \(lambda): the multiplier must be finite")
            }
            let pairs = try GramPairs(call.gram, numel: call.numel, action: action, constraint: constraint)
            let conflicts = ConflictStatistics(pairs)
            call.ratio = conflicts.ratio
            call.ratioByNumel = conflicts.ratioByNumel
            call.cosine = conflicts.cosine
            call.normRatio = conflicts.normRatio

            var floors = [Double](repeating: 0, count: pairs.blocks.count)
            if plugin.isEnabled { floors = pairs.blocks.map(\.multiplierFloor) }
            for (block, floor) in floors.enumerated() {
                combined[block, constraint] += weights[block, action] * floor
            }
            let actionWeights = floors.indices.map { weights[$0, action] }
            if let lambda = call.lambda,
                let limit = pairs.largestMultiplier(actionWeights: actionWeights, floors: floors)
            {
                call.headroom = limit - lambda
            }
        },
    ]

    private let scope: BlockScope
    private let isEnabled: Bool
    private let constraint: String

    init(settings: Settings) throws {
        scope = try settings(Self.scope)
        isEnabled = try settings(Self.enable)
        constraint = try settings(Self.constraint)
        guard try settings(Self.objective) != constraint else {
            throw PluginError("objective and constraint are both '\(constraint)'")
        }
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? {
    pluginTable(of: CRaFTProjection.self)
}
