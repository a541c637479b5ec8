/// Reads an expression; operators bind as in Jinja.
struct TemplateExpressionReader {
    typealias Expression = TemplateExpression

    private let words: [TemplateToken.Word]
    private var index = 0
    private var depth = 0

    init(_ words: [TemplateToken.Word]) { self.words = words }

    private var next: TemplateToken.Word? { index < words.count ? words[index] : nil }

    mutating func take(_ sign: String) -> Bool {
        guard next == .sign(sign) else { return false }
        index += 1
        return true
    }

    mutating func takeName(_ name: String) -> Bool {
        guard next == .name(name) else { return false }
        index += 1
        return true
    }

    private mutating func expect(_ sign: String) throws(TemplateFailure) {
        guard take(sign) else { throw TemplateFailure("expected '\(sign)' in an expression") }
    }

    mutating func name() throws(TemplateFailure) -> String {
        guard case .name(let name)? = next else { throw TemplateFailure("expected a name") }
        index += 1
        return name
    }

    func end() throws(TemplateFailure) {
        guard index == words.count else {
            throw TemplateFailure("unexpected \(Self.text(words[index])) in an expression")
        }
    }

    private static func text(_ word: TemplateToken.Word) -> String {
        switch word {
        case .name(let text), .sign(let text), .text(let text): "'\(text)'"
        case .int(let value): String(value)
        }
    }

    mutating func whole() throws(TemplateFailure) -> Expression {
        let result = try expression()
        try end()
        return result
    }

    mutating func expression() throws(TemplateFailure) -> Expression {
        depth += 1
        defer { depth -= 1 }
        guard depth <= 64 else { throw TemplateFailure("an expression nests more than 64 deep") }
        let value = try withoutCondition()
        guard takeName("if") else { return value }
        let test = try withoutCondition()
        return .conditional(test, then: value, otherwise: takeName("else") ? try expression() : nil)
    }

    mutating func withoutCondition() throws(TemplateFailure) -> Expression {
        var left = try conjunction()
        while takeName("or") { left = .binary("or", left, try conjunction()) }
        return left
    }

    private mutating func conjunction() throws(TemplateFailure) -> Expression {
        var left = try negation()
        while takeName("and") { left = .binary("and", left, try negation()) }
        return left
    }

    private mutating func negation() throws(TemplateFailure) -> Expression {
        var count = 0
        while takeName("not") { count += 1 }
        let value = try comparison()
        return count == 0 ? value : count % 2 == 1 ? .not(value) : .not(.not(value))
    }

    private mutating func comparison() throws(TemplateFailure) -> Expression {
        var left = try sum()
        while true {
            if case .sign(let sign)? = next, ["==", "!=", "<", ">", "<=", ">="].contains(sign) {
                index += 1
                left = .binary(sign, left, try sum())
            } else if takeName("in") {
                left = .binary("in", left, try sum())
            } else if next == .name("not"), index + 1 < words.count, words[index + 1] == .name("in") {
                index += 2
                left = .not(.binary("in", left, try sum()))
            } else {
                return left
            }
        }
    }

    private mutating func sum() throws(TemplateFailure) -> Expression {
        var left = try concatenation()
        while case .sign(let sign)? = next, sign == "+" || sign == "-" {
            index += 1
            left = .binary(sign, left, try concatenation())
        }
        return left
    }

    private mutating func concatenation() throws(TemplateFailure) -> Expression {
        var left = try product()
        while take("~") { left = .binary("~", left, try product()) }
        return left
    }

    private mutating func product() throws(TemplateFailure) -> Expression {
        var left = try unary()
        while case .sign(let sign)? = next, ["*", "//", "%"].contains(sign) {
            index += 1
            left = .binary(sign, left, try unary())
        }
        return left
    }

    private mutating func unary() throws(TemplateFailure) -> Expression {
        take("-") ? .negative(try postfix()) : try postfix()
    }

    private mutating func postfix() throws(TemplateFailure) -> Expression {
        var value = try primary()
        while true {
            if take(".") {
                value = .attribute(value, try name())
            } else if take("[") {
                value = try subscripted(value)
            } else if take("(") {
                value = .call(value, try arguments())
            } else if take("|") {
                let filter = try name()
                value = .filter(value, filter, take("(") ? try arguments() : .init())
            } else if takeName("is") {
                let isNegated = takeName("not")
                value = .test(value, try name(), isNegated: isNegated)
            } else {
                return value
            }
        }
    }

    private mutating func subscripted(_ value: Expression) throws(TemplateFailure) -> Expression {
        var parts: [Expression?] = [nil]
        while !take("]") {
            if take(":") {
                parts.append(nil)
            } else {
                guard parts[parts.count - 1] == nil else { throw TemplateFailure("expected ']'") }
                parts[parts.count - 1] = try expression()
            }
        }
        guard parts.count > 1 else {
            guard let item = parts[0] else { throw TemplateFailure("an empty index") }
            return .item(value, item)
        }
        guard parts.count <= 3 else { throw TemplateFailure("a slice of more than three parts") }
        return .slice(value, from: parts[0], to: parts[1], step: parts.count == 3 ? parts[2] : nil)
    }

    private mutating func arguments() throws(TemplateFailure) -> Expression.Arguments {
        var arguments = Expression.Arguments()
        while !take(")") {
            if case .name(let name)? = next, index + 1 < words.count, words[index + 1] == .sign("=") {
                index += 2
                arguments.named.append((name, try expression()))
            } else {
                arguments.values.append(try expression())
            }
            if !take(","), next != .sign(")") { throw TemplateFailure("expected ',' or ')'") }
        }
        return arguments
    }

    private mutating func primary() throws(TemplateFailure) -> Expression {
        guard let word = next else { throw TemplateFailure("an expression ends too early") }
        index += 1
        switch word {
        case .text(var text):
            while case .text(let more)? = next {  // adjacent strings are one
                text += more
                index += 1
            }
            return .literal(.text(text))
        case .int(let value): return .literal(.int(value))
        case .name("true"), .name("True"): return .literal(.bool(true))
        case .name("false"), .name("False"): return .literal(.bool(false))
        case .name("none"), .name("None"): return .literal(.none)
        case .name(let name): return .name(name)
        case .sign("("):
            let value = try expression()
            try expect(")")
            return value
        case .sign("["):
            var items: [Expression] = []
            while !take("]") {
                items.append(try expression())
                if !take(","), next != .sign("]") { throw TemplateFailure("expected ',' or ']'") }
            }
            return .list(items)
        case .sign("{"):
            var members: [(Expression, Expression)] = []
            while !take("}") {
                let key = try expression()
                try expect(":")
                members.append((key, try expression()))
                if !take(","), next != .sign("}") { throw TemplateFailure("expected ',' or '}'") }
            }
            return .object(members)
        case .sign: throw TemplateFailure("unexpected \(Self.text(word)) in an expression")
        }
    }
}
