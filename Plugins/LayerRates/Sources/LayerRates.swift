public import PluginAPI
import PluginKit

/// Learning rates by depth and step: the head first, then the rest at once or layer by layer from the top; and lower rates
/// further down.
///
///     rate_b = decay^depth(b)  if b is open, else 0        open: all     always
///                                                                lp_ft   depth = 0, or step >= interval
///                                                                gradual step >= depth * interval
///
/// Depth is 0 in the groups that come first, and counts up from the decoder's last layer to its embeddings, the projector, and
/// the towers' last to first layers. At rate 0 a block is left alone: no moments, no weight decay.
final class LayerRates: Plugin {
    enum Schedule: String, SettingChoice {
        case all, gradual
        case linearProbe = "lp_ft"
    }
    enum Unit: String, SettingChoice { case block, group }

    static let description = PluginDescription(
        id: "craft.LayerRates", version: "1.0.0",
        summary: "Learning rates by depth and step: head first, gradual unfreezing, layer-wise decay.",
        formula: """
            rate_b = decay^depth(b)  where b is open, 0 elsewhere
            open:    all      always
                     lp_ft    depth = 0, or step >= interval
                     gradual  step >= depth * interval
            """,
        reference: """
            Kumar et al., Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution (arXiv 2202.10054); \
            gradual unfreezing and layer-wise rates after Howard and Ruder, Universal Language Model Fine-tuning for Text \
            Classification (arXiv 1801.06146).
            """, needsABIMinor: 2)

    static let schedule = Parameter("schedule", default: Schedule.linearProbe, "When which depth begins to train.")
    static let interval = Parameter(
        "interval", default: 100, minimum: 0, maximum: 1e12, "Steps of the head alone, or of every depth.")
    static let decay = Parameter(
        "decay", default: 1.0, minimum: 0, maximum: 1, "Factor on the rate from each depth to the next.")
    static let first = Parameter(
        "first", default: "queries policy proprio", "Parameter groups that train from the start, separated by spaces.")
    static let unit = Parameter(
        "unit", default: Unit.block, "Depths of blocks, or of whole groups: decoder 1, projector 2, vision 3.")
    static var parameters: [any AnyParameter] { [schedule, interval, decay, first, unit] }

    private struct Plan: HookValues {
        let scales = GroupOutputs("lr_scale.")
    }

    private struct Rates: HookValues {
        @Input("step") var step: Int
        @Input("block_group[k]") var groups: ArrayView<Int64>
        @Input("block_layer[k]") var layers: ArrayView<Int64>
        @Input("block_kind[k]") var kinds: ArrayView<Int64>
        @Input("numel[k]") var numel: ArrayView<Int64>
        @Input("rate[k]") var rates: ArrayView<Double>
        @Output("rate[k]") var result: MutableArrayView<Double>
        @Output("metric.trained_share") var trained: Double?
    }

    private struct Next: HookValues {
        @Input("step") var step: Int
        let scales = GroupOutputs("lr_scale.")
    }

    static let hooks = [
        Hook<LayerRates>(.plan, values: Plan()) { plugin, call in call.scales.give { plugin.scale(of: $0, at: 0) } },
        Hook<LayerRates>(.gradientCombine, values: Rates()) { plugin, call in
            let (numel, rates, result, step) = (call.numel, call.rates, call.result, call.step)
            result.assign(rates)
            let depths: [Int]
            if plugin.unit == .block {
                depths = try BlockDepths(call.groups, call.layers, call.kinds, first: plugin.first).depths
                for (block, depth) in depths.enumerated() { result[block] *= plugin.rate(depth, at: step) }
            } else {
                depths = try call.groups.elements.map { plugin.depth(of: try BlockDepths.group($0)) }
            }
            var trained = 0.0
            var total = 0.0
            for (block, depth) in depths.enumerated() {
                let count = Double(numel[block])
                total += count
                if rates[block] != 0, plugin.rate(depth, at: step) != 0 { trained += count }
            }
            if total > 0 { call.trained = trained / total }
        },
        Hook<LayerRates>(.postStep, values: Next()) { plugin, call in
            let step = call.step
            guard step >= 0, step < Int.max else { throw PluginError("step \(step) is not a step of a run") }
            call.scales.give { plugin.scale(of: $0, at: step + 1) }
        },
    ]

    private let schedule: Schedule
    private let interval: Int
    private let decay: Double
    private let first: Set<BlockGroup>
    private let unit: Unit

    init(settings: Settings) throws {
        schedule = try settings(Self.schedule)
        interval = try settings(Self.interval)
        decay = try settings(Self.decay)
        first = try BlockGroup.list(try settings(Self.first), of: "first")
        unit = try settings(Self.unit)
    }

    private func rate(_ depth: Int, at step: Int) -> Double {
        let isOpen =
            switch schedule {
            case .all: true
            case .linearProbe: depth == 0 || step >= interval
            case .gradual: step >= depth * interval
            }
        guard isOpen else { return 0 }
        return (0..<depth).reduce(1) { rate, _ in rate * decay }
    }

    /// The factor on a group's rate; nil where blocks have rates of their own.
    private func scale(of group: BlockGroup, at step: Int) -> Double? {
        unit == .group ? rate(depth(of: group), at: step) : nil
    }

    private func depth(of group: BlockGroup) -> Int {
        if first.contains(group) { return 0 }
        return switch group {
        case .queries, .policy, .proprio, .decoder: 1
        case .projector: 2
        case .vision: 3
        }
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: LayerRates.self) }
