internal import Formats
internal import Foundation

/// The byte-level BPE of a GGUF file as a Hugging Face `tokenizer.json`.
struct GGUFTokenizer {
    private let tokens: [String]
    private let types: [Int]
    private let merges: [String]
    /// llama.cpp's name of the split rules.
    private let rules: String

    /// Token types of the format: control tokens and those a user defined are found in text before merging.
    private static let (control, userDefined) = (3, 4)

    init(_ file: GGUFFile) throws {
        guard file.text("tokenizer.ggml.model") == "gpt2", let tokens = file.texts("tokenizer.ggml.tokens"),
            let merges = file.texts("tokenizer.ggml.merges")
        else {
            throw FileError(path: file.path, "the tokeniser is not a byte-level BPE with its merges")
        }
        self.tokens = tokens
        self.merges = merges
        types = file.integers("tokenizer.ggml.token_type") ?? []
        rules = file.text("tokenizer.ggml.pre") ?? "gpt-2"
        guard types.isEmpty || types.count == tokens.count else {
            throw FileError(path: file.path, "\(tokens.count) tokens, but \(types.count) token types")
        }
        guard Self.preTokenizers[rules] != nil else {
            throw FileError(
                path: file.path,
                "tokenizer.ggml.pre is '\(rules)'; expected one of \(Self.preTokenizers.keys.sorted().joined(separator: ", "))"
            )
        }
    }

    /// SmolLM2's system prompt; other models' policies have the default.
    var systemPrompt: String? {
        rules == "smollm" ? "You are a helpful AI assistant named SmolLM, trained by Hugging Face" : nil
    }

    func json() throws -> Data {
        var added: [[String: Any]] = []
        for (id, type) in types.enumerated() where type == Self.control || type == Self.userDefined {
            added.append([
                "id": id, "content": tokens[id], "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": type == Self.control,
            ])
        }
        // A token may be in the list twice; the first number counts.
        let vocabulary = Dictionary(tokens.enumerated().map { ($1, $0) }, uniquingKeysWith: { first, _ in first })
        let byteLevel: [String: Any] = [
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
        ]
        let object: [String: Any] = [
            "version": "1.0", "truncation": NSNull(), "padding": NSNull(), "added_tokens": added,
            "normalizer": NSNull(), "pre_tokenizer": Self.preTokenizers[rules] ?? byteLevel, "post_processor": NSNull(),
            "decoder": byteLevel,
            "model": [
                "type": "BPE", "dropout": NSNull(), "unk_token": NSNull(), "continuing_subword_prefix": NSNull(),
                "end_of_word_suffix": NSNull(), "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                "vocab": vocabulary, "merges": merges,
            ] as [String: Any],
        ]
        return try JSONSerialization.data(withJSONObject: object, options: [.sortedKeys, .withoutEscapingSlashes])
    }

    /// How text is split before merging, by llama.cpp's names.
    private static var preTokenizers: [String: [String: Any]] {
        let byteLevel: [String: Any] = [
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true,
        ]
        let qwen2 =
            #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
        return [
            "gpt-2": byteLevel,
            "smollm": [
                "type": "Sequence", "pretokenizers": [["type": "Digits", "individual_digits": true], byteLevel],
            ],
            "qwen2": [
                "type": "Sequence",
                "pretokenizers": [
                    [
                        "type": "Split", "pattern": ["Regex": qwen2], "behavior": "Isolated", "invert": false,
                    ] as [String: Any],
                    byteLevel.merging(["use_regex": false]) { $1 },
                ],
            ],
        ]
    }
}
