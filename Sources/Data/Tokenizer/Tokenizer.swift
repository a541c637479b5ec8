package import Formats

/// A BPE tokenizer read from a Hugging Face `tokenizer.json`: byte-level as of GPT-2, Qwen2, SmolLM2 and Llama 3, or over
/// characters with byte fallback as of Llama 2 and Mistral.
///
/// Text is cut at added tokens, normalised, split into pieces, and each piece's characters are merged. Gives the ids and
/// the texts of the `tokenizers` package. `truncation` and `padding` of the file are not applied.
package final class Tokenizer: Sendable {
    /// One more than the largest id.
    package let vocabularySize: Int

    /// Real vocabularies have up to some 300,000 entries; the bound keeps a damaged id from asking for gigabytes.
    static let maximumID = 9_999_999

    private let model: BytePairModel
    private let added: AddedVocabulary
    private let addedIDs: [[UInt8]: Int32]
    private let normalizer: TextNormalizer?
    private let preTokenizer: PreTokenizer?
    private let template: SpecialTokenTemplate
    private let decoder: TokenDecoder?
    /// What each id spells in the file; nil for ids that the file skips.
    private let spellings: [[UInt8]?]

    package init(contentsOf path: String) throws(FileError) {
        let file = try JSONNode(contentsOf: path, kind: "Hugging Face tokenizer.json")
        model = try BytePairModel(file.required("model"))
        normalizer = try Self.part("normalizer", of: file, TextNormalizer.init)
        preTokenizer = try Self.part("pre_tokenizer", of: file, PreTokenizer.init)
        decoder = try Self.part("decoder", of: file, TokenDecoder.init)
        template = try Self.part("post_processor", of: file, SpecialTokenTemplate.init) ?? SpecialTokenTemplate()
        added = try AddedVocabulary(
            file.member("added_tokens"), vocabulary: model.vocabulary, normalizer: normalizer)

        let largest = max(model.vocabulary.values.max() ?? -1, added.tokens.keys.max() ?? -1)
        vocabularySize = Int(largest) + 1
        var spellings = [[UInt8]?](repeating: nil, count: vocabularySize)
        for (token, id) in model.vocabulary { spellings[Int(id)] = token }
        var addedIDs: [[UInt8]: Int32] = [:]
        for token in added.tokens.values {
            spellings[Int(token.id)] = Array(AddedVocabulary.text(token.pattern).utf8)
            addedIDs[Array(AddedVocabulary.text(token.content).utf8)] = token.id
        }
        self.spellings = spellings
        self.addedIDs = addedIDs
    }

    private static func part<Part>(
        _ key: String, of file: JSONNode, _ read: (JSONNode) throws(FileError) -> Part
    ) throws(FileError) -> Part? {
        guard let node = file.member(key) else { return nil }
        return try read(node)
    }

    package func tokenID(_ token: String) -> Int32? {
        addedIDs[Array(token.utf8)] ?? model.vocabulary[Array(token.utf8)]
    }

    /// How the file spells the token `id`; nil for ids that it does not have.
    package func spelling(of id: Int32) -> String? {
        guard spellings.indices.contains(Int(id)) else { return nil }
        return spellings[Int(id)].map { String(decoding: $0, as: UTF8.self) }
    }

    /// The ids of `text`.
    ///
    /// - Parameter addingSpecialTokens: puts the special tokens of the file's post-processor around the text, as
    ///   `encode(text)` of the package does; prompts that spell their special tokens need none.
    package func encode(_ text: String, addingSpecialTokens: Bool = false) -> [Int32] {
        var ids: [Int32] = []
        var isFirst = true
        added.split(Array(text.unicodeScalars), normalized: false) { part in
            defer { isFirst = false }
            switch part {
            case .token(let id): ids.append(id)
            case .text(let raw):
                let normalised = normalizer?.normalise(Array(raw)) ?? Array(raw)
                added.split(normalised, normalized: true) { part in
                    switch part {
                    case .token(let id): ids.append(id)
                    case .text(let slice):
                        let piece = PreTokenizer.Piece(text: Array(slice), startsText: isFirst && slice.startIndex == 0)
                        append(piece, to: &ids)
                    }
                }
            }
        }
        return template.apply(to: ids, addingSpecialTokens: addingSpecialTokens)
    }

    private func append(_ text: PreTokenizer.Piece, to ids: inout [Int32]) {
        for piece in preTokenizer?.split([text]) ?? [text] where !piece.text.isEmpty {
            model.append(piece.text, to: &ids)
        }
    }

    /// The text of `ids`. Unknown ids give nothing; bytes that are not UTF-8 become U+FFFD.
    package func decode(_ ids: some Sequence<Int32>, skippingSpecialTokens: Bool = false) -> String {
        var tokens: [[Unicode.Scalar]] = []
        for id in ids {
            guard let spelling = spelling(of: id) else { continue }
            let token = Array(spelling.unicodeScalars)
            if skippingSpecialTokens, added.isSpecial(token) { continue }
            tokens.append(token)
        }
        let texts = decoder?.decode(tokens) ?? [Array(tokens.joined(separator: [" "]))]
        return AddedVocabulary.text(Array(texts.joined()))
    }
}
