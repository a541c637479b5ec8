import Data
import Formats
import Foundation
import TestSupport
import Testing

/// Against the `tokenizers` package; scripts/reference/tokenizer_reference.py made the expected ids.
@Suite struct TokenizerTests {
    struct Case: Decodable { var text: String, ids: [Int32], decoded: String, withoutSpecial: String }
    struct Cases: Decodable { var qwen2: [Case], llama3: [Case] }

    private func check(_ tokenizer: Tokenizer, _ cases: [Case]) {
        #expect(cases.count > 200)
        for item in cases {
            let name = item.text.debugDescription
            #expect(tokenizer.encode(item.text) == item.ids, "\(name)")
            // Swift compares strings by canonical equivalence; scalars tell é from e + accent.
            #expect(Array(tokenizer.decode(item.ids).unicodeScalars) == Array(item.decoded.unicodeScalars), "\(name)")
            #expect(tokenizer.decode(item.ids, skippingSpecialTokens: true) == item.withoutSpecial, "\(name)")
        }
    }

    /// The shipped file after `change`, loaded.
    private func variant(_ change: (inout [String: Any]) -> Void) throws -> Tokenizer {
        let folder = try TemporaryFolder()
        let data = try Foundation.Data(contentsOf: URL(fileURLWithPath: Sample.tokenizer))
        var json = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        change(&json)
        let path = folder.path("tokenizer.json")
        try JSONSerialization.data(withJSONObject: json).write(to: URL(fileURLWithPath: path))
        return try Tokenizer(contentsOf: path)
    }

    private func set(_ value: Any, _ key: String, in json: inout [String: Any], section: String) {
        var part = json[section] as? [String: Any] ?? [:]
        part[key] = value
        json[section] = part
    }

    @Test func equalsTheReferenceOnQwen2Files() throws {
        check(try Tokenizer(contentsOf: Sample.tokenizer), try fixture("tokenizer-cases.json", as: Cases.self).qwen2)
    }

    @Test func equalsTheReferenceOnLlama3Files() throws {
        let tokenizer = try variant { json in
            set(true, "ignore_merges", in: &json, section: "model")
            let pattern =
                #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
            let split: [String: Any] = [
                "type": "Split", "pattern": ["Regex": pattern], "behavior": "Isolated", "invert": false,
            ]
            let bytes: [String: Any] = ["type": "ByteLevel", "add_prefix_space": false, "use_regex": false]
            json["pre_tokenizer"] = ["type": "Sequence", "pretokenizers": [split, bytes]]
            var added = json["added_tokens"] as? [[String: Any]] ?? []
            added.append(["id": 600, "content": "<X>", "normalized": true, "special": false])
            json["added_tokens"] = added
        }
        check(tokenizer, try fixture("tokenizer-cases.json", as: Cases.self).llama3)
    }

    @Test func mergesMayBeStringsOrPairs() throws {
        let strings = try variant { json in
            let model = json["model"] as? [String: Any] ?? [:]
            let merges = (model["merges"] as? [Any] ?? []).map { merge -> Any in
                (merge as? [String]).map { $0.joined(separator: " ") } ?? merge
            }
            set(merges, "merges", in: &json, section: "model")
        }
        check(strings, try fixture("tokenizer-cases.json", as: Cases.self).qwen2)
    }

    @Test func eachAnswerIsOneToken() throws {
        let tokenizer = try Tokenizer(contentsOf: Sample.tokenizer)
        for answer in try VQADataset(path: Sample.questions).answers {
            #expect(tokenizer.encode(answer) == [try #require(tokenizer.tokenID(answer))])
        }
    }

