internal import Formats

/// A value while a chat template is rendered.
indirect enum TemplateValue: Sendable {
    case undefined
    case none
    case bool(Bool)
    case int(Int)
    case text(String)
    case list([TemplateValue])
    /// In the order the members were given.
    case object([(key: String, value: TemplateValue)])
    /// The values that `set ns.name = ..` changes, kept by the renderer under this number.
    case namespace(Int)
    case function(String)

    var isTrue: Bool {
        switch self {
        case .undefined, .none: false
        case .bool(let value): value
        case .int(let value): value != 0
        case .text(let text): !text.isEmpty
        case .list(let items): !items.isEmpty
        case .object(let members): !members.isEmpty
        case .namespace, .function: true
        }
    }

    /// As Jinja prints it.
    var printed: String {
        switch self {
        case .undefined: ""
        case .none: "None"
        case .bool(let value): value ? "True" : "False"
        case .int(let value): String(value)
        case .text(let text): text
        case .list, .object, .namespace, .function: json
        }
    }

    /// As Python's `json.dumps` writes it, characters outside ASCII as they are.
    var json: String {
        switch self {
        case .undefined, .none, .namespace, .function: return "null"
        case .bool(let value): return value ? "true" : "false"
        case .int(let value): return String(value)
        case .text(let text): return JSONText.quoted(text)
        case .list(let items): return "[" + items.map(\.json).joined(separator: ", ") + "]"
        case .object(let members):
            return "{" + members.map { "\(JSONText.quoted($0.key)): \($0.value.json)" }.joined(separator: ", ") + "}"
        }
    }

    func equals(_ other: TemplateValue) -> Bool {
        switch (self, other) {
        case (.undefined, .undefined), (.none, .none): true
        case (.bool(let left), .bool(let right)): left == right
        case (.int(let left), .int(let right)): left == right
        case (.bool(let left), .int(let right)), (.int(let right), .bool(let left)): (left ? 1 : 0) == right
        // Strings of Swift are equal where they are canonically equivalent; Python compares characters.
        case (.text(let left), .text(let right)): left.utf8.elementsEqual(right.utf8)
        case (.list(let left), .list(let right)):
            left.count == right.count && zip(left, right).allSatisfy { $0.equals($1) }
        case (.object(let left), .object(let right)):
            left.count == right.count
                && left.allSatisfy { pair in right.contains { $0.key == pair.key && $0.value.equals(pair.value) } }
        default: false
        }
    }
}

/// Why a template cannot be read or rendered.
struct TemplateFailure: Error {
    var description: String
    init(_ description: String) { self.description = description }
}
