public import PluginAPI
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

    /// What `plan` says of a tap.
    private struct TapPlan: HookValues {
        @Output var layer: Int
        @Output var tokens: TapTokens
        @Output var pooling: TapPooling

        init(_ name: String) {
            _layer = Output("tap.{instance}.\(name).layer")
            _tokens = Output("tap.{instance}.\(name).tokens")
            _pooling = Output("tap.{instance}.\(name).pooling")
        }
    }

    private struct Plan: HookValues {
        @Input("hidden_states") var states: Int
        @Output("weight.{objective}") var weight: Double
        let visual = TapPlan("visual")
        let query = TapPlan("query")
    }

    private struct Objective: HookValues {
        let visual = TapValues("visual", axes: "b,v", width: "d")
        let query = TapValues("query", axes: "b,q", width: "e")
        @Output("loss.{objective}") var loss: Double
        @Output("metric.{objective}_relative") var relative: Double?
        @Output("metric.{objective}_anchor_variance") var variance: Double
    }

    static let hooks = [
        Hook<AnchorVariants>(.plan, values: Plan()) { plugin, call in
            call.weight = plugin.weight
            plugin.layers = plugin.layer.isAll ? call.states - 1 : 1
            let visualLayer = plugin.layer.isAll ? TapLayer.all : plugin.layer.index(of: call.states)
            call.visual.layer = plugin.kind == .queriesOnly ? TapLayer.off : visualLayer
            call.visual.tokens = plugin.tokens.code
            call.visual.pooling = plugin.pooling
            let queryLayer = plugin.layer.isAll ? TapLayer.all : call.states - 1
            call.query.layer = plugin.kind == .rawOnly ? TapLayer.off : queryLayer
            call.query.tokens = .queries
            call.query.pooling = plugin.pooling
        },
        Hook<AnchorVariants>(.preBackward, values: Objective()) { plugin, call in
            var parts: [FeatureDrift] = []
            if plugin.kind != .queriesOnly {
                parts += try AnchoredTap("visual", layers: plugin.layers, call.visual).drifts()
            }
            if plugin.kind != .rawOnly {
                parts += try AnchoredTap("query", layers: plugin.layers, call.query).drifts()
            }
            let drift = Drift(parts)
            call.loss = try drift.fillCotangents(plugin.distance)
            call.relative = drift.relative
            call.variance = drift.variance
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

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? {
    pluginTable(of: AnchorVariants.self)
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
