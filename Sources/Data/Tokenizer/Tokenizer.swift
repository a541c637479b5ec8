import Foundation

/// A byte-level BPE tokenizer read from a Hugging Face `tokenizer.json`, as Qwen2, Qwen2.5 and Llama 3 ship it.
///
/// Text is cut at added tokens, brought to NFC where the file says so, split into pieces, and each piece's bytes are
/// merged. Gives the same ids as the `tokenizers` package with `add_special_tokens: false`.
public final class Tokenizer: Sendable {
    /// One more than the largest id.
    public let vocabularySize: Int

    private let path: String
    private let normalisesToNFC: Bool
    private let preTokenizer: PreTokenizer
    private let merges: BytePairMerges
    private let ids: [String: Int32]
    /// What each id spells; nil for ids that the file skips.
    private let spellings: [[UInt8]?]
    private let specialIDs: Set<Int32>
    /// Looked for in the text as it is given.
    private let rawTokens: AddedTokens
    /// Looked for after normalisation.
    private let normalisedTokens: AddedTokens
    /// Whole pieces that are in the vocabulary skip the merges (Llama 3).
    private let wholePieces: [[UInt8]: Int32]

    public init(contentsOf path: String) throws(DataError) {
        func unsupported(_ what: String) -> DataError {
            DataError("\(path): \(what). Supported are byte-level BPE tokenizers such as Qwen2.5's and Llama 3's.")
        }
        self.path = path
        let file = try TokenizerFile(contentsOf: path)
        let model = file.model
        guard model.type ?? "BPE" == "BPE" else {
            throw unsupported("model type '\(model.type ?? "")' is not supported")
        }
        guard model.dropout ?? 0 == 0, model.unk_token == nil, model.byte_fallback != true,
            (model.continuing_subword_prefix ?? "").isEmpty, (model.end_of_word_suffix ?? "").isEmpty
        else {
            throw unsupported(
                "its BPE model sets dropout, unk_token, byte_fallback, continuing_subword_prefix or end_of_word_suffix")
        }
        guard let nfc = file.normalisesToNFC else {
            throw unsupported("normalizer '\(file.normalizer?.type ?? "")' is not supported (NFC or none)")
        }
        guard let pattern = file.splitPattern else {
            throw unsupported("pre_tokenizer is not a Split by a pattern followed by ByteLevel")
        }
        guard let preTokenizer = PreTokenizer(pattern: pattern) else {
            throw unsupported("the split pattern '\(pattern)' is neither Qwen2's nor Llama 3's")
        }
        normalisesToNFC = nfc
        self.preTokenizer = preTokenizer

        let added = file.added_tokens ?? []
        var ids = model.vocab
        for token in added { ids[token.content] = token.id }
        // Real vocabularies have up to some 300,000 entries; the bound keeps a damaged id from asking for gigabytes.
        if let bad = ids.first(where: { !(0..<10_000_000).contains($0.value) }) {
            throw DataError("\(path): token '\(bad.key)' has id \(bad.value), expected 0 to 9999999.")
        }
        vocabularySize = Int(ids.values.max() ?? -1) + 1
        self.ids = ids
        var spellings = [[UInt8]?](repeating: nil, count: vocabularySize)
        for (token, id) in model.vocab { spellings[Int(id)] = ByteAlphabet.bytes(of: token) }
        for token in added { spellings[Int(token.id)] = Array(token.content.utf8) }
        self.spellings = spellings
        merges = try Self.merges(model, path: path)
        specialIDs = Set(added.filter { $0.special == true }.map(\.id))
        wholePieces =
            model.ignore_merges == true
            ? Dictionary(model.vocab.map { (ByteAlphabet.bytes(of: $0.key), $0.value) }) { first, _ in first } : [:]

        for token in added {
            if token.single_word == true || token.lstrip == true || token.rstrip == true {
                throw unsupported("added token '\(token.content)' sets single_word, lstrip or rstrip")
            }
        }
        rawTokens = AddedTokens(added.filter { $0.normalized != true })
        normalisedTokens = AddedTokens(added.filter { $0.normalized == true })
    }

