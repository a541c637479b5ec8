import GradientMath
public import PluginAPI
import PluginKit

/// The answer objective: softmax cross-entropy at the answer positions of a question batch.
///
///     L = 1/n * sum_i ( log sum_v exp z_iv  -  z_i,y_i )          dL/dz_iv = (softmax(z_i)_v - [v = y_i]) / n
///
/// Computed in Double, with each row's maximum subtracted first.
final class AnswerLoss: Plugin {
    static let description = PluginDescription(
        id: "craft.AnswerLoss", version: "1.0.0",
        summary: "Cross-entropy of answers to questions about images.",
        formula: """
            L        = 1/n * sum_i ( log sum_v exp z_iv  -  z_i,y_i )
            dL/dz_iv = ( softmax(z_i)_v - [v = y_i] ) / n
            """,
        reference: """
            The language model's loss on answer tokens, as in visual instruction tuning (Liu et al., arXiv \
            2304.08485).
            """)

    static let objective = Parameter("objective", default: "answer", "Name of the objective.")
    static let weight = Parameter(
        "weight", default: 1.0, minimum: 0, "Multiplier of the objective when no rule adapts it.")
    static var parameters: [any AnyParameter] { [objective, weight] }

    private struct Objective: HookValues {
        @Input("answer_logits[n,v]") var logits: ArrayView<Float>
        @Input("answer_ids[n]") var ids: ArrayView<Int64>
        @Output("loss.{objective}") var loss: Double
        @Output("cotangent.{objective}.answer_logits[n,v]") var cotangent: MutableArrayView<Float>
        @Output("metric.{objective}_accuracy") var accuracy: Double?
    }

    static let hooks = [
        Hook<AnswerLoss>(.plan, Output<Double>("weight.{objective}")) { plugin, weight in weight.value = plugin.weight
        },
        Hook<AnswerLoss>(.preBackward, values: Objective()) { _, call in
            let (logits, ids, cotangent) = (call.logits, call.ids, call.cotangent)
            let count = ids.count
            let vocabulary = logits.shape[1]
            var total = 0.0
            var correct = 0
            for row in 0..<count {
                guard let id = Int(exactly: ids[row]), (0..<vocabulary).contains(id) else {
                    throw PluginError("answer token \(ids[row]) is not in the vocabulary of \(vocabulary)")
                }
                let range = row * vocabulary..<(row + 1) * vocabulary
                let result = crossEntropy(
                    UnsafeBufferPointer(rebasing: logits.elements[range]), target: id, scale: 1 / Double(count),
                    into: UnsafeMutableBufferPointer(rebasing: cotangent.elements[range]))
                total += result.loss
                if result.best == id { correct += 1 }
            }
            call.loss = count > 0 ? total / Double(count) : 0
            if count > 0 { call.accuracy = Double(correct) / Double(count) }
        },
    ]

    private let weight: Double

    init(settings: Settings) throws { weight = try settings(Self.weight) }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: AnswerLoss.self) }
