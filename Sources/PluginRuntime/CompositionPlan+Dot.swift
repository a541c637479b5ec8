extension CompositionPlan {
    /// The data flow for graphviz: a box for each hook, in a frame for each point, an arrow for each value from who gives
    /// it to who reads it. Dashed arrows are values of the previous step; the host's are in grey.
    ///
    ///     craft plan --plugins A,B --dot | dot -Tsvg > plan.svg
    package var dot: String {
        var lines = [
            "digraph plan {", "  rankdir=LR;", "  node [shape=box, fontname=\"Helvetica\"];",
            "  edge [fontname=\"Helvetica\", fontsize=10];",
            "  host [label=\"host\", shape=ellipse, color=gray50];",
        ]
        for point in points {
            lines.append("  subgraph \(Self.quoted("cluster_\(point.point.rawValue)")) {")
            lines.append("    label=\(Self.quoted(point.point.rawValue)); color=gray70;")
            for (index, hook) in point.hooks.enumerated() {
                lines.append(
                    "    \(Self.node(point, index)) [label=\(Self.quoted("\(index + 1). \(hook.plugin)"))];")
            }
            lines.append("  }")
        }
        // One arrow for all values between the same two, a line for each.
        var labels: [String: [String]] = [:]
        var order: [String] = []
        for point in points {
            for (index, hook) in point.hooks.enumerated() {
                for value in hook.reads where !value.counterparts.isEmpty {
                    for (giver, isLate) in givers(of: value, to: index, at: point) {
                        let style = isLate ? "style=dashed" : giver == "host" ? "color=gray50, fontcolor=gray50" : ""
                        let key = "  \(giver) -> \(Self.node(point, index)) [\(style)"
                        if labels[key] == nil { order.append(key) }
                        labels[key, default: []].append(value.name + (value.isPrevious ? "@prev" : ""))
                    }
                }
            }
        }
        for key in order {
            let text = (labels[key] ?? []).joined(separator: "\n")
            lines.append("\(key)\(key.hasSuffix("[") ? "" : ", ")label=\(Self.quoted(text))];")
        }
        return (lines + ["}", ""]).joined(separator: "\n")
    }

    /// Nodes that give `value` to the hook: the last one before it that provides the name, and where that is only its
    /// first value (`plan`) or none, the one after it, whose value arrives in the next step (`isLate`).
    private func givers(of value: Value, to index: Int, at point: Point) -> [(node: String, isLate: Bool)] {
        value.counterparts.flatMap { name -> [(node: String, isLate: Bool)] in
            if name == "absent" { return [] }
            if name == "host" { return [("host", false)] }
            var before: (node: String, point: HookPoint)?
            var after: String?
            for other in points {
                for (position, hook) in other.hooks.enumerated()
                where hook.plugin == name && hook.provides.contains(where: { $0.name == value.name }) {
                    let isBefore = (other.point, position) < (point.point, index)
                    if isBefore && !value.isPrevious { before = (Self.node(other, position), other.point) }
                    if !isBefore || value.isPrevious { after = Self.node(other, position) }
                }
            }
            var found: [(node: String, isLate: Bool)] = []
            if let before { found.append((before.node, false)) }
            if let after, before == nil || before?.point == .plan { found.append((after, true)) }
            return found
        }
    }

    private static func node(_ point: Point, _ index: Int) -> String { "\(point.point.rawValue)_\(index)" }

    private static func quoted(_ text: String) -> String {
        let escaped = text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
        return "\"\(escaped)\""
    }
}
