import ArgumentParser
import Data
import Formats
import Foundation
import Training

extension Model {
    struct Tokenize: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show how a model's tokenizer reads a text, or what token ids read as.",
            discussion: """
                craft model tokenize --model DIR 'open the drawer'            ids and tokens
                craft model tokenize --model DIR --decode '151644 8948 198'   text of ids
                craft model tokenize --model DIR --lines < texts.jsonl        a JSON string a line in, a JSON object a line out

                The text - is standard input. The ids are those of the tokenizers package.
                """)

        @Option(help: ArgumentHelp("Model folder, run folder, or a tokenizer.json.", valueName: "path"))
        var model: String

        @Flag(help: "Print the ids alone.")
        var ids = false

        @Flag(help: "The text is token ids, separated by spaces or commas; print what they read as.")
        var decode = false

        @Flag(
            help: """
                Leave out special tokens: those that the file's post-processor puts around a text, and with --decode \
                those among the ids.
                """)
        var noSpecial = false

        @Flag(help: "Read standard input line by line: a JSON string each, or with --decode a JSON list of ids.")
        var lines = false

        @Flag(help: "Print JSON.")
        var json = false

        @Argument(help: "The text, or - for standard input.")
        var text: String?

        func run() throws {
            let tokenizer = try Tokenizer(contentsOf: tokenizerPath())
            guard lines != (text != nil) else {
                throw CommandError(.usage, "expected a text (or - for standard input), or --lines")
            }
            if lines { return try eachLine(tokenizer) }
            var input = text ?? ""
            if input == "-" {
                let data = FileHandle.standardInput.readDataToEndOfFile()
                guard let text = String(data: data, encoding: .utf8) else {
                    throw CommandError(.malformedFile, "standard input is not UTF-8")
                }
                input = text
            }
            if decode {
                let found = try numbers(in: input).map { try checked($0, tokenizer) }
                let text = tokenizer.decode(found, skippingSpecialTokens: noSpecial)
                if json { return try printJSON(Answer(ids: found, text: text)) }
                return print(text)
            }
            try show(tokenizer.encode(input, addingSpecialTokens: !noSpecial), tokenizer)
        }

        private struct Answer: Encodable {
            var ids: [Int32]
            var tokens: [String]?
            var text: String?
        }

        private func show(_ found: [Int32], _ tokenizer: Tokenizer) throws {
            let tokens = found.map { tokenizer.spelling(of: $0) ?? "" }
            if json { return try printJSON(Answer(ids: found, tokens: tokens)) }
            if ids { return print(found.map(String.init).joined(separator: " ")) }
            for (id, token) in zip(found, tokens) { print("\(id)\t\(token.debugDescription)") }
            print("\(found.count) tokens")
        }

        private func printJSON(_ value: some Encodable) throws {
            print(try JSONText.document(value, pretty: false))
        }

        private func tokenizerPath() throws -> String {
            var isDirectory: ObjCBool = false
            guard FileManager.default.fileExists(atPath: model, isDirectory: &isDirectory) else {
                throw CommandError(
                    .missingFile, "\(model): no such file or folder; expected a model folder or a tokenizer.json")
            }
            if !isDirectory.boolValue { return model }
            let inside = model + "/tokenizer.json"
            if FileManager.default.fileExists(atPath: inside) { return inside }
            return CheckpointFolders.model(in: model) + "/tokenizer.json"
        }

        private func numbers(in text: String) throws -> [Int] {
            var numbers: [Int] = []
            for part in text.split(whereSeparator: { " ,\t\r\n[]".contains($0) }) {
                guard let number = Int(part) else {
                    throw CommandError(.usage, "'\(part)' is not a token id; expected whole numbers, such as 1 22 333")
                }
                numbers.append(number)
            }
            return numbers
        }

        private func checked(_ id: Int, _ tokenizer: Tokenizer) throws -> Int32 {
            guard let id32 = Int32(exactly: id), tokenizer.spelling(of: id32) != nil else {
                throw CommandError(
                    .usage,
                    "the tokenizer has no token \(id); its ids go from 0 to \(tokenizer.vocabularySize - 1)")
            }
            return id32
        }

        private func eachLine(_ tokenizer: Tokenizer) throws {
            let decoder = JSONDecoder()
            var number = 0
            while let line = readLine() {
                number += 1
                let data = Data(line.utf8)
                do {
                    if decode {
                        let found = try decoder.decode([Int32].self, from: data)
                        let text = tokenizer.decode(found, skippingSpecialTokens: noSpecial)
                        try printJSON(Answer(ids: found, text: text))
                    } else {
                        let text = try decoder.decode(String.self, from: data)
                        try printJSON(Answer(ids: tokenizer.encode(text, addingSpecialTokens: !noSpecial)))
                    }
                } catch is DecodingError {
                    throw CommandError(
                        .malformedFile, "line \(number) is not a JSON \(decode ? "list of token ids" : "string")")
                }
            }
        }
    }
}
