internal import Formats

/// The `post_processor` of a `tokenizer.json`: the special tokens that are put around a text.
struct SpecialTokenTemplate: Sendable {
    private enum Piece: Sendable {
        case text
        case special([Int32])
    }

    private var pieces: [Piece] = [.text]

    /// A text alone.
    init() {}

    init(_ node: JSONNode) throws(FileError) {
        let type = try node.required("type").string()
        switch type {
        case "ByteLevel": break  // concerns offsets only
        case "TemplateProcessing": pieces = try Self.template(node)
        case "Sequence":
            var isFound = false
            for step in try node.required("processors").elements() {
                let stepType = try step.required("type").string()
                if stepType == "ByteLevel" { continue }
                guard stepType == "TemplateProcessing", !isFound else {
                    throw step.failure("post_processor '\(stepType)' is not supported after or beside another")
                }
                isFound = true
                pieces = try Self.template(step)
            }
        default:
            throw node.failure("post_processor '\(type)' is not supported (ByteLevel, TemplateProcessing, Sequence)")
        }
    }

    private static func template(_ node: JSONNode) throws(FileError) -> [Piece] {
        var pieces: [Piece] = []
        for piece in try node.required("single").elements() {
            if let text = piece.member("Sequence") {
                guard try text.required("id").string() == "A" else {
                    throw text.failure("a template of one text names a second one")
                }
                pieces.append(.text)
            } else {
                let name = try piece.required("SpecialToken").required("id").string()
                let tokens = try node.required("special_tokens")
                guard let token = tokens.member(name) else {
                    throw node.failure("the template names '\(name)', which special_tokens does not define")
                }
                var ids: [Int32] = []
                for id in try token.required("ids").elements() {
                    ids.append(Int32(try id.integer(atMost: Tokenizer.maximumID)))
                }
                pieces.append(.special(ids))
            }
        }
        return pieces
    }

    func apply(to ids: [Int32], addingSpecialTokens: Bool) -> [Int32] {
        pieces.flatMap { piece -> [Int32] in
            switch piece {
            case .text: ids
            case .special(let special): addingSpecialTokens ? special : []
            }
        }
    }
}
