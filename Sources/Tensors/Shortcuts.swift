/// Ways to leave out arithmetic whose result is known. Results are the same without, but for rounding. docs/ENGINE.md says what
/// makes each of them right and what it gains; `craft bench --without` measures it.
package struct Shortcuts: OptionSet, Sendable {
    package let rawValue: Int

    package init(rawValue: Int) { self.rawValue = rawValue }

    /// A forward pass computes the hidden states, and the rows of the last one, that something reads.
    package static let demandedStates = Shortcuts(rawValue: 1)
    /// A backward pass leaves out rows whose cotangent is known to be zero (``ActiveRows``).
    package static let activeRows = Shortcuts(rawValue: 2)
    /// A backward pass does rows that have one cotangent only once (``SharedCotangent``).
    package static let sharedCotangents = Shortcuts(rawValue: 4)

    package static let all: Shortcuts = [.demandedStates, .activeRows, .sharedCotangents]

    /// By the names that `craft bench --without` takes.
    package static let named: [(name: String, shortcut: Shortcuts)] = [
        ("demanded-states", .demandedStates), ("active-rows", .activeRows), ("shared-cotangents", .sharedCotangents),
    ]
}
