import PluginAPI
import PluginKit

/// The retention objective: how far the features have drifted from what the initial weights give on the same batch.
///
///     f = [ raw ; queries ]            L = 1/N * sum (f - f~)^2            dL/df = 2/N * (f - f~)
///
/// raw: hidden states of one layer at the visual positions; queries: last hidden states at the action queries; each
/// pooled over its tokens or not. N counts every element of the concatenation, over the batch and, without pooling, over
/// the tokens that are not padding. Other distances take the place of the squared difference. Sums accumulate in Double.
final class AnchorVariants: Plugin {
    enum Kind: String, SettingChoice {
        case concat
        case queriesOnly = "aq_only"
        case rawOnly = "raw_only"
    }

    enum Tokens: String, SettingChoice {
        case visionOnly = "vision_only"
        case visionPlusPrompt = "vision_plus_prompt"

        var code: TapTokens { self == .visionOnly ? .visual : .visualAndPrompt }
    }

    static let description = PluginDescription(
        id: "craft.AnchorVariants", version: "1.0.0",
        summary: "Penalises drift of features from those of the initial weights.",
        formula: """
            f = [ visual ; query ]         L = 1/N * sum (f - f~)^2         dL/df = 2/N * (f - f~)
            """,
        reference: """
            CRaFT's representation constraint; feature distillation as in Romero et al., FitNets (arXiv 1412.6550); \
            linear CKA as in Kornblith et al. (arXiv 1905.00414).
            """)

    static let objective = Parameter("objective", default: "retention", "Name of the objective.")
    static let kind = Parameter("type", default: Kind.concat, "Which features: visual, action queries, or both.")
    static let layer = Parameter(
        "layer", default: "middle",
        "Hidden state of the visual features: middle, an index, from the end if negative, or all (queries too).")
    static let tokens = Parameter("tokens", default: Tokens.visionOnly, "Positions of the visual features.")
    static let pooling = Parameter("pooling", default: TapPooling.mean, "How tokens are reduced; none keeps each.")
    static let distance = Parameter(
        "distance", default: Distance.mse, "Squared difference, as it is or over the anchors' variance; or an angle.")
    static let weight = Parameter(
        "weight", default: 0.1, minimum: 0, "Multiplier of the objective when no rule adapts it.")
    static var parameters: [any AnyParameter] { [objective, kind, layer, tokens, pooling, distance, weight] }

    static let hooks = [
        Hook<AnchorVariants>(
            .plan, Input<Int>("hidden_states"), Output<Double>("weight.{objective}"),
            Output<Int>("tap.{instance}.visual.layer"), Output<Int>("tap.{instance}.visual.tokens"),
            Output<Int>("tap.{instance}.visual.pooling"), Output<Int>("tap.{instance}.query.layer"),
            Output<Int>("tap.{instance}.query.tokens"), Output<Int>("tap.{instance}.query.pooling")
        ) { plugin, states, weight, layer, tokens, pooling, queryLayer, queryTokens, queryPooling in
            weight.value = plugin.weight
            plugin.layers = plugin.layer.isAll ? states - 1 : 1
            let visualCode = plugin.layer.isAll ? Int64(TapLayer.all) : Int64(plugin.layer.index(of: states))
            layer.value = plugin.kind == .queriesOnly ? Int64(TapLayer.off) : visualCode
            tokens.value = plugin.tokens.code.rawValue
            pooling.value = plugin.pooling.rawValue
            let queryCode = plugin.layer.isAll ? Int64(TapLayer.all) : Int64(states - 1)
            queryLayer.value = plugin.kind == .rawOnly ? Int64(TapLayer.off) : queryCode
            queryTokens.value = TapTokens.queries.rawValue
            queryPooling.value = plugin.pooling.rawValue
        },
        Hook<AnchorVariants>(
            .preBackward,
            Input<ArrayView<Float>?>("feature.{instance}.visual[b,v,d]"),
            Input<ArrayView<Float>?>("anchor.{instance}.visual[b,v,d]"),
            Input<ArrayView<Float>?>("mask.{instance}.visual[b,v]"),
            Input<ArrayView<Float>?>("feature.{instance}.query[b,q,e]"),
            Input<ArrayView<Float>?>("anchor.{instance}.query[b,q,e]"),
            Input<ArrayView<Float>?>("mask.{instance}.query[b,q]"),
            Output<Double>("loss.{objective}"),
            Output<MutableArrayView<Float>?>("cotangent.{objective}.feature.{instance}.visual[b,v,d]"),
            Output<MutableArrayView<Float>?>("cotangent.{objective}.feature.{instance}.query[b,q,e]"),
            Output<Double?>("metric.{objective}_relative"), Output<Double>("metric.{objective}_anchor_variance")
        ) {
            plugin, visual, visualAnchor, visualMask, query, queryAnchor, queryMask, loss, visualOut, queryOut,
            relative,
            variance in
            var parts: [FeatureDrift] = []
            if plugin.kind != .queriesOnly {
                parts += try AnchoredTap(
                    "visual", layers: plugin.layers, visual, visualAnchor, visualMask, visualOut
                ).drifts()
            }
            if plugin.kind != .rawOnly {
                parts += try AnchoredTap(
                    "query", layers: plugin.layers, query, queryAnchor, queryMask, queryOut
                ).drifts()
            }
            let drift = Drift(parts)
            loss.value = try drift.fillCotangents(plugin.distance)
            if let value = drift.relative { relative.value = value }
            variance.value = drift.variance
        },
    ]

    private let kind: Kind
    private let layer: Layer
    private let tokens: Tokens
    private let pooling: TapPooling
    private let distance: Distance
    private let weight: Double
    /// Layers in a tap, as planned.
    private var layers = 1

    init(settings: Settings) throws {
        kind = try settings(Self.kind)
        layer = try Layer(try settings(Self.layer))
        tokens = try settings(Self.tokens)
        pooling = try settings(Self.pooling)
        distance = try settings(Self.distance)
        weight = try settings(Self.weight)
    }
}

/// Which hidden state a tap takes.
private enum Layer {
    case middle
    case all
    case index(Int)

    init(_ text: String) throws {
        if text == "middle" {
            self = .middle
        } else if text == "all" {
            self = .all
        } else if let index = Int(text) {
            self = .index(index)
        } else {
            throw PluginError("layer is 'middle', 'all' or an integer, not '\(text)'")
        }
    }

    var isAll: Bool { if case .all = self { true } else { false } }

    /// Position among `count` hidden states: the middle rounds down, negative indices count from the end, and what lies
    /// outside is clamped.
    func index(of count: Int) -> Int {
        switch self {
        case .middle: count / 2
        case .all: count - 1
        case .index(let index):
            min(max(index < 0 ? index.addingReportingOverflow(count).partialValue : index, 0), count - 1)
        }
    }
}
