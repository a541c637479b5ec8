indirect enum TemplateExpression: Sendable {
    case literal(TemplateValue)
    case name(String)
    case attribute(TemplateExpression, String)
    case item(TemplateExpression, TemplateExpression)
    case slice(TemplateExpression, from: TemplateExpression?, to: TemplateExpression?, step: TemplateExpression?)
    case call(TemplateExpression, Arguments)
    case filter(TemplateExpression, String, Arguments)
    case test(TemplateExpression, String, isNegated: Bool)
    case not(TemplateExpression)
    case negative(TemplateExpression)
    case binary(String, TemplateExpression, TemplateExpression)
    case conditional(TemplateExpression, then: TemplateExpression, otherwise: TemplateExpression?)
    case list([TemplateExpression])
    case object([(TemplateExpression, TemplateExpression)])

    struct Arguments: Sendable {
        var values: [TemplateExpression] = []
        var named: [(name: String, value: TemplateExpression)] = []
    }
}

enum TemplateNode: Sendable {
    case output(String)
    case expression(TemplateExpression)
    case condition([(TemplateExpression, [TemplateNode])], otherwise: [TemplateNode])
    case loop([String], TemplateExpression, only: TemplateExpression?, [TemplateNode], otherwise: [TemplateNode])
    /// `{% set name = .. %}`, or with an attribute `{% set name.attribute = .. %}`.
    case set(String, attribute: String?, TemplateExpression)
}

/// Reads the statements of a template: `if`, `for` and `set`.
struct TemplateParser {
    private var tokens: [TemplateToken]
    private var index = 0
    private var depth = 0

    init(_ template: String) throws(TemplateFailure) {
        var lexer = TemplateLexer(template)
        tokens = try lexer.tokens()
    }

    mutating func template() throws(TemplateFailure) -> [TemplateNode] {
        let (nodes, end) = try nodes(until: [])
        if let end { throw TemplateFailure("'\(end)' without a beginning") }
        return nodes
    }

    /// The nodes up to a statement that begins with one of `names`, and that name; the statement is left in place.
    private mutating func nodes(until names: Set<String>) throws(TemplateFailure) -> ([TemplateNode], String?) {
        depth += 1
        defer { depth -= 1 }
        guard depth <= 64 else { throw TemplateFailure("statements nest more than 64 deep") }
        var nodes: [TemplateNode] = []
        while index < tokens.count {
            switch tokens[index] {
            case .output(let text): nodes.append(.output(text))
            case .expression(let words):
                var reader = TemplateExpressionReader(words)
                nodes.append(.expression(try reader.whole()))
            case .statement(let words):
                guard case .name(let name)? = words.first else { throw TemplateFailure("an empty statement") }
                if names.contains(name) { return (nodes, name) }
                index += 1
                nodes.append(try statement(name, Array(words.dropFirst())))
                continue
            }
            index += 1
        }
        guard names.isEmpty else {
            throw TemplateFailure("no '\(names.sorted().joined(separator: "' or '"))' before the end")
        }
        return (nodes, nil)
    }

    private mutating func statement(
        _ name: String, _ words: [TemplateToken.Word]
    ) throws(TemplateFailure) -> TemplateNode {
        var reader = TemplateExpressionReader(words)
        switch name {
        case "if": return try condition(reader.whole())
        case "for": return try loop(&reader)
        case "set":
            let target = try reader.name()
            let attribute = reader.take(".") ? try reader.name() : nil
            guard reader.take("=") else { throw TemplateFailure("'set' without '=' is not supported") }
            return .set(target, attribute: attribute, try reader.whole())
        default: throw TemplateFailure("the statement '\(name)' is not supported (if, for, set)")
        }
    }

    private mutating func condition(_ first: TemplateExpression) throws(TemplateFailure) -> TemplateNode {
        var branches: [(TemplateExpression, [TemplateNode])] = []
        var test = first
        while true {
            let (nodes, end) = try nodes(until: ["elif", "else", "endif"])
            branches.append((test, nodes))
            guard case .statement(let words) = tokens[index] else { break }
            index += 1
            switch end {
            case "elif":
                var reader = TemplateExpressionReader(Array(words.dropFirst()))
                test = try reader.whole()
            case "else":
                let (otherwise, _) = try self.nodes(until: ["endif"])
                index += 1
                return .condition(branches, otherwise: otherwise)
            default: return .condition(branches, otherwise: [])
            }
        }
        return .condition(branches, otherwise: [])
    }

    private mutating func loop(_ reader: inout TemplateExpressionReader) throws(TemplateFailure) -> TemplateNode {
        var targets = [try reader.name()]
        while reader.take(",") { targets.append(try reader.name()) }
        guard reader.takeName("in") else { throw TemplateFailure("'for' without 'in'") }
        let items = try reader.withoutCondition()
        let only = reader.takeName("if") ? try reader.expression() : nil
        try reader.end()
        let (body, end) = try nodes(until: ["else", "endfor"])
        index += 1
        var otherwise: [TemplateNode] = []
        if end == "else" {
            otherwise = try nodes(until: ["endfor"]).0
            index += 1
        }
        return .loop(targets, items, only: only, body, otherwise: otherwise)
    }
}
