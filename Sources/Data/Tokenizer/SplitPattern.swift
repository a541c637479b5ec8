/// The part of Oniguruma's regular expressions that tokenizers split text with.
///
/// Literals, `.`, `\s \S \d`, `\p{..}` of general categories, bracket expressions, `(?:..)`, `(?i:..)`, look-ahead, `|`, and
/// greedy or possessive repetition of single characters. Alternatives are tried in order and repetition gives back, as
/// in any backtracking engine. A pattern that uses more, or that matches nothing at all, is refused.
struct SplitPattern: Sendable {
    indirect enum Node: Sendable {
        case characters(ScalarSet, minimum: Int, maximum: Int, isPossessive: Bool)
        /// One of several sequences.
        case group([[Node]], isOptional: Bool)
        case lookahead([[Node]], isNegative: Bool)

        var minimumLength: Int {
            switch self {
            case .characters(_, let minimum, _, _): minimum
            case .group(let branches, let isOptional): isOptional ? 0 : SplitPattern.minimumLength(branches)
            case .lookahead: 0
            }
        }
    }

    /// Why a pattern is not supported.
    struct Failure: Error {
        var description: String
    }

    private let branches: [[Node]]

    init(_ pattern: String) throws(Failure) {
        var parser = SplitPatternParser(pattern)
        branches = try parser.pattern()
        guard Self.minimumLength(branches) > 0 else { throw Failure(description: "it can match without a character") }
    }

    /// A pattern of text to be found as it stands.
    init(literal text: [Unicode.Scalar]) throws(Failure) {
        guard !text.isEmpty else { throw Failure(description: "it is empty") }
        branches = [text.map { .characters(.init(only: $0), minimum: 1, maximum: 1, isPossessive: false) }]
    }

    private static func minimumLength(_ branches: [[Node]]) -> Int {
        branches.map { branch in branch.reduce(0) { $0 + $1.minimumLength } }.min() ?? 0
    }

    /// The matches in `text`, from left to right, that do not overlap.
    func matches(in text: [Unicode.Scalar]) -> [Range<Int>] {
        let traits = text.map(ScalarTraits.init)
        var found: [Range<Int>] = []
        var start = 0
        while start < traits.count {
            if let end = Self.match(branches, traits, start, then: { $0 }), end > start {
                found.append(start..<end)
                start = end
            } else {
                start += 1
            }
        }
        return found
    }

    /// The end of the first match of one of `branches` at `position` from which `then` goes on to an end.
    private static func match(
        _ branches: [[Node]], _ text: [ScalarTraits], _ position: Int, then: (Int) -> Int?
    ) -> Int? {
        for branch in branches {
            if let end = match(branch, 0, text, position, then: then) { return end }
        }
        return nil
    }

    private static func match(
        _ nodes: [Node], _ index: Int, _ text: [ScalarTraits], _ position: Int, then: (Int) -> Int?
    ) -> Int? {
        guard index < nodes.count else { return then(position) }
        switch nodes[index] {
        case .characters(let set, let minimum, let maximum, let isPossessive):
            var end = position
            while end < text.count, end - position < maximum, set.contains(text[end]) { end += 1 }
            guard end - position >= minimum else { return nil }
            if isPossessive { return match(nodes, index + 1, text, end, then: then) }
            while end >= position + minimum {
                if let result = match(nodes, index + 1, text, end, then: then) { return result }
                end -= 1
            }
            return nil
        case .group(let branches, let isOptional):
            if let end = match(branches, text, position, then: { match(nodes, index + 1, text, $0, then: then) }) {
                return end
            }
            return isOptional ? match(nodes, index + 1, text, position, then: then) : nil
        case .lookahead(let branches, let isNegative):
            let isFound = match(branches, text, position, then: { $0 }) != nil
            return isFound == isNegative ? nil : match(nodes, index + 1, text, position, then: then)
        }
    }
}

extension ScalarSet {
    init(only scalar: Unicode.Scalar) {
        self.init()
        insert(scalar.value...scalar.value)
    }
}
