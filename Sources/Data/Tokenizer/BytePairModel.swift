internal import Formats

/// The `model` of a `tokenizer.json`: a BPE over characters, which are spelled bytes in a byte-level tokenizer.
struct BytePairModel: Sendable {
    /// By the UTF-8 of a token: `String` keys would take canonically equivalent tokens for one.
    let vocabulary: [[UInt8]: Int32]
    /// The tokens of single characters.
    private let characters: [Unicode.Scalar: Int32]
    private let merges: BytePairMerges
    /// The tokens `<0x00>` to `<0xFF>`, -1 for those that are missing; nil without `byte_fallback`.
    private let byteTokens: [Int32]?
    private let unknown: Int32?
    private let fusesUnknown: Bool
    /// Whole pieces that are in the vocabulary skip the merges (Llama 3).
    private let prefersWholePieces: Bool

    init(_ node: JSONNode) throws(FileError) {
        let type = try node.member("type")?.string() ?? "BPE"
        guard type == "BPE" else {
            throw node.failure("model type '\(type)' is not supported; expected BPE, as Qwen2 and Llama have")
        }
        for key in ["continuing_subword_prefix", "end_of_word_suffix"] {
            guard try node.member(key)?.bytes().isEmpty != false else {
                throw node.failure("sets \(key), which is not supported; byte-level and SentencePiece models have none")
            }
        }
        if let dropout = node.member("dropout") {
            guard case .number(0) = dropout.tree else {
                throw node.failure("sets dropout, which makes ids random; set it to null")
            }
        }
        let vocabulary = try Self.vocabulary(node.required("vocab"))
        self.vocabulary = vocabulary
        var characters: [Unicode.Scalar: Int32] = [:]
        for (token, id) in vocabulary where token.count <= 4 {
            let scalars = String(decoding: token, as: UTF8.self).unicodeScalars
            if scalars.count == 1, let scalar = scalars.first { characters[scalar] = id }
        }
        self.characters = characters
        merges = try Self.merges(node.required("merges"), vocabulary)
        byteTokens =
            try node.flag("byte_fallback")
            ? (0...255).map { vocabulary[Array(Self.name(ofByte: $0).utf8)] ?? -1 } : nil
        let unknownName = try node.member("unk_token")?.bytes()
        unknown = unknownName.flatMap { vocabulary[$0] }
        fusesUnknown = try node.flag("fuse_unk")
        prefersWholePieces = try node.flag("ignore_merges")

        let isComplete =
            byteTokens?.contains(-1) == false || ByteAlphabet.scalars.allSatisfy { characters[$0] != nil }
        if let unknownName, unknown == nil, !isComplete {
            throw node.failure(
                "unk_token '\(String(decoding: unknownName, as: UTF8.self))' is not in the vocabulary; add it, or set it to null"
            )
        }
    }

    private static func name(ofByte byte: Int) -> String {
        let digits = String(byte, radix: 16, uppercase: true)
        return "<0x\(digits.count == 1 ? "0" : "")\(digits)>"
    }

    private static func vocabulary(_ node: JSONNode) throws(FileError) -> [[UInt8]: Int32] {
        let members = try node.members()
        var ids: [[UInt8]: Int32] = Dictionary(minimumCapacity: members.count)
        for (token, tree) in members {
            let name = String(decoding: token, as: UTF8.self)
            guard case .number(let value) = tree, value == value.rounded() else {
                throw node.failure("token '\(name)' has no whole number for an id")
            }
            guard 0...Double(Tokenizer.maximumID) ~= value else {
                throw node.failure(
                    "token '\(name)' has id \(JSONNode.text(value)), expected 0 to \(Tokenizer.maximumID)")
            }
            ids[token] = Int32(value)
        }
        var owners: [Int32: [UInt8]] = Dictionary(minimumCapacity: ids.count)
        for (token, id) in ids {
            if let other = owners.updateValue(token, forKey: id) {
                let names = [token, other].map { String(decoding: $0, as: UTF8.self) }.sorted()
                throw node.failure("tokens '\(names[0])' and '\(names[1])' have the same id, \(id)")
            }
        }
        return ids
    }

    private static func merges(
        _ node: JSONNode, _ vocabulary: [[UInt8]: Int32]
    ) throws(FileError) -> BytePairMerges {
        guard case .array(let items) = node.tree else { throw node.failure("expected a list") }
        var rules: [(left: Int32, right: Int32, result: Int32)] = []
        rules.reserveCapacity(items.count)
        for (index, item) in items.enumerated() {
            let (left, right): ([UInt8], [UInt8])
            switch item {
            case .string(let text):
                if text.starts(with: "#version".utf8) { continue }
                let parts = text.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
                guard parts.count == 2 else {
                    throw node.failure(
                        "merge \(index) is '\(String(decoding: text, as: UTF8.self))', expected two tokens and a space")
                }
                (left, right) = (Array(parts[0]), Array(parts[1]))
            case .array(let pair):
                guard pair.count == 2, case .string(let first) = pair[0], case .string(let second) = pair[1] else {
                    throw node.failure("merge \(index) is a list of \(pair.count), expected two strings")
                }
                (left, right) = (first, second)
            default: throw node.failure("merge \(index) is neither a string nor a pair of strings")
            }
            guard let leftID = vocabulary[left], let rightID = vocabulary[right], let result = vocabulary[left + right]
            else {
                let missing = [left, right, left + right].first { vocabulary[$0] == nil } ?? []
                let names = [left, right, missing].map { String(decoding: $0, as: UTF8.self) }
                throw node.failure(
                    "merge \(index) ('\(names[0])' + '\(names[1])') needs '\(names[2])', which is not in the vocabulary"
                )
            }
            rules.append((leftID, rightID, result))
        }
        return BytePairMerges(rules)
    }

    /// Appends the tokens of one piece.
    ///
    /// A character without a token becomes the tokens of its bytes, else the unknown token, else nothing.
    func append(_ piece: [Unicode.Scalar], to ids: inout [Int32]) {
        if prefersWholePieces, let id = vocabulary[Array(AddedVocabulary.text(piece).utf8)] {
            ids.append(id)
            return
        }
        var symbols: [Int32] = []
        symbols.reserveCapacity(piece.count)
        // Byte tokens do not flush a pending unknown token: the order of the reference implementation.
        var pendingUnknown: Int32?
        for scalar in piece {
            if let id = characters[scalar] {
                if let pending = pendingUnknown { symbols.append(pending) }
                pendingUnknown = nil
                symbols.append(id)
            } else if let bytes = fallback(scalar) {
                symbols += bytes
            } else if let unknown {
                if let pending = pendingUnknown, !fusesUnknown { symbols.append(pending) }
                pendingUnknown = unknown
            }
        }
        if let pending = pendingUnknown { symbols.append(pending) }
        merges.apply(to: symbols, appendingTo: &ids)
    }

    private func fallback(_ scalar: Unicode.Scalar) -> [Int32]? {
        guard let byteTokens, let encoded = UTF8.encode(scalar) else { return nil }
        let ids = encoded.map { byteTokens[Int($0)] }
        return ids.contains(-1) ? nil : ids
    }
}
