/// A dotted name with placeholders, such as `cotangent.{objective}.{target}`.
///
/// In a plugin's signature a placeholder is filled from its settings; in the host's registry it stands for any name.
package struct NameTemplate: Sendable, Hashable, CustomStringConvertible {
    enum Part: Sendable, Hashable {
        case literal(String)
        case placeholder(String)
    }

    let parts: [Part]
    package let description: String

    /// Throws ``SignatureError`` when the text is not a name.
    package init(parsing text: String) throws(SignatureError) {
        var parts: [Part] = []
        var literal = ""
        var rest = text[...]
        while let character = rest.popFirst() {
            if character == "{" {
                guard let close = rest.firstIndex(of: "}") else {
                    throw SignatureError("'\(text)' lacks a closing '}'")
                }
                let name = String(rest[..<close])
                guard !name.isEmpty, name.allSatisfy({ $0.isNameCharacter }) else {
                    throw SignatureError("'\(text)': '{\(name)}' does not name a setting")
                }
                if !literal.isEmpty { parts.append(.literal(literal)) }
                literal = ""
                if case .placeholder? = parts.last {
                    throw SignatureError("'\(text)': put a '.' between two placeholders")
                }
                parts.append(.placeholder(name))
                rest = rest[rest.index(after: close)...]
            } else {
                guard character.isNameCharacter || character == "." else {
                    throw SignatureError("'\(text)' is not a name: '\(character)' is not allowed in one")
                }
                literal.append(character)
            }
        }
        if !literal.isEmpty { parts.append(.literal(literal)) }
        let hasEmptySegment = text.hasPrefix(".") || text.hasSuffix(".") || text.firstRange(of: "..") != nil
        guard !parts.isEmpty, !hasEmptySegment else {
            throw SignatureError("'\(text)' is not a name: a segment is empty")
        }
        self.parts = parts
        description = text
    }

    /// The names between braces, in order.
    package var placeholders: [String] {
        parts.compactMap { if case .placeholder(let name) = $0 { name } else { nil } }
    }

    /// The name with every placeholder replaced; `nil` when `values` lacks one.
    package func filled(with values: [String: String]) -> String? {
        var name = ""
        for part in parts {
            switch part {
            case .literal(let text): name += text
            case .placeholder(let key):
                guard let value = values[key] else { return nil }
                name += value
            }
        }
        return name
    }

    /// Every way `name` fits, as the text each placeholder stands for. A placeholder takes one segment or more, so that
    /// `cotangent.{objective}.{target}` fits `cotangent.action.feature.query`; fewest segments first come first.
    package func matches(_ name: String) -> [[String: String]] {
        Self.matches(parts[...], name[...])
    }

    private static func matches(_ parts: ArraySlice<Part>, _ name: Substring) -> [[String: String]] {
        guard let part = parts.first else { return name.isEmpty ? [[:]] : [] }
        let rest = parts.dropFirst()
        switch part {
        case .literal(let text):
            return name.hasPrefix(text) ? matches(rest, name.dropFirst(text.count)) : []
        case .placeholder(let key):
            var found: [[String: String]] = []
            var end = name.startIndex
            while end < name.endIndex {
                end = name.index(after: end)
                // A placeholder covers whole characters up to the next literal, which begins with "." or ends the name.
                guard end == name.endIndex || name[end] == "." else { continue }
                for var match in matches(rest, name[end...]) {
                    match[key] = String(name[..<end])
                    found.append(match)
                }
            }
            return found
        }
    }

    /// Whether `text` can be one or more whole segments of a name.
    static func isName(_ text: String) -> Bool {
        !text.isEmpty
            && text.split(separator: ".", omittingEmptySubsequences: false)
                .allSatisfy { !$0.isEmpty && $0.allSatisfy { $0.isNameCharacter } }
    }
}
