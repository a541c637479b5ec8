/// Reads the text of a `SplitPattern`.
struct SplitPatternParser {
    typealias Node = SplitPattern.Node
    typealias Failure = SplitPattern.Failure

    private let text: [Unicode.Scalar]
    private var index = 0
    private var foldsCase = false
    private var depth = 0

    init(_ pattern: String) { text = Array(pattern.unicodeScalars) }

    mutating func pattern() throws(Failure) -> [[Node]] {
        let branches = try alternatives()
        guard index == text.count else { throw Failure(description: "it has a ')' too many") }
        return branches
    }

    private var next: Unicode.Scalar? { index < text.count ? text[index] : nil }

    private mutating func take(_ expected: String) -> Bool {
        let scalars = Array(expected.unicodeScalars)
        guard text[index...].starts(with: scalars) else { return false }
        index += scalars.count
        return true
    }

    private mutating func alternatives() throws(Failure) -> [[Node]] {
        depth += 1
        defer { depth -= 1 }
        guard depth <= 32 else { throw Failure(description: "its groups nest more than 32 deep") }
        var branches: [[Node]] = [[]]
        while let scalar = next, scalar != ")" {
            if scalar == "|" {
                index += 1
                branches.append([])
            } else {
                branches[branches.count - 1].append(try element())
            }
        }
        return branches
    }

    /// A group or a character, and how often.
    private mutating func element() throws(Failure) -> Node {
        if take("(") { return try group() }
        let set = try character()
        var (minimum, maximum) = (1, 1)
        var isPossessive = false
        if take("?") {
            minimum = 0
            isPossessive = take("+")
        } else if take("*") {
            (minimum, maximum) = (0, .max)
            isPossessive = take("+")
        } else if take("+") {
            maximum = .max
            isPossessive = take("+")
        } else if next == "{" {
            (minimum, maximum) = try interval()
        }
        if let after = next, "?*+{".unicodeScalars.contains(after) {
            throw Failure(description: "'\(after)' after a repetition is not supported")
        }
        return .characters(set, minimum: minimum, maximum: maximum, isPossessive: isPossessive)
    }

    /// `{2}`, `{2,}` or `{1,3}`.
    private mutating func interval() throws(Failure) -> (Int, Int) {
        guard let close = text[index...].firstIndex(of: "}") else { throw Failure(description: "a '{' is not closed") }
        let parts = String(String.UnicodeScalarView(text[(index + 1)..<close]))
            .split(separator: ",", omittingEmptySubsequences: false)
        index = close + 1
        guard let minimum = parts.first.flatMap({ Int($0) }), (0...1000).contains(minimum), parts.count <= 2 else {
            throw Failure(description: "an interval in braces is not supported")
        }
        if parts.count == 1 { return (minimum, minimum) }
        if parts[1].isEmpty { return (minimum, .max) }
        guard let maximum = Int(parts[1]), (minimum...1000).contains(maximum) else {
            throw Failure(description: "an interval in braces is not supported")
        }
        return (minimum, maximum)
    }

    private mutating func group() throws(Failure) -> Node {
        let outer = foldsCase
        defer { foldsCase = outer }
        var isNegative: Bool?
        if take("?!") {
            isNegative = true
        } else if take("?=") {
            isNegative = false
        } else if take("?i:") {
            foldsCase = true
        } else if !take("?:"), next == "?" {
            throw Failure(description: "groups other than (?:, (?i:, (?= and (?! are not supported")
        }
        let branches = try alternatives()
        guard take(")") else { throw Failure(description: "a '(' is not closed") }
        if foldsCase, branches.contains(where: Self.mayFoldTogether) {
            throw Failure(description: "case folding of several letters at once ('ss', 'ff', 'st') is not supported")
        }
        if let isNegative { return .lookahead(branches, isNegative: isNegative) }
        let isOptional = take("?")
        if let after = next, "?*+{".unicodeScalars.contains(after) {
            throw Failure(description: "repeating a group is not supported")
        }
        return .group(branches, isOptional: isOptional)
    }

