import GradientMath
public import PluginAPI
import PluginKit

/// Co-training: softmax cross-entropy of the answers to questions about images, which come in a data stream beside the
/// demonstrations.
///
///     L = sum_i w_i ( log sum_v exp z_iv  -  z_i,y_i )          dL/dz_iv = w_i (softmax(z_i)_v - [v = y_i])
///
/// i: tokens of the answers, each predicted from the tokens before it. w: 1/n, or 1/(answers * tokens of its answer).
final class CoTraining: Plugin {
    enum Reduction: String, SettingChoice { case token, answer }

    static let description = PluginDescription(
        id: "craft.CoTraining", version: "1.0.0",
        summary: "Cross-entropy of answers to questions in a data stream, beside the demonstrations.",
        formula: """
            L        = sum_i w_i ( log sum_v exp z_iv  -  z_i,y_i )
            dL/dz_iv = w_i ( softmax(z_i)_v - [v = y_i] )
            """,
        reference: """
            Co-training on web data beside robot data, as in RT-2 (Brohan et al., arXiv 2307.15818) and pi0.5 (arXiv \
            2504.16054).
            """, needsABIMinor: 2)

    static let objective = Parameter("objective", default: "cotraining", "Name of the objective.")
    static let weight = Parameter(
        "weight", default: 1.0, minimum: 0, "Multiplier of the objective when no rule adapts it.")
    static let stream = Parameter("stream", default: "vqa", "Name of the data stream: --stream NAME=questions:FOLDER.")
    static let interval = Parameter(
        "interval", default: 1, minimum: 1, maximum: 1e9, "Steps from one batch of questions to the next.")
    static let start = Parameter("start", default: 0, minimum: 0, maximum: 1e12, "First step with questions.")
    static let batch = Parameter(
        "batch", default: 0, minimum: 0, maximum: 65_536, "Questions in a batch; 0 takes the run's batch size.")
    static let reduction = Parameter(
        "reduction", default: Reduction.token, "What counts alike: each token, or each answer, however long.")
    static var parameters: [any AnyParameter] { [objective, weight, stream, interval, start, batch, reduction] }

    static let hooks = [
        Hook<CoTraining>(
            .plan, Output<Double>("weight.{objective}"), Output<StreamKind>("stream.{stream}.kind"),
            Output<Int>("stream.{stream}.interval"), Output<Int>("stream.{stream}.start"),
            Output<Int>("stream.{stream}.batch")
        ) { plugin, weight, kind, interval, start, batch in
            weight.value = plugin.weight
            kind.value = .questions
            (interval.value, start.value, batch.value) = (plugin.interval, plugin.start, plugin.batch)
        },
        Hook<CoTraining>(
            .preBackward, Input<ArrayView<Float>>("stream.{stream}.text_logits[n,v]"),
            Input<ArrayView<Int64>>("stream.{stream}.text_ids[n]"),
            Input<ArrayView<Int64>>("stream.{stream}.text_row[n]"), Output<Double>("loss.{objective}"),
            Output<MutableArrayView<Float>>("cotangent.{objective}.stream.{stream}.text_logits[n,v]"),
            Output<Double?>("metric.{objective}_accuracy"), Output<Double?>("metric.{objective}_token_accuracy")
        ) { plugin, logits, ids, rows, loss, cotangent, accuracy, tokenAccuracy in
            let result = try plugin.crossEntropy(logits, ids, Answers(rows), into: cotangent)
            loss.value = result.loss
            if let value = result.answers { accuracy.value = value }
            if let value = result.tokens { tokenAccuracy.value = value }
        },
    ]

    private let weight: Double
    private let interval: Int
    private let start: Int
    private let batch: Int
    private let reduction: Reduction

    init(settings: Settings) throws {
        weight = try settings(Self.weight)
        interval = try settings(Self.interval)
        start = try settings(Self.start)
        batch = try settings(Self.batch)
        reduction = try settings(Self.reduction)
    }

    /// Fills the cotangent.
    ///
    /// - Returns: the loss, and the share of answers of which every token, and of tokens that, the largest logit gives; nil
    ///   without any.
    private func crossEntropy(
        _ logits: ArrayView<Float>, _ ids: ArrayView<Int64>, _ answers: Answers, into cotangent: MutableArrayView<Float>
    ) throws -> (loss: Double, answers: Double?, tokens: Double?) {
        let vocabulary = logits.shape[1]
        var total = 0.0
        var (rightAnswers, rightTokens) = (0, 0)
        for answer in answers.tokens {
            let weight =
                1 / Double(reduction == .token ? ids.count : answers.tokens.count * answer.count)
            var isRight = true
            for token in answer {
                guard let id = Int(exactly: ids[token]), (0..<vocabulary).contains(id) else {
                    throw PluginError("answer token \(ids[token]) is not in the vocabulary of \(vocabulary)")
                }
                let range = token * vocabulary..<(token + 1) * vocabulary
                let result = GradientMath.crossEntropy(
                    UnsafeBufferPointer(rebasing: logits.elements[range]), target: id, scale: weight,
                    into: UnsafeMutableBufferPointer(rebasing: cotangent.elements[range]))
                total += weight * result.loss
                if result.best == id { rightTokens += 1 } else { isRight = false }
            }
            if isRight { rightAnswers += 1 }
        }
        guard ids.count > 0 else { return (0, nil, nil) }
        return (
            total, Double(rightAnswers) / Double(answers.tokens.count), Double(rightTokens) / Double(ids.count)
        )
    }
}

/// Which tokens make an answer: runs of the same sample.
private struct Answers {
    private(set) var tokens: [Range<Int>] = []

    init(_ rows: ArrayView<Int64>) {
        var start = 0
        for token in 0..<rows.count where token + 1 == rows.count || rows[token + 1] != rows[token] {
            tokens.append(start..<token + 1)
            start = token + 1
        }
    }
}

// swift-format-ignore: AlwaysUseLowerCamelCase
@c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: CoTraining.self) }
