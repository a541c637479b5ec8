public import PluginAPI
import PluginKit

/// The probe objective: how far tokens have drifted from what the initial weights make of the same images and questions.
///
///     L = s D(text) + (1 - s) D(visual)         D(f) = 1/N * sum (f - f~)^2 / Var(f~)
///
/// text: prompt tokens of the last hidden state; visual: visual tokens of the middle one; each token by itself. N counts
/// the elements of tokens that are not padding, Var is the variance of their anchors around the common mean.
final class ProbeTokens: Plugin {
    static let description = PluginDescription(
        id: "craft.ProbeTokens", version: "1.0.0",
        summary: "Penalises drift of tokens on the batch's images with questions of its own, without labels.",
        formula: """
            L = s D(text) + (1 - s) D(visual)
            D(f) = 1/N sum (f - f~)^2 / Var(f~)
            """,
        reference: "Li and Hoiem, Learning without Forgetting (arXiv 1606.09282).", needsABIMinor: 1)

    static let objective = Parameter("objective", default: "probe", "Name of the objective.")
    static let weight = Parameter(
        "weight", default: 0.1, minimum: 0, "Multiplier of the objective when no rule adapts it.")
    static let interval = Parameter(
        "interval", default: 4, minimum: 1, maximum: 1e9, "Steps from one probe to the next.")
    static let start = Parameter("start", default: 0, minimum: 0, maximum: 1e12, "First step with a probe.")
    static let prompts = Parameter(
        "prompts", default: "broad",
        "Questions to ask, separated by '|'; broad is a list about anything a picture shows.")
    static let template = Parameter(
        "template", default: ProbeTemplate.question, "Prompt of the model that goes around a question.")
    static let cameras = Parameter(
        "cameras", default: 1, minimum: 0, maximum: 64, "Images of a sample, of cameras drawn at random; 0 for all.")
    static let unchanged = Parameter("unchanged", default: 1.0, minimum: 0, "Share of images as the batch has them.")
    static let jitter = Parameter("jitter", default: 1.0, minimum: 0, "Share of images with other colours.")
    static let shuffle = Parameter(
        "shuffle", default: 1.0, minimum: 0, "Share of images with other colours and 4 x 4 tiles in another order.")
    static let mix = Parameter(
        "mix", default: 1.0, minimum: 0, "Share of images with other colours and another sample's image blended in.")
    static let textLayer = Parameter(
        "text_layer", default: "last",
        "Hidden state of the text tokens: last, middle, or an index, from the end if negative.")
    static let visualLayer = Parameter(
        "visual_layer", default: "middle", "Hidden state of the visual tokens, likewise.")
    static let textShare = Parameter(
        "text_share", default: 0.5, minimum: 0, maximum: 1, "Share of the text tokens' half in the loss.")
    static var parameters: [any AnyParameter] {
        [
            objective, weight, interval, start, prompts, template, cameras, unchanged, jitter, shuffle, mix, textLayer,
            visualLayer, textShare,
        ]
    }

    private struct Plan: HookValues {
        @Output("weight.{objective}") var weight: Double
        @Output("probe.{instance}.interval") var interval: Int
        @Output("probe.{instance}.start") var start: Int
        @Output("probe.{instance}.prompts[128,256]") var prompts: MutableArrayView<Int64>
        @Output("probe.{instance}.template") var template: ProbeTemplate
        @Output("probe.{instance}.cameras") var cameras: Int
        @Output("probe.{instance}.share.unchanged") var unchanged: Double
        @Output("probe.{instance}.share.jitter") var jitter: Double
        @Output("probe.{instance}.share.shuffle") var shuffle: Double
        @Output("probe.{instance}.share.mix") var mix: Double
    }

    /// What `plan` says of a tap.
    private struct TapPlan: HookValues {
        @Output var layer: Int
        @Output var tokens: TapTokens
        @Output var pooling: TapPooling