    /// Whether consecutive letters may equal one character ('ß' is "ss", 'ﬁ' is "fi", 'ﬆ' is "st").
    private static func mayFoldTogether(_ branch: [Node]) -> Bool {
        func holds(_ node: Node, _ letters: String) -> Bool {
            guard case .characters(let set, _, _, _) = node else { return false }
            return letters.unicodeScalars.contains { set.contains(ScalarTraits($0)) }
        }
        return zip(branch, branch.dropFirst()).contains { first, second in
            (holds(first, "s") && holds(second, "st")) || (holds(first, "f") && holds(second, "fil"))
        }
    }

    private mutating func character() throws(Failure) -> ScalarSet {
        guard let scalar = next else { throw Failure(description: "it ends too early") }
        index += 1
        var set = ScalarSet()
        switch scalar {
        case "[": return try bracket()
        case "\\": try escape(into: &set)
        case ".":
            set.insert(0x0a...0x0a)
            set.negate()
        case "^", "$", "?", "*", "+", "{", "}", "]":
            throw Failure(description: "'\(scalar)' is not supported there")
        default: set.insert(scalar.value...scalar.value)
        }
        if foldsCase { set.foldCase() }
        return set
    }

    private mutating func bracket() throws(Failure) -> ScalarSet {
        var set = ScalarSet()
        let isNegated = take("^")
        var isFirst = true
        while true {
            guard let scalar = next else { throw Failure(description: "a '[' is not closed") }
            if scalar == "]", !isFirst { break }
            guard scalar != "[", scalar != "]", !text[index...].starts(with: "&&".unicodeScalars) else {
                throw Failure(description: "sets within sets are not supported")
            }
            isFirst = false
            index += 1
            var low = scalar
            if scalar == "\\" {
                guard let value = try escape(into: &set) else { continue }
                low = value
            }
            guard next == "-", index + 1 < text.count, text[index + 1] != "]" else {
                set.insert(low.value...low.value)
                continue
            }
            index += 1
            var high = text[index]
            index += 1
            if high == "\\" {
                guard let value = try escape(into: &set) else {
                    throw Failure(description: "a range in brackets ends in a class")
                }
                high = value
            }
            guard low <= high else { throw Failure(description: "a range in brackets is empty") }
            set.insert(low.value...high.value)
        }
        index += 1
        if foldsCase { set.foldCase() }
        if isNegated { set.negate() }
        return set
    }

    /// What follows a backslash: adds it to `set`, and gives the character where it is only one.
    @discardableResult
    private mutating func escape(into set: inout ScalarSet) throws(Failure) -> Unicode.Scalar? {
        guard let scalar = next else { throw Failure(description: "it ends in a backslash") }
        index += 1
        switch scalar {
        case "s": set.insertSpaces()
        case "S": set.insertNonSpaces()
        case "d": set.insert(categories: ScalarSet.categories(named: "Nd") ?? 0)
        case "p", "P":
            guard take("{"), let close = text[index...].firstIndex(of: "}") else {
                throw Failure(description: "\\\(scalar) without braces is not supported")
            }
            let name = String(String.UnicodeScalarView(text[index..<close]))
            index = close + 1
            guard let bits = ScalarSet.categories(named: name) else {
                throw Failure(description: "\\\(scalar){\(name)} is not a general category")
            }
            set.insert(categories: scalar == "p" ? bits : ScalarSet.everyCategory & ~bits)
        default:
            let value = try plain(scalar)
            set.insert(value.value...value.value)
            return value
        }
        return nil
    }

    private mutating func plain(_ scalar: Unicode.Scalar) throws(Failure) -> Unicode.Scalar {
        switch scalar {
        case "n": return "\n"
        case "r": return "\r"
        case "t": return "\t"
        case "f": return "\u{c}"
        case "v": return "\u{b}"
        case "u":
            let digits = String(String.UnicodeScalarView(text[index...].prefix(4)))
            guard digits.utf8.count == 4, let code = UInt32(digits, radix: 16), let value = Unicode.Scalar(code) else {
                throw Failure(description: "\\u is not followed by the four digits of a character")
            }
            index += 4
            return value
        default:
            guard scalar.value < 0x80, !scalar.properties.isAlphabetic, scalar.properties.numericType == nil else {
                throw Failure(description: "\\\(scalar) is not supported")
            }
            return scalar
        }
    }
}
