public import PluginKit

/// Which of the run's objectives the rows of a step's Gram matrix are. An objective that has no loss in a step has no row
/// there; what a strategy remembers of it is kept under its number.
public struct ObjectiveRows {
    /// By row, counted from 0.
    public let numbers: [Int]
    /// Objectives of the run.
    public let objectives: Int

    /// - Parameters:
    ///   - rows: the host's `rows`; without them every objective has its row.
    ///   - objectives: the host's `objectives`.
    ///   - count: rows there are.
    public init(_ rows: ArrayView<Int64>?, of objectives: Int?, count: Int) throws {
        numbers = rows.map { rows in (0..<rows.count).map { Int(rows[$0]) } } ?? Array(0..<count)
        self.objectives = rows == nil ? count : objectives ?? count
        let range = 0..<self.objectives
        guard numbers.count == count, Set(numbers).count == count, numbers.allSatisfy({ range.contains($0) }) else {
            throw PluginError(
                "the rows are those of objectives \(numbers); expected \(count) different ones of \(self.objectives)")
        }
    }
}
