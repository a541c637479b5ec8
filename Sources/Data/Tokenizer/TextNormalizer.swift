internal import Formats
import Foundation

/// The `normalizer` of a `tokenizer.json`: what is done to text before added tokens with `normalized` are looked for and
/// before it is split.
indirect enum TextNormalizer: Sendable {
    case unicode(UnicodeForm)
    case lowercase
    case strip(left: Bool, right: Bool)
    case replace(SplitPattern, with: [Unicode.Scalar])
    case prepend([Unicode.Scalar])
    case sequence([TextNormalizer])

    init(_ node: JSONNode) throws(FileError) {
        let type = try node.required("type").string()
        switch type {
        case "NFC": self = .unicode(.nfc)
        case "NFD": self = .unicode(.nfd)
        case "NFKC": self = .unicode(.nfkc)
        case "NFKD": self = .unicode(.nfkd)
        case "Lowercase": self = .lowercase
        case "Strip": self = .strip(left: try node.flag("strip_left"), right: try node.flag("strip_right"))
        case "Replace":
            self = .replace(try SplitPattern(node.required("pattern")), with: try node.required("content").scalars())
        case "Prepend": self = .prepend(try node.required("prepend").scalars())
        case "Sequence":
            var steps: [TextNormalizer] = []
            for step in try node.required("normalizers").elements() { steps.append(try TextNormalizer(step)) }
            self = .sequence(steps)
        default:
            throw node.failure(
                "normalizer '\(type)' is not supported (NFC, NFD, NFKC, NFKD, Lowercase, Strip, Replace, Prepend, Sequence)"
            )
        }
    }

    func normalise(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        switch self {
        case .unicode(let form): return form.normalise(text)
        case .lowercase: return text.flatMap { Array($0.properties.lowercaseMapping.unicodeScalars) }
        case .strip(let left, let right):
            var rest = text[...]
            if left { rest = rest.drop { $0.properties.isWhitespace } }
            while right, rest.last?.properties.isWhitespace == true { rest.removeLast() }
            return Array(rest)
        case .replace(let pattern, let content): return pattern.replacing(in: text, with: content)
        case .prepend(let prefix): return text.isEmpty ? text : prefix + text
        case .sequence(let steps): return steps.reduce(text) { $1.normalise($0) }
        }
    }
}

/// The four normal forms of Unicode.
enum UnicodeForm: Sendable {
    case nfc, nfd, nfkc, nfkd

    func normalise(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
        // Nothing below the first combining mark changes in NFC, nothing in ASCII in any form.
        let unchanged: UInt32 = self == .nfc ? 0x300 : 0x80
        if text.allSatisfy({ $0.value < unchanged }) { return text }
        var result: [Unicode.Scalar] = []
        var start = 0
        for (index, scalar) in text.enumerated() where !Self.isCovered(scalar) {
            result += mapped(text[start..<index])
            result.append(scalar)
            start = index + 1
        }
        return result + mapped(text[start...])
    }

    /// Whether the tables of the `tokenizers` package, which are of Unicode 9, know the character. To them, those
    /// of later versions neither decompose nor combine.
    private static func isCovered(_ scalar: Unicode.Scalar) -> Bool {
        guard scalar.value >= 0x300, let age = scalar.properties.age else { return true }
        return age.major <= 9
    }

    private func mapped(_ part: ArraySlice<Unicode.Scalar>) -> [Unicode.Scalar] {
        if part.isEmpty { return [] }
        let text = String(String.UnicodeScalarView(part))
        // Foundation's compatibility mapping leaves marks that come of it in their old order (U+FF9E after U+0301).
        var compatible: String {
            text.decomposedStringWithCompatibilityMapping.decomposedStringWithCanonicalMapping
        }
        // Foundation's composed forms leave some text as it is, such as a Hangul syllable before a final consonant and
        // what only compatibility decomposes; composing what was decomposed first gives the standard's.
        let mapped =
            switch self {
            case .nfc: text.decomposedStringWithCanonicalMapping.precomposedStringWithCanonicalMapping
            case .nfd: text.decomposedStringWithCanonicalMapping
            case .nfkc: compatible.precomposedStringWithCanonicalMapping
            case .nfkd: compatible
            }
        return Array(mapped.unicodeScalars)
    }
}

extension SplitPattern {
    /// The `pattern` of a Split or Replace: `{"String": ..}` or `{"Regex": ..}`.
    init(_ node: JSONNode) throws(FileError) {
        let literal = node.member("String")
        let expression = node.member("Regex")
        do throws(Failure) {
            if let literal {
                try self.init(literal: Self.scalars(literal))
            } else if let expression {
                try self.init(Self.text(expression))
            } else {
                throw Failure(description: "expected {\"String\": text} or {\"Regex\": expression}")
            }
        } catch {
            let text = (try? (literal ?? expression)?.string()) ?? ""
            throw node.failure("the pattern '\(text)' is not supported: \(error.description)")
        }
    }

    private static func text(_ node: JSONNode) throws(Failure) -> String {
        do { return try node.string() } catch { throw Failure(description: "expected a string") }
    }

    private static func scalars(_ node: JSONNode) throws(Failure) -> [Unicode.Scalar] {
        Array(try text(node).unicodeScalars)
    }

    func replacing(in text: [Unicode.Scalar], with content: [Unicode.Scalar]) -> [Unicode.Scalar] {
        let found = matches(in: text)
        if found.isEmpty { return text }
        var result: [Unicode.Scalar] = []
        var start = 0
        for match in found {
            result += text[start..<match.lowerBound]
            result += content
            start = match.upperBound
        }
        return result + text[start...]
    }
}
