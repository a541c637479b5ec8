/// What becomes of the matches when text is split at them.
enum SplitBehavior: String, Sendable {
    case removed = "Removed"
    case isolated = "Isolated"
    case mergedWithPrevious = "MergedWithPrevious"
    case mergedWithNext = "MergedWithNext"
    case contiguous = "Contiguous"

    /// The pieces of a text of `count` characters, in order and none empty.
    ///
    /// - Parameter isInverted: takes what lies between the matches for the matches.
    func pieces(count: Int, matches: [Range<Int>], isInverted: Bool = false) -> [Range<Int>] {
        var parts: [(range: Range<Int>, isMatch: Bool)] = []
        var start = 0
        for match in matches {
            if start < match.lowerBound { parts.append((start..<match.lowerBound, isInverted)) }
            parts.append((match, !isInverted))
            start = match.upperBound
        }
        if start < count { parts.append((start..<count, isInverted)) }
        switch self {
        case .removed: return parts.filter { !$0.isMatch }.map(\.range)
        case .isolated: return parts.map(\.range)
        case .contiguous: return Self.merged(parts) { $0 == $1 }
        case .mergedWithPrevious: return Self.merged(parts) { $0 && !$1 }
        case .mergedWithNext:
            // The same rule read from the end: a match joins the piece behind it.
            let mirrored = parts.reversed().map {
                (count - $0.range.upperBound..<count - $0.range.lowerBound, $0.isMatch)
            }
            return Self.merged(mirrored) { $0 && !$1 }
                .reversed().map { count - $0.upperBound..<count - $0.lowerBound }
        }
    }

    /// Joins each part to the one before it where `joins(isMatch, wasMatch)` says so.
    private static func merged(
        _ parts: [(range: Range<Int>, isMatch: Bool)], joins: (Bool, Bool) -> Bool
    ) -> [Range<Int>] {
        var pieces: [Range<Int>] = []
        var wasMatch = false
        for part in parts {
            if joins(part.isMatch, wasMatch), let last = pieces.last {
                pieces[pieces.count - 1] = last.lowerBound..<part.range.upperBound
            } else {
                pieces.append(part.range)
            }
            wasMatch = part.isMatch
        }
        return pieces
    }
}