    @Test func namesItsSpecialTokens() throws {
        let tokenizer = try Tokenizer(contentsOf: Sample.tokenizer)
        #expect(tokenizer.vocabularySize == 600)
        for token in ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"] {
            let id = try #require(tokenizer.tokenID(token))
            #expect(tokenizer.encode(token) == [id])
            #expect(tokenizer.decode([id]) == token)
        }
        #expect(tokenizer.tokenID("<|nothing|>") == nil)
        #expect(tokenizer.decode([-1, 599, 600, .max]) == "<|pad|>")
    }

    @Test func oneVeryLongWordIsFast() throws {
        let tokenizer = try Tokenizer(contentsOf: Sample.tokenizer)
        let text = String(repeating: "rectangle", count: 20_000)
        let start = ContinuousClock.now
        let ids = tokenizer.encode(text)
        #expect(tokenizer.decode(ids) == text)
        #expect(ContinuousClock.now - start < .seconds(5))
    }

    @Test func unsupportedFilesAreRefused() throws {
        func message(_ change: (inout [String: Any]) -> Void) -> String {
            fileError { _ = try variant(change) }?.description ?? "no error"
        }
        func added(_ tokens: [[String: Any]]) -> String { message { $0["added_tokens"] = tokens } }
        func split(_ pattern: String) -> String {
            message {
                $0["pre_tokenizer"] = [
                    "type": "Split", "pattern": ["Regex": pattern], "behavior": "Isolated", "invert": false,
                ]
            }
        }
        #expect(message { $0["normalizer"] = ["type": "Precompiled"] }.contains("normalizer 'Precompiled'"))
        #expect(message { $0["pre_tokenizer"] = ["type": "Whitespace"] }.contains("pre_tokenizer 'Whitespace'"))
        #expect(message { $0["decoder"] = ["type": "CTC"] }.contains("decoder 'CTC'"))
        #expect(message { $0["post_processor"] = ["type": "Bert"] }.contains("post_processor 'Bert'"))
        #expect(split(#"(?<=a)b"#).contains("groups other than"))
        #expect(split("a*").contains("without a character"))
        #expect(split("[a").contains("not closed"))
        #expect(split(#"\p{Greek}+"#).contains("not a general category"))
        #expect(message { set("WordPiece", "type", in: &$0, section: "model") }.contains("model type 'WordPiece'"))
        #expect(message { set(0.1, "dropout", in: &$0, section: "model") }.contains("sets dropout"))
        #expect(
            message { set("##", "continuing_subword_prefix", in: &$0, section: "model") }.contains("sets continuing"))
        #expect(message { set([["zz", "q"]], "merges", in: &$0, section: "model") }.contains("merge 0 ('zz' + 'q')"))
        #expect(message { set(["a b c"], "merges", in: &$0, section: "model") }.contains("expected two tokens"))
        #expect(message { set([7], "merges", in: &$0, section: "model") }.contains("neither a string nor a pair"))
        #expect(message { set(["a": -5], "vocab", in: &$0, section: "model") }.contains("has id -5"))
        #expect(message { set(["a": 1e300], "vocab", in: &$0, section: "model") }.contains("has id 1e+300"))
        #expect(message { set(["a": 1, "b": 1], "vocab", in: &$0, section: "model") }.contains("have the same id, 1"))
        #expect(message { set(NSNull(), "vocab", in: &$0, section: "model") }.contains("has no \"vocab\""))
        #expect(added([["id": 600, "content": "<A>"], ["id": 600, "content": "<B>"]]).contains("has id 600"))
        #expect(added([["id": 1e12, "content": "<A>"]]).contains("expected a whole number from 0 to"))
        #expect(message { $0["model"] = nil }.contains("has no \"model\""))
        #expect(
            fileError { _ = try Tokenizer(contentsOf: "/nowhere/tokenizer.json") }?.description.contains("no such file")
                == true)
    }

    @Test func damagedFilesAreRefused() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("tokenizer.json")
        let whole = Array(try Foundation.Data(contentsOf: URL(fileURLWithPath: Sample.tokenizer)))
        let deep = Array(String(repeating: "[", count: 100_000).utf8)
        for bytes in [[], Array("[]".utf8), Array("{\"a\":\"\\ud800\"}".utf8), [0xff], deep, Array(whole.dropLast(9))] {
            try Foundation.Data(bytes).write(to: URL(fileURLWithPath: path))
            #expect(fileError { _ = try Tokenizer(contentsOf: path) }?.description.hasPrefix(path) == true)
        }
    }
}

/// Families of tokenizers against the `tokenizers` package; scripts/reference/tokenizer_corpus.py made the files.
@Suite struct TokenizerFamilyTests {
    struct Cases: Decodable {
        struct Row: Decodable {
            var ids: [Int32]
            var bare: [Int32]?
            var text: String?
            var skipped: String?

            init(from decoder: any Decoder) throws {
                var container = try decoder.unkeyedContainer()
                ids = try container.decode([Int32].self)
                bare = try container.decode([Int32]?.self)
                text = try container.decode(String?.self)
                skipped = try container.decode(String?.self)
            }
        }
        var texts: [String]
        var families: [String: [Row]]
    }

    static let folder = BuildFolder.fixture("tokenizers")

    @Test func eachFamilyEqualsThePackage() throws {
        let data = try Foundation.Data(contentsOf: Self.folder.appendingPathComponent("cases.json"))
        let cases = try JSONDecoder().decode(Cases.self, from: data)
        #expect(cases.families.count == 14)
        for (name, rows) in cases.families.sorted(by: { $0.key < $1.key }) {
            let tokenizer = try Tokenizer(contentsOf: Self.folder.appendingPathComponent("\(name).json").path)
            #expect(rows.count == cases.texts.count)
            for (text, row) in zip(cases.texts, rows) {
                let label: Comment = "\(name): \(text.debugDescription)"
                #expect(tokenizer.encode(text, addingSpecialTokens: true) == row.ids, label)
                #expect(tokenizer.encode(text) == row.bare ?? row.ids, label)
                let whole = row.text ?? text
                #expect(Array(tokenizer.decode(row.ids).utf8) == Array(whole.utf8), label)
                let skipped = tokenizer.decode(row.ids, skippingSpecialTokens: true)
                #expect(Array(skipped.utf8) == Array((row.skipped ?? whole).utf8), label)
            }
        }
    }

    /// One piece of 100,000 characters, where nothing splits it, and the same of spaces, digits and newlines.
    @Test(arguments: ["a", " ", "7", "\n", "<", "字", "e\u{301}"])
    func longRunsTakeLittleTime(_ unit: String) throws {
        let text = String(repeating: unit, count: 100_000)
        for name in ["llama2-legacy", "qwen2", "smollm2", "unknown-tokens"] {
            let tokenizer = try Tokenizer(contentsOf: Self.folder.appendingPathComponent("\(name).json").path)
            let start = ContinuousClock.now
            #expect(tokenizer.encode(text).count < 500_000)
            #expect(ContinuousClock.now - start < .seconds(10))
        }
    }
}
