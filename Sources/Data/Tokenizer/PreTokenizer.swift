/// Splits text into the pieces within which byte pairs are merged.
///
/// Runs the split patterns of Qwen2 and Llama 3, which differ only in how many digits make a piece, without a regular
/// expression engine:
///
///     (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
struct PreTokenizer: Sendable {
    private static let prefix = #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"#
    private static let suffix = #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#

    private let maximumDigits: Int

    /// Nil for a pattern that is neither Qwen2's nor Llama 3's.
    init?(pattern: String) {
        switch pattern {
        case Self.prefix + Self.suffix: maximumDigits = 1
        case Self.prefix + "{1,3}" + Self.suffix: maximumDigits = 3
        default: return nil
        }
    }

    /// Consecutive ranges of `text` that cover it.
    func split(_ text: [Unicode.Scalar]) -> [Range<Int>] {
        let classes = text.map(CharacterClass.init)
        var pieces: [Range<Int>] = []
        var start = 0
        while start < text.count {
            let end = pieceEnd(text, classes, start)
            pieces.append(start..<end)
            start = end
        }
        return pieces
    }

    /// The alternatives of the pattern, in its order; the first that matches wins.
    private func pieceEnd(_ text: [Unicode.Scalar], _ classes: [CharacterClass], _ start: Int) -> Int {
        func run(from index: Int, while condition: (CharacterClass) -> Bool) -> Int {
            var index = index
            while index < classes.count, condition(classes[index]) { index += 1 }
            return index
        }
        if let end = contractionEnd(text, start) { return end }

        let first = classes[start]
        let lettersStart = first == .letter || first == .newline || first == .number ? start : start + 1
        let lettersEnd = run(from: lettersStart) { $0 == .letter }
        if lettersEnd > lettersStart { return lettersEnd }

        if first == .number { return min(run(from: start) { $0 == .number }, start + maximumDigits) }

        let otherStart = text[start] == " " ? start + 1 : start
        let otherEnd = run(from: otherStart) { $0 == .other }
        if otherEnd > otherStart { return run(from: otherEnd) { $0 == .newline } }

        // What is left begins with white space: up to its last line break, else all but the last when more text follows.
        let spaceEnd = run(from: start) { $0.isSpace }
        if let lineBreak = (start..<spaceEnd).last(where: { classes[$0] == .newline }) { return lineBreak + 1 }
        if spaceEnd == text.count || spaceEnd == start + 1 { return spaceEnd }
        return spaceEnd - 1
    }

    private static let contractions = ["s", "t", "re", "ve", "m", "ll", "d"].map { Array($0.unicodeScalars) }

    private func contractionEnd(_ text: [Unicode.Scalar], _ start: Int) -> Int? {
        guard text[start] == "'" else { return nil }
        for letters in Self.contractions where start + 1 + letters.count <= text.count {
            let found = text[(start + 1)...].prefix(letters.count).map(Self.folded)
            if found == letters { return start + 1 + letters.count }
        }
        return nil
    }

    /// Simple case folding, as far as the contractions need it: ASCII, and the long s.
    private static func folded(_ scalar: Unicode.Scalar) -> Unicode.Scalar {
        switch scalar {
        case "A"..."Z": Unicode.Scalar(UInt8(scalar.value) + 32)
        case "\u{17f}": "s"
        default: scalar
        }
    }
}

/// The classes that the patterns tell apart.
private enum CharacterClass {
    case letter, number, newline, space, other

    init(_ scalar: Unicode.Scalar) {
        if scalar == "\n" || scalar == "\r" {
            self = .newline
            return
        }
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: self = .letter
        case .decimalNumber, .letterNumber, .otherNumber: self = .number
        default: self = scalar.properties.isWhitespace ? .space : .other
        }
    }

    var isSpace: Bool { self == .space || self == .newline }
}
