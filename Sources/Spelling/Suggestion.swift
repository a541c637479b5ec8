/// "Did you mean": the closest of a set of names.
package enum Suggestion {
    /// The candidate nearest to `word` by edit distance, ignoring case; `nil` when none is near enough to be meant.
    package static func nearest(to word: String, among candidates: some Sequence<String>) -> String? {
        let wanted = Array(word.lowercased().utf8)
        var best: (name: String, distance: Int)?
        for candidate in candidates {
            let other = Array(candidate.lowercased().utf8)
            let distance = editDistance(wanted, other)
            let limit = max(1, min(wanted.count, other.count) * 2 / 5)
            if distance <= limit, distance < (best?.distance ?? .max) { best = (candidate, distance) }
        }
        return best?.name
    }

    /// The candidate nearest to `word`, however far; the first of equally near ones.
    package static func closest(to word: String, among candidates: some Sequence<String>) -> String? {
        let wanted = Array(word.utf8)
        return candidates.map { ($0, editDistance(wanted, Array($0.utf8))) }.min { $0.1 < $1.1 }?.0
    }

    /// "did you mean 'X'?" followed by `otherwise`, or just `otherwise`.
    package static func hint(for word: String, among candidates: [String], otherwise: String) -> String {
        guard let name = nearest(to: word, among: candidates) else { return otherwise }
        return otherwise.isEmpty ? "did you mean '\(name)'?" : "did you mean '\(name)'? \(otherwise)"
    }

    /// Levenshtein distance with one row of memory; a swap of neighbours counts as one change.
    private static func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        if a.isEmpty || b.isEmpty { return max(a.count, b.count) }
        var beforePrevious = [Int](repeating: 0, count: b.count + 1)
        var previous = Array(0...b.count)
        for i in 1...a.count {
            var row = [i] + [Int](repeating: 0, count: b.count)
            for j in 1...b.count {
                let replace = previous[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)
                row[j] = min(replace, previous[j] + 1, row[j - 1] + 1)
                if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] {
                    row[j] = min(row[j], beforePrevious[j - 2] + 1)
                }
            }
            (beforePrevious, previous) = (previous, row)
        }
        return previous[b.count]
    }
}
