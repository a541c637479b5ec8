internal import Foundation
internal import Models
internal import PluginRuntime

/// What the plugins of a run ask for beyond what training needs anyway, and what it takes per step.
package struct RequestCost: Sendable {
    /// Name in the registry, or the objective whose gradient it is.
    package var name: String
    /// Instances that read it, or give it.
    package var askedBy: [String]
    /// Bytes held for it.
    package var bytes: Int
    /// Floating-point operations per step.
    package var flops: Double
    package var note: String

    /// Rows for the terminal; the forward pass is there for comparison.
    static func lines(_ requests: [RequestCost], forwardFlops: Double) -> [String] {
        var rows = [["request", "asked by", "memory", "per step", ""]]
        rows.append([
            "forward pass", "training", "", compute(forwardFlops), "for comparison; its memory is in activations",
        ])
        for request in requests {
            rows.append([
                request.name, request.askedBy.joined(separator: ", "), memory(request.bytes), compute(request.flops),
                request.note,
            ])
        }
        let widths = (0..<4).map { column in rows.map { $0[column].count }.max() ?? 0 }
        return ["What the plugins ask for"]
            + rows.map { row in
                var line = " "
                for (column, text) in row.enumerated() {
                    let padding = String(repeating: " ", count: max(0, (column < 4 ? widths[column] : 0) - text.count))
                    line += " " + (column == 2 || column == 3 ? padding + text : text + padding) + " "
                }
                return String(line.reversed().drop { $0 == " " }.reversed())
            }
    }

    private static func memory(_ bytes: Int) -> String {
        bytes == 0
            ? "-"
            : bytes < 1 << 20
                ? String(format: "%.1f KiB", Double(bytes) / 1024)
                : String(format: "%.1f MiB", Double(bytes) / Double(1 << 20))
    }

    private static func compute(_ flops: Double) -> String {
        flops == 0
            ? "-" : flops < 1e9 ? String(format: "%.2f MFLOP", flops / 1e6) : String(format: "%.2f GFLOP", flops / 1e9)
    }
}

