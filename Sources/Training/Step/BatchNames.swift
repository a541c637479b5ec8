internal import Models
internal import PluginRuntime

/// The names that a batch's values have in the conversation: as they are of the run's own batch, and behind `stream.S.` of a
/// stream's.
struct BatchNames {
    /// What hooks may read of a batch.
    enum Part { case everything, answersAlone }

    /// A value, and whether some hook reads it.
    struct Value {
        let name: ValueName
        let isRead: Bool
    }

    /// The texts of answers, by what they are called in `train`, where the run's own batch has none.
    static let answers = [
        "answer_logits", "answer_ids", "text_logits", "text_ids", "text_row", "anchor_text_logits",
    ]

    let predictedActions: Value
    let targetActions: Value
    let anchorActions: Value
    let answerLogits: Value
    let answerIDs: Value
    let textLogits: Value
    let textIDs: Value
    let textRow: Value
    let anchorTextLogits: Value
    let sampleID: Value
    let taskID: Value
    /// By what the user calls it, those that some hook reads.
    let sides: [(side: String, name: ValueName)]
    let taps: [(feature: ValueName, anchor: ValueName, mask: ValueName)]
    /// Whether some hook reads features under the initial weights.
    let readsAnchorFeatures: Bool

    init(_ prefix: String, part: Part = .everything, taps: [FeatureTap], _ composition: Composition) {
        func value(_ name: String) -> Value {
            let isPart = part == .everything || Self.answers.contains(name)
            return Value(
                name: ValueName(prefix + name), isRead: isPart && composition.reads(prefix + name, at: .preBackward))
        }
        predictedActions = value("predicted_actions")
        targetActions = value("target_actions")
        anchorActions = value("anchor_actions")
        answerLogits = value("answer_logits")
        answerIDs = value("answer_ids")
        textLogits = value("text_logits")
        textIDs = value("text_ids")
        textRow = value("text_row")
        anchorTextLogits = value("anchor_text_logits")
        sampleID = value("sample_id")
        taskID = value("task_id")
        sides =
            prefix.isEmpty && part == .everything
            ? Self.sides(composition).map { ($0, ValueName("side.\($0)")) } : []
        self.taps = taps.map {
            (
                ValueName("\(prefix)feature.\($0.name)"), ValueName("\(prefix)anchor.\($0.name)"),
                ValueName("\(prefix)mask.\($0.name)")
            )
        }
        readsAnchorFeatures = taps.contains { composition.reads("\(prefix)anchor.\($0.name)", at: .preBackward) }
    }

    /// What hooks read of the user's values by sample.
    static func sides(_ composition: Composition) -> [String] {
        composition.resolvedReads(at: .preBackward).filter { $0.hasPrefix("side.") }.map { String($0.dropFirst(5)) }
    }

    /// Whether logits are read where answers are predicted, under the current weights.
    var readsLogits: Bool { answerLogits.isRead || textLogits.isRead }
}
