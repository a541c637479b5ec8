import Foundation
import Training

/// The figures of `craft bench --hooks` for a terminal.
enum HookReport {
    static func text(of benchmark: HookBenchmark) -> String {
        var rows = [["plugin", "hook", "declares", "native, ns", "frame, ns"]]
        for call in benchmark.calls {
            rows.append([
                call.plugin, call.point, call.declared, String(format: "%.0f", call.native),
                String(format: "%.0f", call.frame),
            ])
        }
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        var lines = rows.map { row in
            row.enumerated().map { column, text in
                let padding = String(repeating: " ", count: widths[column] - text.count)
                return column < 3 ? text + padding : padding + text
            }.joined(separator: "  ")
        }
        let step = benchmark.step
        lines += [
            "",
            "A call is all that the host does for it: inputs by name, results allocated, checked and stored.",
            "All hooks of a CRaFT step, two objectives, \(step.blocks) blocks: "
                + String(
                    format: "%.1f us through plugins, %.1f us in the host, %.1f us more", step.plugins, step.inlined,
                    step.plugins - step.inlined),
        ]
        return lines.joined(separator: "\n")
    }
}
