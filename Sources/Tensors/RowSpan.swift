/// Rows of equally long sequences: those whose place in their sequence lies in `range`.
///
/// A loss that reads a few tokens sends cotangents to those alone, and in a causal decoder only to earlier ones. A span
/// says where they can be, so that backward passes leave out the rows that are zero (docs/ENGINE.md, "Active rows").
struct RowSpan: Equatable {
    /// Rows of one sequence.
    let period: Int
    var range: Range<Int>

    /// The smallest span that holds `rows`; nil when there are none or it would be every row.
    init?(holding rows: some Sequence<Int>, period: Int) {
        var lowest = period
        var highest = -1
        for row in rows {
            lowest = min(lowest, row % period)
            highest = max(highest, row % period)
        }
        self.init(period: period, lowest..<max(lowest, highest + 1))
    }

    /// Nil when `range` is empty or all of a sequence.
    init?(period: Int, _ range: Range<Int>) {
        guard !range.isEmpty, range.count < period else { return nil }
        self.period = period
        self.range = range
    }

    /// The smallest span that holds both; nil when that is every row.
    func union(_ other: RowSpan) -> RowSpan? {
        guard period == other.period else { return nil }
        let low = min(range.lowerBound, other.range.lowerBound)
        let high = max(range.upperBound, other.range.upperBound)
        return RowSpan(period: period, low..<high)
    }
}

/// The rows of a matrix that a span picks, numbered 0 ..< count, or all of them.
struct ActiveRows {
    /// Nil: every row.
    let span: RowSpan?
    let count: Int

    init(_ span: RowSpan?, of rows: Int) {
        // A span that leaves out little costs more in copies than it saves.
        if let span, rows % span.period == 0, span.range.count * 8 <= span.period * 7 {
            self.span = span
            count = rows / span.period * span.range.count
        } else {
            self.span = nil
            count = rows
        }
    }

    /// Calls `body` with contiguous rows of the matrix, together those numbered `numbers`, and the number of the first.
    func forEach(in numbers: Range<Int>, _ body: (_ rows: Range<Int>, _ number: Int) -> Void) {
        guard let span else {
            if !numbers.isEmpty { body(numbers, numbers.lowerBound) }
            return
        }
        let width = span.range.count
        var number = numbers.lowerBound
        while number < numbers.upperBound {
            let (sequence, place) = number.quotientAndRemainder(dividingBy: width)
            let length = min(width - place, numbers.upperBound - number)
            let first = sequence * span.period + span.range.lowerBound + place
            body(first..<first + length, number)
            number += length
        }
    }
}
