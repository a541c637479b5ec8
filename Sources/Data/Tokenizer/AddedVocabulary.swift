internal import Formats

/// The tokens that are found in text before it is split: control tokens, and words that were added to a vocabulary.
struct AddedVocabulary: Sendable {
    struct Token: Sendable {
        var id: Int32
        var content: [Unicode.Scalar]
        /// What is looked for, and what the token reads as: the content, normalised where the token says so.
        var pattern: [Unicode.Scalar]
        var isSingleWord: Bool
        var stripsLeft: Bool
        var stripsRight: Bool
        var isNormalized: Bool
        var isSpecial: Bool
    }

    enum Part {
        case token(Int32)
        case text(ArraySlice<Unicode.Scalar>)
    }

    let tokens: [Int32: Token]
    private let specialContents: Set<[Unicode.Scalar]>
    private let rawTrie: TokenTrie
    private let normalizedTrie: TokenTrie

    /// - Parameter vocabulary: the model's own tokens; one that is added again keeps its id. All others are numbered
    ///   from the vocabulary's size on, in the order of the file, whatever id the file gives, as in the `tokenizers`
    ///   package.
    init(_ list: JSONNode?, vocabulary: [[UInt8]: Int32], normalizer: TextNormalizer?) throws(FileError) {
        var tokens: [Int32: Token] = [:]
        var ids: [[Unicode.Scalar]: Int32] = [:]
        var fileIDs: [Int: [Unicode.Scalar]] = [:]
        var next = Int32(vocabulary.count)
        for node in try list?.elements() ?? [] {
            let content = try node.required("content").scalars()
            let fileID = try node.required("id").integer(atMost: Tokenizer.maximumID)
            if content.isEmpty { continue }
            if let other = fileIDs.updateValue(content, forKey: fileID), other != content {
                throw node.failure(
                    "'\(Self.text(content))' has id \(fileID), as '\(Self.text(other))' has; expected ids of their own")
            }
            let isNormalized = try node.flag("normalized")
            let id = ids[content] ?? vocabulary[Array(Self.text(content).utf8)] ?? next
            if id == next { next += 1 }
            ids[content] = id
            let pattern = isNormalized ? normalizer?.normalise(content) ?? content : content
            tokens[id] = Token(
                id: id, content: content, pattern: pattern, isSingleWord: try node.flag("single_word"),
                stripsLeft: try node.flag("lstrip"), stripsRight: try node.flag("rstrip"), isNormalized: isNormalized,
                isSpecial: try node.flag("special"))
        }
        self.tokens = tokens
        specialContents = Set(tokens.values.lazy.filter(\.isSpecial).map(\.content))
        func trie(_ chosen: some Sequence<Token>) throws(FileError) -> TokenTrie {
            var trie = TokenTrie()
            for token in chosen.sorted(by: { $0.id < $1.id }) where !token.pattern.isEmpty {
                if let other = trie.insert(token.pattern, token.id), let list {
                    throw list.failure(
                        "tokens \(other) and \(token.id) are both looked for as '\(Self.text(token.pattern))'")
                }
            }
            return trie
        }
        rawTrie = try trie(tokens.values.filter { !$0.isNormalized })
        normalizedTrie = try trie(tokens.values.filter(\.isNormalized))
    }

    static func text(_ scalars: [Unicode.Scalar]) -> String { String(String.UnicodeScalarView(scalars)) }

    func isSpecial(_ text: [Unicode.Scalar]) -> Bool { specialContents.contains(text) }

    /// Cuts `text` at the added tokens that are matched before (`normalized` false) or after normalisation.
    func split(_ text: [Unicode.Scalar], normalized: Bool, _ body: (Part) -> Void) {
        let trie = normalized ? normalizedTrie : rawTrie
        // Where the last token's part ends; further than its match where it takes the spaces behind it.
        var end = 0
        var position = 0
        while position < text.count {
            guard let match = trie.longestMatch(in: text, at: position), let token = tokens[match.id] else {
                position += 1
                continue
            }
            var start = position
            var stop = match.end
            position = match.end
            if token.isSingleWord {
                let isOpen = start == 0 || !Self.isWord(text[start - 1])
                let isClosed = stop == text.count || !Self.isWord(text[stop])
                guard isOpen, isClosed else { continue }
            }
            if token.stripsLeft {
                while start > 0, text[start - 1].properties.isWhitespace { start -= 1 }
                start = max(start, end)
            }
            if token.stripsRight {
                while stop < text.count, text[stop].properties.isWhitespace { stop += 1 }
            }
            if end < start { body(.text(text[end..<start])) }
            body(.token(token.id))
            end = stop
        }
        if end < text.count { body(.text(text[end...])) }
    }

    /// `\w` of UTS #18.
    private static func isWord(_ scalar: Unicode.Scalar) -> Bool {
        if scalar.properties.isAlphabetic || scalar.properties.isJoinControl { return true }
        switch scalar.properties.generalCategory {
        case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation: return true
        default: return false
        }
    }
}

/// A prefix tree of tokens' texts.
private struct TokenTrie: Sendable {
    /// Keyed by a node and the character that leads on from it.
    private var edges: [UInt64: Int] = [:]
    /// The token that ends at each node, or -1. Node 0 is the root.
    private var ids: [Int32] = [-1]

    private static func key(_ node: Int, _ scalar: Unicode.Scalar) -> UInt64 {
        UInt64(node) << 32 | UInt64(scalar.value)
    }

    /// The token that has the same text already, if there is one.
    mutating func insert(_ text: [Unicode.Scalar], _ id: Int32) -> Int32? {
        var node = 0
        for scalar in text {
            let key = Self.key(node, scalar)
            if let known = edges[key] {
                node = known
            } else {
                node = ids.count
                edges[key] = node
                ids.append(-1)
            }
        }
        defer { ids[node] = id }
        return ids[node] >= 0 ? ids[node] : nil
    }

    func longestMatch(in text: [Unicode.Scalar], at start: Int) -> (end: Int, id: Int32)? {
        var node = 0
        var found: (end: Int, id: Int32)?
        for index in start..<text.count {
            guard let next = edges[Self.key(node, text[index])] else { break }
            node = next
            if ids[node] >= 0 { found = (index + 1, ids[node]) }
        }
        return found
    }
}
