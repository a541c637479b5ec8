internal import Formats
import Foundation

/// The chat template of a model folder: how messages become one text.
///
/// Templates are Jinja; the part that chat templates use is rendered (`if`, `for`, `set`, namespaces, the common filters,
/// tests and methods), with the settings of `apply_chat_template` of transformers. What is not supported is an error.
package struct ChatTemplate: Sendable {
    package struct Message: Sendable {
        package var role: String
        package var content: String

        package init(role: String, content: String) { (self.role, self.content) = (role, content) }
    }

    private let source: String
    private let nodes: [TemplateNode]
    /// `bos_token` and the like, by those names.
    private let specialTokens: [(key: String, value: String)]

    /// - Parameter source: the file the template is from, for messages.
    package init(_ template: String, specialTokens: [String: String] = [:], source: String) throws(DataError) {
        self.source = source
        self.specialTokens = specialTokens.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
        do throws(TemplateFailure) {
            var parser = try TemplateParser(template)
            nodes = try parser.template()
        } catch {
            throw DataError("\(source): the chat template cannot be read: \(error.description).")
        }
    }

    /// The template of the folder that holds the tokenizer: `chat_template.jinja`, else the `chat_template` of
    /// `tokenizer_config.json`.
    package init(besideTokenizer path: String) throws(DataError) {
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
        let configuration = folder + "/tokenizer_config.json"
        let separate = folder + "/chat_template.jinja"
        var specialTokens: [String: String] = [:]
        var template: String?
        var source = configuration
        if FileManager.default.fileExists(atPath: configuration) {
            (template, specialTokens) = try reading { () throws(FileError) in try Self.configured(in: configuration) }
        }
        if FileManager.default.fileExists(atPath: separate) {
            source = separate
            let bytes = try reading { () throws(FileError) in try RandomAccessFile.contents(of: separate) }
            guard let text = String(validating: bytes, as: UTF8.self) else {
                throw DataError("\(separate): is not UTF-8.")
            }
            template = text
        }
        guard let template else {
            throw DataError(
                "\(folder): has no chat template; expected chat_template.jinja, or \"chat_template\" in tokenizer_config.json."
            )
        }
        try self.init(template, specialTokens: specialTokens, source: source)
    }

    private static func configured(
        in configuration: String
    ) throws(FileError) -> (template: String?, specialTokens: [String: String]) {
        let file = try JSONNode(contentsOf: configuration, kind: "tokenizer_config.json")
        var specialTokens: [String: String] = [:]
        for key in ["bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"] {
            guard let node = file.member(key) else { continue }
            specialTokens[key] = try (node.member("content") ?? node).string()
        }
        return (try file.member("chat_template").map(Self.template), specialTokens)
    }

    /// A template, or of several named ones that called "default".
    private static func template(_ node: JSONNode) throws(FileError) -> String {
        guard case .array = node.tree else { return try node.string() }
        for item in try node.elements() where try item.required("name").string() == "default" {
            return try item.required("template").string()
        }
        throw node.failure("has no template named \"default\"")
    }

    /// - Parameter addingGenerationPrompt: ends with the head of the answer that the model is to write.
    package func render(_ messages: [Message], addingGenerationPrompt: Bool) throws(DataError) -> String {
        var variables: [String: TemplateValue] = [:]
        for (key, value) in specialTokens { variables[key] = .text(value) }
        variables["messages"] = .list(
            messages.map { .object([("role", .text($0.role)), ("content", .text($0.content))]) })
        variables["add_generation_prompt"] = .bool(addingGenerationPrompt)
        // What apply_chat_template gives where no tools or documents are used.
        variables["tools"] = TemplateValue.none
        variables["documents"] = TemplateValue.none
        var renderer = TemplateRenderer(variables)
        do throws(TemplateFailure) {
            try renderer.render(nodes)
        } catch {
            throw DataError("\(source): the chat template cannot be rendered: \(error.description).")
        }
        return renderer.output
    }
}
