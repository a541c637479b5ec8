import Foundation

// swift-format-ignore: AlwaysUseLowerCamelCase
/// The parts of a Hugging Face `tokenizer.json` that a byte-level BPE needs; anything else in it is an error, because
/// ignoring it would give other tokens.
struct TokenizerFile: Decodable {
    struct AddedToken: Decodable {
        var id: Int32
        var content: String
        var single_word: Bool?
        var lstrip: Bool?
        var rstrip: Bool?
        var normalized: Bool?
        var special: Bool?
    }
    struct Component: Decodable {
        struct Pattern: Decodable { var Regex: String? }

        var type: String
        var normalizers: [Component]?
        var pretokenizers: [Component]?
        var pattern: Pattern?
        var behavior: String?
        var invert: Bool?
        var add_prefix_space: Bool?
        var use_regex: Bool?
    }
    struct Model: Decodable {
        var type: String?
        var vocab: [String: Int32]
        var merges: [Merge]
        var dropout: Double?
        var unk_token: String?
        var continuing_subword_prefix: String?
        var end_of_word_suffix: String?
        var byte_fallback: Bool?
        var ignore_merges: Bool?
    }
    /// "left right" in older files, ["left", "right"] in newer ones.
    struct Merge: Decodable {
        var left: String
        var right: String

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            let parts: [String]
            if let text = try? container.decode(String.self) {
                parts = text.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
            } else {
                parts = try container.decode([String].self)
            }
            guard parts.count == 2 else {
                throw DecodingError.dataCorruptedError(in: container, debugDescription: "a merge has two parts")
            }
            (left, right) = (parts[0], parts[1])
        }
    }

    var added_tokens: [AddedToken]?
    var normalizer: Component?
    var pre_tokenizer: Component?
    var model: Model

    init(contentsOf path: String) throws(DataError) {
        let bytes = try RandomAccessFile.contents(of: path)
        do {
            self = try JSONDecoder().decode(TokenizerFile.self, from: Data(bytes))
        } catch {
            throw DataError("\(path): is not a Hugging Face tokenizer.json with a BPE model: \(jsonReason(error)).")
        }
    }

    /// Whether text is brought to NFC first; nil for a normaliser that is not supported.
    var normalisesToNFC: Bool? {
        guard let normalizer else { return false }
        switch normalizer.type {
        case "NFC": return true
        case "Sequence":
            let types = (normalizer.normalizers ?? []).map(\.type)
            return types.isEmpty ? false : types.allSatisfy { $0 == "NFC" } ? true : nil
        default: return nil
        }
    }

    /// The split pattern in front of the byte-level step; nil for a pre-tokeniser that is not supported.
    var splitPattern: String? {
        guard let steps = pre_tokenizer?.pretokenizers, pre_tokenizer?.type == "Sequence", steps.count == 2,
            steps[0].type == "Split", steps[0].behavior == "Isolated", steps[0].invert != true,
            steps[1].type == "ByteLevel", steps[1].add_prefix_space != true, steps[1].use_regex == false
        else { return nil }
        return steps[0].pattern?.Regex
    }
}
