import PluginAPI
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

    static let hooks = [
        Hook<CRaFTProjection>(.plan, Output<Int>("block_scope")) { plugin, scope in scope.value = plugin.scope.rawValue
        },
        Hook<CRaFTProjection>(
            .gradientCombine,
            Input<ArrayView<Double>>("gram[k,m,m]"), Input<ArrayView<Double>>("weights[k,m]"),
            Input<ArrayView<Int64>>("numel[k]"),
            Input<Int?>("index.{objective}"), Input<Int?>("index.{constraint}"), Input<Double?>("lambda.{constraint}"),
            Output<MutableArrayView<Double>>("weights[k,m]"),
            Output<Double?>("metric.{prefix}conflict_ratio"), Output<Double?>("metric.{prefix}conflict_ratio_numel"),
            Output<Double?>("metric.{prefix}gradient_cosine"), Output<Double?>("metric.{prefix}gradient_norm_ratio"),
            Output<Double?>("metric.{prefix}lambda_headroom")
        ) {
            plugin, gram, weights, numel, action, constraint, lambda, combined, ratio, ratioNumel, cosine, norms,
            headroom in
            combined.assign(weights)
            // Without one of the two there is nothing to protect and nothing to measure.
            guard let action, let constraint else { return }
            if let lambda, !lambda.isFinite {
                throw PluginError("lambda.\(plugin.constraint) is \(lambda): the multiplier must be finite")
            }
            let pairs = try GramPairs(gram, numel: numel, action: action, constraint: constraint)
            let conflicts = ConflictStatistics(pairs)
            if let value = conflicts.ratio { ratio.value = value }
            if let value = conflicts.ratioByNumel { ratioNumel.value = value }
            if let value = conflicts.cosine { cosine.value = value }
            if let value = conflicts.normRatio { norms.value = value }

            let count = weights.shape[1]
            var floors = [Double](repeating: 0, count: pairs.blocks.count)
            if plugin.isEnabled { floors = pairs.blocks.map(\.multiplierFloor) }
            for (block, floor) in floors.enumerated() {
                combined[block * count + constraint] += weights[block * count + action] * floor
            }
            let actionWeights = floors.indices.map { weights[$0 * count + action] }
            if let lambda, let limit = pairs.largestMultiplier(actionWeights: actionWeights, floors: floors) {
                headroom.value = limit - lambda
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
