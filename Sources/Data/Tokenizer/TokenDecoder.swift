internal import Formats

/// The `decoder` of a `tokenizer.json`: turns tokens back into text.
indirect enum TokenDecoder: Sendable {
    case byteLevel
    case byteFallback
    case fuse
    case replace(SplitPattern, with: [Unicode.Scalar])
    case strip(Unicode.Scalar, start: Int, stop: Int)
    case metaspace(Metaspace)
    case sequence([TokenDecoder])

    init(_ node: JSONNode) throws(FileError) {
        let type = try node.required("type").string()
        switch type {
        case "ByteLevel": self = .byteLevel
        case "ByteFallback": self = .byteFallback
        case "Fuse": self = .fuse
        case "Replace":
            self = .replace(try SplitPattern(node.required("pattern")), with: try node.required("content").scalars())
        case "Strip":
            self = .strip(
                try node.required("content").scalar(), start: try node.required("start").integer(atMost: 1 << 30),
                stop: try node.required("stop").integer(atMost: 1 << 30))
        case "Metaspace": self = .metaspace(try Metaspace(node))
        case "Sequence":
            var steps: [TokenDecoder] = []
            for step in try node.required("decoders").elements() { steps.append(try TokenDecoder(step)) }
            self = .sequence(steps)
        default:
            throw node.failure(
                "decoder '\(type)' is not supported (ByteLevel, ByteFallback, Fuse, Replace, Strip, Metaspace, Sequence)"
            )
        }
    }

    /// The texts that, one after the other, are the text.
    func decode(_ tokens: [[Unicode.Scalar]]) -> [[Unicode.Scalar]] {
        switch self {
        case .byteLevel: return [Self.text(tokens.flatMap(ByteAlphabet.bytes))]
        case .byteFallback: return Self.joiningBytes(tokens)
        case .fuse: return [Array(tokens.joined())]
        case .replace(let pattern, let content): return tokens.map { pattern.replacing(in: $0, with: content) }
        case .strip(let content, let start, let stop):
            return tokens.map { token in
                let front = token.prefix(start).prefix { $0 == content }.count
                let back = token.dropFirst(front).suffix(stop).reversed().prefix { $0 == content }.count
                return Array(token.dropFirst(front).dropLast(back))
            }
        case .metaspace(let metaspace):
            return tokens.enumerated().map { metaspace.decode($1, isFirst: $0 == 0) }
        case .sequence(let steps): return steps.reduce(tokens) { $1.decode($0) }
        }
    }

    /// Bytes that are not UTF-8 become U+FFFD, one for each maximal part of a character.
    private static func text(_ bytes: [UInt8]) -> [Unicode.Scalar] {
        Array(String(decoding: bytes, as: UTF8.self).unicodeScalars)
    }

    /// Joins runs of `<0x..>` tokens into the text they encode, or one U+FFFD for each when they encode none.
    private static func joiningBytes(_ tokens: [[Unicode.Scalar]]) -> [[Unicode.Scalar]] {
        var result: [[Unicode.Scalar]] = []
        var bytes: [UInt8] = []
        func flush() {
            if bytes.isEmpty { return }
            if let text = String(validating: bytes, as: UTF8.self) {
                result.append(Array(text.unicodeScalars))
            } else {
                result += Array(repeating: ["\u{fffd}"], count: bytes.count)
            }
            bytes = []
        }
        for token in tokens {
            if let byte = byte(of: token) {
                bytes.append(byte)
            } else {
                flush()
                result.append(token)
            }
        }
        flush()
        return result
    }

    private static func byte(of token: [Unicode.Scalar]) -> UInt8? {
        guard token.count == 6, token.starts(with: "<0x".unicodeScalars), token[5] == ">" else { return nil }
        return UInt8(AddedVocabulary.text(Array(token[3..<5])), radix: 16)
    }
}
