/// The names under which metrics are logged: those of the original fine-tuning script, so that dashboards and scripts
/// made for it keep working.
///
/// Inside craft a metric has the name of the value that a hook declares (`loss.retention`, `conflict_ratio`). What the
/// original does not know gets a name in the same style, or `Plugin/<name>` when it comes from a plugin of the user's.
package enum MetricNames {
    /// `(internal name, name in the logs)`, in the order of the original's documentation.
    package static let table: [(name: String, display: String)] = [
        ("loss.action", "VLA Train/Loss"),
        ("curr_action_l1", "VLA Train/Curr Action L1 Loss"),
        ("next_actions_l1", "VLA Train/Next Actions L1 Loss"),
        ("gradient_norm", "VLA Train/Gradient Norm"),
        ("learning_rate", "VLA Train/Learning Rate"),
        ("loss.retention", "CRaFT/Retention Loss"),
        ("retention_nonfinite", "CRaFT/Retention NonFinite"),
        ("retention_budget", "CRaFT/Retention Budget"),
        ("lambda.retention", "CRaFT/Lambda"),
        ("lambda.retention@prev", "CRaFT/Lambda Before"),
        ("conflict_ratio", "CRaFT/Conflict Ratio"),
        // A conflict ratio between 0.3 and 0.5 is what the signs of noise give; the cosine tells the two apart.
        ("gradient_cosine", "CRaFT/Gradient Cosine"),
        ("gradient_norm_ratio", "CRaFT/Gradient Norm Ratio"),
        ("retention_over_budget", "CRaFT/Retention Over Budget"),
        ("skipped_steps", "VLA Train/Skipped Steps"),
        ("loss.answer", "VQA Train/Loss"),
        ("answer_accuracy", "VQA Train/Accuracy"),
        ("held_out_action_l1", "VLA Eval/Held-out L1 Loss"),
        // Hardly above the held-out loss when the policy takes a shortcut past its images or its instruction.
        ("held_out_action_l1_other_images", "VLA Eval/Held-out L1 Loss, Other Images"),
        ("held_out_action_l1_other_instructions", "VLA Eval/Held-out L1 Loss, Other Instructions"),
        ("held_out_answer_accuracy", "VQA Eval/Answer Accuracy"),
        // Under the moving average of the weights.
        ("held_out_action_l1_average", "VLA Eval/Held-out L1 Loss, Average"),
        ("held_out_answer_accuracy_average", "VQA Eval/Answer Accuracy, Average"),
    ]

    private static let displayNames = Dictionary(uniqueKeysWithValues: table.map { ($0.name, $0.display) })

    /// A step's metrics as they are logged, sorted by name. A multiplier of before the step is logged where the original
    /// has a name for it; there it has the one after the step under two names.
    static func logged(_ metrics: [String: Double]) -> [(name: String, value: Double)] {
        var named = metrics.filter { !$0.key.hasSuffix("@prev") || displayNames[$0.key] != nil }
            .map { (name: display($0.key), value: $0.value) }
        if let after = metrics["lambda.retention"] { named.append((name: "CRaFT/Lambda After", value: after)) }
        return named.sorted { $0.name < $1.name }
    }

    /// The name in the logs of the metric that is called `name` inside craft.
    ///
    /// A name that already has a section (`CRaFT/Lambda`) is kept as it is.
    package static func display(_ name: String) -> String {
        if let known = displayNames[name] { return known }
        return name.contains("/") ? name : "Plugin/\(name)"
    }
}
