import GradientMath
public import PluginAPI
import PluginKit

/// A static Gaussian anchor for the features of every decoder layer, and a projection of the action gradient off the gradient
/// that leads back to it, layer by layer.
///
///     L = 1/(D layers) sum_l W2(N(mu_l, S_l), N(mu~_l, S~_l))^2
///     g_a' = g_a - <g_a, g_c> / |g_c|^2 * g_c        per layer, where <g_a, g_c> < 0
///
/// `mu~`, `S~` are moments over tokens of what the weights gave in the first `calibration` steps, in which nothing trains; `mu`,
/// `S` those of a micro-batch. In weights: `w_c += w_a max(0, -G_ac / G_cc)`.
final class AEGIS: Plugin {
    enum Projection: String, SettingChoice { case conflict, mutual, always, off }

    static let description = PluginDescription(
        id: "craft.AEGIS", version: "1.0.0",
        summary: "Gaussian anchors for the features of all layers, and a projection off their gradient per layer.",
        formula: """
            L = 1/(D layers) sum_l W2(N(mu_l, S_l), N(mu~_l, S~_l))^2
            g_a' = g_a - <g_a, g_c> / |g_c|^2 * g_c        per layer, where <g_a, g_c> < 0
            """,
        reference: """
            Singh, AEGIS: Anchor-Enforced Gradient Isolation for Knowledge-Preserving Vision-Language-Action Fine-Tuning (arXiv \
            2604.16067).
            """, needsABIMinor: 2)

    static let objective = Parameter("objective", default: "aegis", "Name of the objective.")
    static let action = Parameter("action", default: "action", "The objective whose gradient is projected.")
    static let weight = Parameter(
        "weight", default: 0.1, minimum: 0, "Multiplier of the objective when no rule adapts it; at 0 it only guards.")
    static let calibration = Parameter(
        "calibration", default: 8, minimum: 1, maximum: 1e9, "Steps that gather the anchor, before training begins.")
    static let tokens = Parameter("tokens", default: TapTokens.visualAndPrompt, "Positions of the features.")
    static let covariance = Parameter(
        "covariance", default: Covariance.diagonal, "Variances alone, or full matrices where layers are narrow.")
    static let projection = Parameter(
        "projection", default: Projection.conflict,
        "Of the action gradient in conflict, of both off each other, of the action's whatever the angle, or none.")
    static var parameters: [any AnyParameter] {
        [objective, action, weight, calibration, tokens, covariance, projection]
    }

    private struct Plan: HookValues {
        @Input("hidden_states") var states: Int
        @Output("weight.{objective}") var weight: Double
        @Output("block_scope") var scope: BlockScope
        @Output("tap.{instance}.layers.layer") var layer: Int
        @Output("tap.{instance}.layers.tokens") var tokens: TapTokens
        @Output("tap.{instance}.layers.pooling") var pooling: TapPooling
    }

    private struct Objective: HookValues {
        @Input("feature.{instance}.layers[b,t,d]") var features: ArrayView<Float>
        @Input("mask.{instance}.layers[b,t]") var mask: ArrayView<Float>
        @Output("cotangent.{objective}.feature.{instance}.layers[b,t,d]") var cotangent: MutableArrayView<Float>
        @Output("loss.{objective}") var loss: Double?
        @Output("metric.{objective}_mean_part") var meanPart: Double?
    }

    private struct Combine: HookValues {
        @Input("gram[k,m,m]") var gram: ArrayView<Double>
        @Input("weights[k,m]") var weights: ArrayView<Double>
        @Input("rate[k]") var rates: ArrayView<Double>
        @Input("index.{action}") var action: Int?
        @Input("index.{objective}") var anchor: Int?
        @Output("weights[k,m]") var combined: MutableArrayView<Double>
        @Output("rate[k]") var nextRates: MutableArrayView<Double>
        @Output("metric.{objective}_energy_removed") var removed: Double?
        @Output("metric.{objective}_conflict_ratio") var ratio: Double?
        @Output("metric.{objective}_cosine") var cosine: Double?
    }