        init(_ name: String) {
            _layer = Output("probe.{instance}.tap.\(name).layer")
            _tokens = Output("probe.{instance}.tap.\(name).tokens")
            _pooling = Output("probe.{instance}.tap.\(name).pooling")
        }
    }

    private struct Taps: HookValues {
        @Input("hidden_states") var states: Int
        let text = TapPlan("text")
        let visual = TapPlan("visual")
    }

    private struct Objective: HookValues {
        let text = TapValues("text", axes: "b,t", width: "d")
        let visual = TapValues("visual", axes: "b,v", width: "e")
        @Output("loss.{objective}") var loss: Double
        @Output("metric.{objective}_text") var textDrift: Double
        @Output("metric.{objective}_visual") var visualDrift: Double
    }

    static let hooks = [
        Hook<ProbeTokens>(.plan, values: Plan()) { plugin, call in
            call.weight = plugin.weight
            call.interval = plugin.interval
            call.start = plugin.start
            try call.prompts.write(plugin.prompts)
            call.template = plugin.template
            call.cameras = plugin.cameras
            (call.unchanged, call.jitter) = (plugin.shares[0], plugin.shares[1])
            (call.shuffle, call.mix) = (plugin.shares[2], plugin.shares[3])
        },
        Hook<ProbeTokens>(.plan, values: Taps()) { plugin, call in
            call.text.layer = plugin.textLayer.index(of: call.states)
            call.visual.layer = plugin.visualLayer.index(of: call.states)
            (call.text.tokens, call.visual.tokens) = (.prompt, .visual)
            (call.text.pooling, call.visual.pooling) = (.none, .none)
        },
        Hook<ProbeTokens>(.preBackward, values: Objective()) { plugin, call in
            let text = try relativeDrift("text", call.text, share: plugin.textShare)
            let visual = try relativeDrift("visual", call.visual, share: 1 - plugin.textShare)
            call.textDrift = text
            call.visualDrift = visual
            call.loss = plugin.textShare * text + (1 - plugin.textShare) * visual
        },
    ]

    private let weight: Double
    private let interval: Int
    private let start: Int
    private let prompts: [String]
    private let template: ProbeTemplate
    private let cameras: Int
    private let shares: [Double]
    private let textLayer: Layer
    private let visualLayer: Layer
    private let textShare: Double

    init(settings: Settings) throws {
        weight = try settings(Self.weight)
        interval = try settings(Self.interval)
        start = try settings(Self.start)
        prompts = try Prompts.read(try settings(Self.prompts))
        template = try settings(Self.template)
        cameras = try settings(Self.cameras)
        shares = try [Self.unchanged, Self.jitter, Self.shuffle, Self.mix].map { try settings($0) }
        guard shares.contains(where: { $0 > 0 }) else {
            throw PluginError("unchanged, jitter, shuffle and mix are all 0: give one of them a share")
        }
        textLayer = try Layer(try settings(Self.textLayer), of: "text_layer")
        visualLayer = try Layer(try settings(Self.visualLayer), of: "visual_layer")
        textShare = try settings(Self.textShare)
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? {
    pluginTable(of: ProbeTokens.self)
}

/// Which hidden state a tap takes.
private enum Layer {
    case last
    case middle
    case index(Int)

    init(_ text: String, of setting: String) throws {
        switch text {
        case "last": self = .last
        case "middle": self = .middle
        default:
            guard let index = Int(text) else {
                throw PluginError("\(setting) is 'last', 'middle' or an integer, not '\(text)'")
            }
            self = .index(index)
        }
    }

    /// Position among `count` hidden states: the middle rounds down, negative indices count from the end, and what lies
    /// outside is clamped.
    func index(of count: Int) -> Int {
        switch self {
        case .last: count - 1
        case .middle: count / 2
        case .index(let index):
            min(max(index < 0 ? index.addingReportingOverflow(count).partialValue : index, 0), count - 1)
        }
    }
}
