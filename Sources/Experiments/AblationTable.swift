import Foundation

/// Mean and spread of every measure in every row, and what separates each row from the first, seed by seed.
package struct AblationTable: Sendable {
    /// A measure: its heading, and digits after the point.
    package struct Column: Sendable {
        package var title: String
        package var digits: Int
    }

    /// The runs of one row: seed and measures, those that are done.
    package struct Row: Sendable {
        package var title: String
        package var runs: [UInt64: [String: Double]]
        /// Runs the row should have.
        package var wanted: Int

        package init(title: String, runs: [UInt64: [String: Double]], wanted: Int) {
            self.title = title
            self.runs = runs
            self.wanted = wanted
        }
    }

    /// Mean and standard deviation (n - 1) of n values.
    package struct Statistic: Sendable, Equatable {
        package var count: Int
        package var mean: Double
        /// `nil` for a single value.
        package var deviation: Double?

        /// `nil` without values.
        package init?(_ values: [Double]) {
            guard !values.isEmpty else { return nil }
            count = values.count
            mean = values.reduce(0, +) / Double(count)
            let center = mean
            deviation =
                count < 2
                ? nil
                : (values.reduce(0) { $0 + ($1 - center) * ($1 - center) } / Double(count - 1)).squareRoot()
        }
    }

    package let columns: [Column]
    package let rows: [Row]

    /// Columns that no run has are left out.
    package init(rows: [Row]) {
        self.rows = rows
        columns = RunMeasures.columns.filter { column in
            rows.contains { $0.runs.values.contains { $0[column.title] != nil } }
        }
    }

    package func statistic(_ row: Row, _ column: Column) -> Statistic? {
        Statistic(row.runs.sorted { $0.key < $1.key }.compactMap { $0.value[column.title] })
    }

    /// Over the seeds that both the row and the first one have.
    package func difference(_ row: Row, _ column: Column) -> Statistic? {
        guard let first = rows.first, row.title != first.title else { return nil }
        return Statistic(
            row.runs.sorted { $0.key < $1.key }.compactMap { seed, values in
                guard let value = values[column.title], let base = first.runs[seed]?[column.title] else { return nil }
                return value - base
            })
    }

    // MARK: - As text

    package var text: String {
        var blocks = [aligned(cells { self.statistic($0, $1) }, signed: false)]
        if rows.count > 1 {
            blocks.append(
                "difference to '\(rows[0].title)', seed by seed\n"
                    + aligned(cells { self.difference($0, $1) }.dropFirst().map { $0 }, signed: true))
        }
        return blocks.joined(separator: "\n\n")
    }

    private typealias Cells = (row: Row, cells: [(Column, Statistic?)])

    private func cells(_ value: (Row, Column) -> Statistic?) -> [Cells] {
        rows.map { row in (row, columns.map { ($0, value(row, $0)) }) }
    }

    private func aligned(_ lines: [Cells], signed: Bool) -> String {
        var grid = [["", "runs"] + columns.map(\.title)]
        for line in lines {
            let count = line.cells.compactMap { $0.1?.count }.max() ?? 0
            grid.append(
                [line.row.title, signed ? "\(count)" : "\(line.row.runs.count)/\(line.row.wanted)"]
                    + line.cells.map { Self.number($0.1, $0.0.digits, signed: signed, between: " +- ") ?? "-" })
        }
        let widths = grid[0].indices.map { index in grid.map { $0[index].count }.max() ?? 0 }
        return grid.map { cells in
            cells.enumerated().map { index, cell in
                let blank = String(repeating: " ", count: widths[index] - cell.count)
                return index == 0 ? cell + blank : blank + cell
            }.joined(separator: "  ")
        }.joined(separator: "\n")
    }

    private static func number(_ value: Statistic?, _ digits: Int, signed: Bool, between: String) -> String? {
        guard let value else { return nil }
        let mean = String(format: "%\(signed ? "+" : "").\(digits)f", value.mean)
        return value.deviation.map { mean + between + String(format: "%.\(digits)f", $0) } ?? mean
    }

    /// One line per row and measure, numbers in full precision.
    package var csv: String {
        var lines = ["row,measure,n,mean,std,difference_n,difference_mean,difference_std"]
        func fields(_ value: Statistic?) -> [String] {
            guard let value else { return ["0", "", ""] }
            return ["\(value.count)", "\(value.mean)", value.deviation.map { "\($0)" } ?? ""]
        }
        for row in rows {
            let title = "\"" + row.title.replacingOccurrences(of: "\"", with: "\"\"") + "\""
            for column in columns {
                lines.append(
                    ([title, column.title] + fields(statistic(row, column)) + fields(difference(row, column)))
                        .joined(separator: ","))
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// A `tabular` for booktabs.
    package var latex: String {
        func escaped(_ text: String) -> String {
            text.map { character in
                switch character {
                case "\\": "\\textbackslash{}"
                case "~": "\\textasciitilde{}"
                case "^": "\\textasciicircum{}"
                case "&", "%", "$", "#", "_", "{", "}": "\\\(character)"
                default: String(character)
                }
            }.joined()
        }
        func line(_ first: String, _ cells: [String]) -> String { ([first] + cells).joined(separator: " & ") + " \\\\" }
        func lines(_ all: [Cells], signed: Bool) -> [String] {
            all.map { row, cells in
                line(
                    escaped(row.title),
                    cells.map { column, value in
                        Self.number(value, column.digits, signed: signed, between: " \\pm ").map { "$\($0)$" } ?? "--"
                    })
            }
        }
        var text = [
            "\\begin{tabular}{l\(String(repeating: "r", count: columns.count))}", "\\toprule",
            line("", columns.map { escaped($0.title) }), "\\midrule",
        ]
        text += lines(cells { self.statistic($0, $1) }, signed: false)
        if rows.count > 1 {
            text += [
                "\\midrule",
                "\\multicolumn{\(columns.count + 1)}{l}{Difference to \(escaped(rows[0].title)), by seed} \\\\",
            ]
            text += lines(cells { self.difference($0, $1) }.dropFirst().map { $0 }, signed: true)
        }
        return (text + ["\\bottomrule", "\\end{tabular}"]).joined(separator: "\n") + "\n"
    }
}
