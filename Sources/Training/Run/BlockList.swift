internal import PluginRuntime

extension TrainingStep {
    /// The blocks that `gradient_combine` hooks see, one a line, in their order; empty without such hooks. Of many only the
    /// first and the last.
    func blockLines() -> [String] {
        guard composition.plan.points.contains(where: { $0.point == .gradientCombine && !$0.hooks.isEmpty }) else {
            return []
        }
        let facts = session.blocks
        var rows = [["block", "", "group", "layer", "kind", "parameters"]]
        rows += facts.names.indices.map { index in
            [
                "\(index)", facts.names[index],
                BlockGroup(rawValue: facts.group[index]).map { "\($0)" } ?? "several",
                facts.layer[index] < 0 ? "-" : "\(facts.layer[index])",
                BlockKind(rawValue: facts.kind[index]).map { "\($0)" } ?? "-", "\(facts.numel[index])",
            ]
        }
        let shown = 40
        if facts.count > shown {
            let left = facts.count - shown
            rows.replaceSubrange(
                shown - 7..<facts.count - 7,
                with: [["", "and \(left) more; scope=layer or module has fewer", "", "", "", ""]])
        }
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return ["Blocks"]
            + rows.map { row in
                let cells = zip(row, widths).map { $0 + String(repeating: " ", count: max(0, $1 - $0.count)) }
                return "  " + String(cells.joined(separator: "  ").reversed().drop { $0 == " " }.reversed())
            } + [""]
    }
}
