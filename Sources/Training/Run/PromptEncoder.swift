internal import Data
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
                "\(source): \(tokenizer.vocabularySize) tokens, but the model has embeddings for \(vocabulary); "
                    + "is it the tokeniser of another model?")
        }
    }

    /// An instruction in the action prompt: lower case, without a final full stop.
    package func action(_ instruction: String) -> [Int32] {
        var text = instruction.lowercased().trimmingCharacters(in: .whitespacesAndNewlines)
        if text.hasSuffix(".") { text.removeLast() }
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
        guard !ids.isEmpty else { throw TrainingError("\(source): the answer '\(text)' has no tokens; it needs one") }
        guard isCausal || ids.count == 1 else {
            throw TrainingError(
                "\(source): the answer '\(text)' is \(ids.count) tokens; this model's decoder is not causal and would see "
                    + "what it is asked for, so questions are answered with a single one")
        }
        return ids
    }
}