    static let hooks = [
        Hook<AEGIS>(.plan, values: Plan()) { plugin, call in
            plugin.layers = call.states - 1
            call.weight = plugin.weight
            call.scope = .layer
            call.layer = TapLayer.all
            call.tokens = plugin.tokens
            call.pooling = .none
        },
        Hook<AEGIS>(.preBackward, values: Objective()) { plugin, call in
            let cotangent = call.cotangent
            cotangent.elements.update(repeating: 0)
            let batch = try LayerFeatures(call.features, mask: call.mask, layers: plugin.layers)
            let moments = try (0..<plugin.layers).map { try batch.moments(ofLayer: $0, plugin.covariance) }
            guard plugin.seen >= plugin.calibration else {
                try plugin.gather(moments)
                return
            }
            let targets = try plugin.targets(width: batch.width)
            let scale = 1 / Double(batch.width * plugin.layers)
            var distance = TransportCost()
            for (layer, (target, moments)) in zip(targets, moments).enumerated() {
                let transport = target.transport(from: moments)
                distance.mean += scale * transport.cost.mean
                distance.spread += scale * transport.cost.spread
                batch.addCotangents(transport, moments, layer: layer, scale: scale, to: cotangent)
            }
            call.loss = distance.mean + distance.spread
            call.meanPart = distance.mean
        },
        Hook<AEGIS>(.gradientCombine, values: Combine()) { plugin, call in
            let (rates, next, combined) = (call.rates, call.nextRates, call.combined)
            combined.assign(call.weights)
            next.assign(rates)
            if plugin.seen < plugin.calibration {
                plugin.seen += 1
                next.elements.update(repeating: 0)
                return
            }
            guard let action = call.action, let anchor = call.anchor else { return }
            let outcome = try LayerProjection(call.gram, action: action, anchor: anchor, plugin.projection)
            outcome.apply(to: combined, of: call.weights)
            call.removed = outcome.energyRemoved
            call.ratio = outcome.conflictRatio
            call.cosine = outcome.cosine
        },
    ]

    private let weight: Double
    private let calibration: Int
    private let tokens: TapTokens
    private let covariance: Covariance
    private let projection: Projection
    /// Decoder layers, as planned.
    private var layers = 0
    /// Steps that gathered moments.
    private var seen = 0
    /// By layer; empty before the first step.
    private var gathered: [Moments] = []
    /// What is made of them once they are complete.
    private var anchors: [GaussianAnchor] = []

    init(settings: Settings) throws {
        weight = try settings(Self.weight)
        calibration = try settings(Self.calibration)
        tokens = try settings(Self.tokens)
        covariance = try settings(Self.covariance)
        projection = try settings(Self.projection)
        guard try settings(Self.objective) != settings(Self.action) else {
            throw PluginError("objective and action are both '\(try settings(Self.action))'")
        }
    }

    private func gather(_ moments: [Moments]) throws {
        if gathered.isEmpty {
            gathered = moments
            return
        }
        guard gathered.count == moments.count, gathered.first?.width == moments.first?.width else {
            throw PluginError(
                "the anchor is of \(gathered.count) layers of \(gathered.first?.width ?? 0) values, the features are of "
                    + "\(moments.count) of \(moments.first?.width ?? 0): it was gathered with another model")
        }
        for layer in moments.indices { gathered[layer].merge(moments[layer]) }
    }

    private func targets(width: Int) throws -> [GaussianAnchor] {
        if anchors.isEmpty { anchors = gathered.map(GaussianAnchor.init) }
        guard anchors.count == layers, anchors.allSatisfy({ $0.width == width }) else {
            throw PluginError(
                "the anchor is of \(anchors.count) layers, the features are of \(layers) of \(width) values: it was gathered "
                    + "with another model")
        }
        return anchors
    }

    // MARK: - State: the steps and the moments

    static let stateVersion: UInt32 = 1

    func save(to output: inout StateWriter) throws {
        try output.write(Int64(seen))
        try output.write(Int64(gathered.count))
        for moments in gathered { try moments.save(to: &output) }
    }

    func load(from input: inout StateReader, version: UInt32) throws {
        let (steps, count) = (try input.integer(), try input.integer())
        guard (0...Int64(1e12)).contains(steps), (0...10_000).contains(count) else {
            throw PluginError("the saved state is damaged: \(steps) steps, \(count) layers")
        }
        var read: [Moments] = []
        for _ in 0..<count { read.append(try Moments(from: &input)) }
        guard read.allSatisfy({ $0.covariance == covariance }) else {
            throw PluginError("the anchor was gathered with another covariance: set it as it was")
        }
        (seen, gathered, anchors) = (Int(steps), read, [])
    }

    func reset() { (seen, gathered, anchors) = (0, [], []) }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: AEGIS.self) }
