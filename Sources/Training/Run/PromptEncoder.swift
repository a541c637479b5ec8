internal import Data
internal import Formats
internal import Foundation
package import Models
internal import PluginRuntime

/// Turns instructions and questions into the token sequences a model was trained with.
package struct PromptEncoder {
    private let tokenizer: Tokenizer
    private let actionTemplate: String
    private let questionTemplate: String
    private let vocabulary: Int
    private let isCausal: Bool
    private let source: String

    package init(folder: ModelFolder) throws {
        tokenizer = try Tokenizer(contentsOf: folder.tokenizerPath)
        actionTemplate = folder.config.promptTemplate
        questionTemplate = folder.config.questionTemplate
        vocabulary = folder.config.decoder.vocabularySize
        isCausal = folder.config.decoder.isCausal
        source = folder.tokenizerPath
        guard tokenizer.vocabularySize <= vocabulary else {
            throw TrainingError(
                .mismatch,
                "\(source): \(tokenizer.vocabularySize) tokens, but the model has embeddings for \(vocabulary); "
                    + "is it the tokeniser of another model?")
        }
    }

    /// An instruction in the action prompt, in lower case and otherwise as it is, blanks and full stops included. The reference's
    /// prompt builder takes "<image>" out.
    package func action(_ instruction: String) -> [Int32] {
        let text = instruction.pythonLowercased.replacingOccurrences(of: "<image>", with: "")
        return tokenizer.encode(actionTemplate.replacingOccurrences(of: "{instruction}", with: text))
    }

    func question(_ text: String) -> [Int32] {
        tokenizer.encode(questionTemplate.replacingOccurrences(of: "{question}", with: text))
    }

    /// The text in one of the model's prompts, or as it is.
    func encode(_ text: String, template: ProbeTemplate) -> [Int32] {
        switch template {
        case .question: question(text)
        case .action: action(text)
        case .none: tokenizer.encode(text)
        }
    }

    /// Token ids for planning: those of the folder's tokenizer, or as many as a text has about when there is none.
    static func encoding(folder: ModelFolder) -> PromptEncoding {
        guard let encoder = try? PromptEncoder(folder: folder) else {
            return { text, template in Array(repeating: 0, count: text.utf8.count / 4 + (template == .none ? 1 : 32)) }
        }
        return encoder.encode
    }

    /// The tokens of an answer, at least one.
    func answer(_ text: String) throws -> [Int32] {
        let ids = tokenizer.encode(text)
        guard !ids.isEmpty else {
            throw TrainingError(.mismatch, "\(source): the answer '\(text)' has no tokens; it needs one")
        }
        guard isCausal || ids.count == 1 else {
            throw TrainingError(
                .mismatch,
                "\(source): the answer '\(text)' is \(ids.count) tokens; this model's decoder is not causal and would see "
                    + "what it is asked for, so questions are answered with a single one")
        }
        return ids
    }
}

extension String {
    /// Python's `str.lower()`: a capital sigma that ends a word becomes a final one.
    package var pythonLowercased: String {
        guard unicodeScalars.contains("\u{3a3}") else { return lowercased() }
        let scalars = Array(unicodeScalars)
        var text = String.UnicodeScalarView()
        for (index, scalar) in scalars.enumerated() {
            guard scalar == "\u{3a3}" else {
                text.append(contentsOf: scalar.properties.lowercaseMapping.unicodeScalars)
                continue
            }
            let before = scalars[..<index].last { !$0.properties.isCaseIgnorable }
            let after = scalars[(index + 1)...].first { !$0.properties.isCaseIgnorable }
            let isFinal = before?.properties.isCased == true && after?.properties.isCased != true
            text.append(isFinal ? "\u{3c2}" : "\u{3c3}")
        }
        return String(text)
    }
}
