import Training

/// What a table says of one run, from its `metrics.jsonl`.
package enum RunMeasures {
    /// Every measure there can be.
    package static let columns: [AblationTable.Column] = sources.map { .init(title: $0.title, digits: $0.digits) }

    private enum Kind {
        /// The last value there is.
        case last
        /// The mean over the last tenth of the steps (at least one, at most 50).
        case tail
        /// The median after the first three steps.
        case median
    }

    private static let sources: [(title: String, key: String, kind: Kind, digits: Int)] = [
        ("train loss", "VLA Train/Loss", .tail, 4),
        ("held-out L1", "VLA Eval/Held-out L1 Loss", .last, 4),
        ("VQA accuracy", "VQA Eval/Answer Accuracy", .last, 3),
        ("L1, average", "VLA Eval/Held-out L1 Loss, Average", .last, 4),
        ("VQA, average", "VQA Eval/Answer Accuracy, Average", .last, 3),
        ("L_ret", "CRaFT/Retention Loss", .tail, 5),
        ("lambda", "CRaFT/Lambda", .tail, 4),
        ("conflict ratio", "CRaFT/Conflict Ratio", .tail, 3),
        ("cosine", "CRaFT/Gradient Cosine", .tail, 3),
        ("ms/step", "ms", .median, 1),
    ]

    /// - Parameter path: of `metrics.jsonl`.
    package static func read(_ path: String) throws -> [String: Double] {
        let records = try MetricsLog.read(path)
        var measures: [String: Double] = [:]
        for source in sources {
            let values = records.compactMap { $0.values[source.key] }
            guard let last = values.last else { continue }
            switch source.kind {
            case .last: measures[source.title] = last
            case .tail:
                let tail = values.suffix(min(50, max(1, values.count / 10)))
                measures[source.title] = tail.reduce(0, +) / Double(tail.count)
            case .median:
                let sorted = (values.count > 3 ? Array(values.dropFirst(3)) : values).sorted()
                let middle = sorted.count / 2
                measures[source.title] =
                    sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
            }
        }
        return measures
    }
}