    private static func merges(_ model: TokenizerFile.Model, path: String) throws(DataError) -> BytePairMerges {
        var byteTokens: [Int32] = []
        for (byte, scalar) in ByteAlphabet.scalars.enumerated() {
            guard let id = model.vocab[String(scalar)] else {
                throw DataError(
                    "\(path): the vocabulary has no token for byte \(byte) ('\(scalar)'); it is not byte-level.")
            }
            byteTokens.append(id)
        }
        var rules: [(left: Int32, right: Int32, result: Int32)] = []
        rules.reserveCapacity(model.merges.count)
        for (rank, merge) in model.merges.enumerated() {
            guard let left = model.vocab[merge.left], let right = model.vocab[merge.right],
                let result = model.vocab[merge.left + merge.right]
            else {
                throw DataError(
                    "\(path): merge \(rank) ('\(merge.left)' + '\(merge.right)') names a token that is not in the vocabulary."
                )
            }
            rules.append((left, right, result))
        }
        return BytePairMerges(byteTokens: byteTokens, merges: rules)
    }

    public func tokenID(_ token: String) -> Int32? { ids[token] }

    /// The ids of `text`; nothing is added in front or behind.
    public func encode(_ text: String) -> [Int32] {
        var result: [Int32] = []
        rawTokens.split(Array(text.unicodeScalars)) { part in
            switch part {
            case .token(let id): result.append(id)
            case .text(let scalars):
                let normalised = normalisesToNFC ? Self.nfc(scalars) : Array(scalars)
                normalisedTokens.split(normalised) { part in
                    switch part {
                    case .token(let id): result.append(id)
                    case .text(let scalars): appendPieces(of: Array(scalars), to: &result)
                    }
                }
            }
        }
        return result
    }

    private static func nfc(_ scalars: ArraySlice<Unicode.Scalar>) -> [Unicode.Scalar] {
        if scalars.allSatisfy({ $0.value < 0x300 }) { return Array(scalars) }  // below the first combining mark
        var text = String.UnicodeScalarView()
        text.append(contentsOf: scalars)
        return Array(String(text).precomposedStringWithCanonicalMapping.unicodeScalars)
    }

    private func appendPieces(of scalars: [Unicode.Scalar], to result: inout [Int32]) {
        for piece in preTokenizer.split(scalars) {
            var bytes: [UInt8] = []
            for scalar in scalars[piece] { bytes += UTF8.encode(scalar)! }
            if let id = wholePieces[bytes] {
                result.append(id)
            } else {
                result += merges.tokens(of: bytes)
            }
        }
    }

    /// The text of `ids`. Unknown ids give nothing; bytes that are not UTF-8 become U+FFFD.
    public func decode(_ ids: some Sequence<Int32>, skippingSpecialTokens: Bool = false) -> String {
        var bytes: [UInt8] = []
        for id in ids {
            if skippingSpecialTokens, specialIDs.contains(id) { continue }
            if spellings.indices.contains(Int(id)), let spelling = spellings[Int(id)] { bytes += spelling }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// Finds added tokens in text: the leftmost, and of those that begin there the longest.
private struct AddedTokens: Sendable {
    enum Part {
        case token(Int32)
        case text(ArraySlice<Unicode.Scalar>)
    }

    /// By first scalar, longest first.
    private let byFirst: [Unicode.Scalar: [(content: [Unicode.Scalar], id: Int32)]]

    init(_ tokens: [TokenizerFile.AddedToken]) {
        var byFirst: [Unicode.Scalar: [(content: [Unicode.Scalar], id: Int32)]] = [:]
        for token in tokens {
            let content = Array(token.content.unicodeScalars)
            if let first = content.first { byFirst[first, default: []].append((content, token.id)) }
        }
        self.byFirst = byFirst.mapValues { $0.sorted { $0.content.count > $1.content.count } }
    }

    func split(_ text: [Unicode.Scalar], _ body: (Part) -> Void) {
        var textStart = 0
        var position = 0
        while position < text.count {
            guard let match = byFirst[text[position]]?.first(where: { text[position...].starts(with: $0.content) })
            else {
                position += 1
                continue
            }
            if textStart < position { body(.text(text[textStart..<position])) }
            body(.token(match.id))
            position += match.content.count
            textStart = position
        }
        if textStart < text.count { body(.text(text[textStart...])) }
    }
}