extension TrainingStep {
    /// What each request of the composition takes, from a run through without arithmetic.
    func requestCosts(_ run: DryRun) -> [RequestCost] {
        let (k, m) = (blocks.blocks.count, objectives.count)
        let n = blocks.blocks.reduce(0) { $0 + $1.count }
        let steps = Double(settings.accumulation)
        var costs: [RequestCost] = []
        func add(_ name: String, _ askedBy: [String], _ bytes: Int, _ flops: Double, _ note: String) {
            if !askedBy.isEmpty {
                costs.append(RequestCost(name: name, askedBy: askedBy, bytes: bytes, flops: flops, note: note))
            }
        }
        for (tap, count) in zip(taps, run.featureCounts) {
            add(
                "feature.\(tap.name)", readers(of: "feature.\(tap.name)"), 0, 0,
                "\(count) values of a pass that runs anyway")
        }
        // One pass for all taps.
        let anchored = taps.indices.filter { !readers(of: "anchor.\(taps[$0].name)").isEmpty }
        add(
            anchored.map { "anchor.\(taps[$0].name)" }.joined(separator: ", "),
            instances { hook in
                hook.reads.contains { read in anchored.contains { read.name == "anchor.\(taps[$0].name)" } }
            },
            4 * anchored.reduce(0) { $0 + run.featureCounts[$1] }, steps * run.anchorFlops,
            "a forward pass under the initial weights")
        for (name, count) in [("anchor_actions", run.actionCount), ("anchor_text_logits", run.answerCount)] {
            add(
                name, readers(of: name), 4 * count, anchored.isEmpty ? steps * run.anchorFlops : 0,
                anchored.isEmpty
                    ? "a forward pass under the initial weights" : "in the same pass under the initial weights")
        }
        for cost in run.probes {
            let probe = cost.probe
            let every =
                (probe.interval == 1 ? "every step" : "every \(probe.interval) steps")
                + (probe.end.map { " until step \($0)" } ?? "")
            let due = steps / Double(probe.interval)
            func askers(_ keys: [String]) -> [String] { instances { $0.reads.contains { keys.contains($0.name) } } }
            let taps = probe.taps.map(\.name)
            add(
                "probe.\(probe.name)", askers(taps.map { probe.name("feature.\($0)") } + [probe.name("logits")]), 0,
                due * cost.forwardFlops, "a forward pass \(every), on average; its memory is in activations")
            add(
                "probe.\(probe.name) anchors",
                askers(taps.map { probe.name("anchor.\($0)") } + [probe.name("anchor_logits")]), 4 * cost.anchorCount,
                due * cost.anchorFlops, "the same under the initial weights")
        }
        for cost in run.streams {
            let stream = cost.stream
            let every = stream.interval == 1 ? "every step" : "every \(stream.interval) steps"
            let due = steps / Double(stream.interval)
            let values = stream.valueNames(composition)
            let anchors = values.filter { $0.dropFirst(stream.prefix.count).hasPrefix("anchor") }
            add(
                stream.title, instances { $0.reads.contains { values.contains($0.name) } }, 0, due * cost.forwardFlops,
                "a forward pass of \(stream.batchSize) samples \(every); its memory is in activations")
            add(
                "\(stream.title) anchors", instances { $0.reads.contains { anchors.contains($0.name) } },
                4 * cost.anchorCount, due * cost.anchorFlops, "the same under the initial weights")
        }
        for (index, objective) in objectives.enumerated() {
            let (interval, occasion) = occasion(of: objective)
            add(
                "gradient of \(objective)", givers(of: "loss.\(objective)"), run.reachedBytes(index),
                steps * run.backwardFlops[index] / Double(interval),
                "a backward pass of its own\(interval == 1 ? "" : " when its \(occasion) runs"), and an accumulator where it "
                    + "reaches")
        }
        add(
            "gram", readers(of: "gram"), 8 * k * m * m, Double(m * (m + 1)) * Double(n),
            "\(m * (m + 1) / 2) inner product\(m == 1 ? "" : "s") in \(k) block\(k == 1 ? "" : "s")")
        add("grads", readers(of: "grads"), 4 * m * n, 0, "every objective's gradient copied in full")
        add("combined", givers(of: "combined"), 8 * n, 2 * Double(n), "a gradient from a plugin, and its copy")
        add(
            "gram_cross", readers(of: "gram_cross"), 4 * m * n, 2 * Double(m * m) * Double(n),
            "the first half's gradients apart, and inner products with the second's")
        let drifts =
            ["drift2", "drift_dot", "initial"].flatMap(readers) + givers(of: "pull")
            + objectives.flatMap { givers(of: "cotangent.\($0).drift") }
        add(
            "drift", drifts.reduce(into: []) { if !$0.contains($1) { $0.append($1) } }, 4 * n, 3 * Double(n),
            "a copy of the parameters at the start")
        add("parameters", readers(of: "parameters"), 4 * n, 0, "the parameters copied in block order")
        add("initial", readers(of: "initial"), 4 * n, 0, "those of the start copied in block order")
        return costs
    }

    /// Steps between those in which an objective has a gradient, and what runs in them: more than 1 when every cotangent it
    /// gives is of probes or data streams.
    private func occasion(of objective: String) -> (interval: Int, what: String) {
        let prefix = "cotangent.\(objective)."
        let given = composition.plugins.flatMap(\.hooks).flatMap(\.provides).filter { $0.hasPrefix(prefix) }
        let occasions = given.map { name -> (interval: Int, what: String) in
            if let probe = probes.probes.first(where: { name.hasPrefix(prefix + $0.name("")) }) {
                return (max(1, probe.interval), "probe")
            }
            let stream = streams.streams.first { !$0.prefix.isEmpty && name.hasPrefix(prefix + $0.prefix) }
            return (max(1, stream?.interval ?? 1), "stream")
        }
        return occasions.min { $0.interval < $1.interval } ?? (1, "")
    }

    private func readers(of name: String) -> [String] { instances { $0.reads.contains { $0.name == name } } }

    private func givers(of name: String) -> [String] { instances { $0.provides.contains { $0.name == name } } }

    private func instances(_ isMeant: (CompositionPlan.Hook) -> Bool) -> [String] {
        var names: [String] = []
        for hook in composition.plan.points.flatMap(\.hooks) where isMeant(hook) && !names.contains(hook.plugin) {
            names.append(hook.plugin)
        }
        return names
    }
}
