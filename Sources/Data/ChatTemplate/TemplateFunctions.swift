/// Operators, filters, tests and methods of templates; those of Jinja and Python that chat templates use.
enum TemplateFunctions {
    static func binary(
        _ sign: String, _ left: TemplateValue, _ right: TemplateValue
    ) throws(TemplateFailure) -> TemplateValue {
        switch (sign, left, right) {
        case ("==", _, _): return .bool(left.equals(right))
        case ("!=", _, _): return .bool(!left.equals(right))
        case ("~", _, _): return .text(left.printed + right.printed)
        case ("+", .text(let left), .text(let right)): return .text(left + right)
        case ("+", .list(let left), .list(let right)): return .list(left + right)
        case ("+", .int(let left), .int(let right)): return .int(left &+ right)
        case ("-", .int(let left), .int(let right)): return .int(left &- right)
        case ("*", .int(let left), .int(let right)): return .int(left &* right)
        case ("%", .int(let left), .int(let right)) where right > 0: return .int(((left % right) + right) % right)
        case ("//", .int(let left), .int(let right)) where right > 0:
            return .int(left >= 0 ? left / right : -((-(left + 1)) / right) - 1)
        case ("<", .int(let left), .int(let right)): return .bool(left < right)
        case (">", .int(let left), .int(let right)): return .bool(left > right)
        case ("<=", .int(let left), .int(let right)): return .bool(left <= right)
        case (">=", .int(let left), .int(let right)): return .bool(left >= right)
        case ("in", _, .list(let items)): return .bool(items.contains { $0.equals(left) })
        case ("in", .text(let name), .object(let members)): return .bool(members.contains { $0.key == name })
        case ("in", .text(let part), .text(let text)): return .bool(find(part, in: text) != nil)
        default: throw TemplateFailure("'\(left.printed)' \(sign) '\(right.printed)' is not supported")
        }
    }

    static func filter(
        _ name: String, _ base: TemplateValue, _ values: [TemplateValue], _ named: [String: TemplateValue]
    ) throws(TemplateFailure) -> TemplateValue {
        switch name {
        case "trim": return .text(stripped(base.printed))
        case "length", "count":
            switch base {
            case .text(let text): return .int(text.unicodeScalars.count)
            case .list(let items): return .int(items.count)
            case .object(let members): return .int(members.count)
            default: throw TemplateFailure("the length of '\(base.printed)'")
            }
        case "upper": return .text(base.printed.uppercased())
        case "lower": return .text(base.printed.lowercased())
        case "string": return .text(base.printed)
        case "safe": return base
        case "tojson" where named.isEmpty && values.isEmpty: return .text(base.json)
        case "default", "d":
            let usesTruth = (values.count > 1 ? values[1] : named["boolean"] ?? .bool(false)).isTrue
            if case .undefined = base { return values.first ?? .text("") }
            return usesTruth && !base.isTrue ? values.first ?? .text("") : base
        case "first", "last", "join", "list":
            guard case .list(let items) = base else { throw TemplateFailure("the filter '\(name)' of what is no list") }
            switch name {
            case "first": return items.first ?? .undefined
            case "last": return items.last ?? .undefined
            case "list": return base
            default: return .text(items.map(\.printed).joined(separator: values.first?.printed ?? ""))
            }
        case "items": return try method("items", base, [])
        case "replace": return try method("replace", .text(base.printed), values)
        default: throw TemplateFailure("the filter '\(name)' is not supported")
        }
    }

    static func test(_ name: String, _ value: TemplateValue) throws(TemplateFailure) -> Bool {
        switch (name, value) {
        case ("defined", .undefined), ("undefined", _): if case .undefined = value { return name == "undefined" }
        case ("defined", _): return true
        case ("none", .none), ("string", .text), ("mapping", .object), ("boolean", .bool), ("number", .int),
            ("iterable", .text), ("iterable", .list), ("iterable", .object), ("sequence", .text), ("sequence", .list),
            ("sequence", .object), ("true", .bool(true)), ("false", .bool(false)), ("integer", .int):
            return true
        default:
            let known = [
                "none", "string", "mapping", "boolean", "number", "iterable", "sequence", "true", "false", "integer",
            ]
            guard known.contains(name) else { throw TemplateFailure("the test '\(name)' is not supported") }
        }
        return false
    }

    static func method(
        _ name: String, _ base: TemplateValue, _ values: [TemplateValue]
    ) throws(TemplateFailure) -> TemplateValue {
        let texts = values.map(\.printed)
        switch (name, base, values.count) {
        case ("strip", .text(let text), 0...1): return .text(stripped(text, of: texts.first))
        case ("lstrip", .text(let text), 0...1): return .text(stripped(text, of: texts.first, right: false))
        case ("rstrip", .text(let text), 0...1): return .text(stripped(text, of: texts.first, left: false))
        case ("upper", .text(let text), 0): return .text(text.uppercased())
        case ("lower", .text(let text), 0): return .text(text.lowercased())
        case ("startswith", .text(let text), 1): return .bool(text.utf8.starts(with: texts[0].utf8))
        case ("endswith", .text(let text), 1): return .bool(text.utf8.reversed().starts(with: texts[0].utf8.reversed()))
        case ("split", .text(let text), 1) where !texts[0].isEmpty:
            return .list(parts(of: text, separator: texts[0]).map { .text($0) })
        case ("replace", .text(let text), 2) where !texts[0].isEmpty:
            return .text(parts(of: text, separator: texts[0]).joined(separator: texts[1]))
        case ("items", .object(let members), 0): return .list(members.map { .list([.text($0.key), $0.value]) })
        case ("keys", .object(let members), 0): return .list(members.map { .text($0.key) })
        case ("values", .object(let members), 0): return .list(members.map(\.value))
        case ("get", .object(let members), 1...2):
            return members.last { $0.key == texts[0] }?.value ?? (values.count == 2 ? values[1] : .none)
        default: throw TemplateFailure("the method '\(name)' of '\(base.printed)' is not supported")
        }
    }

    /// Without white space, or the characters of `characters`, at its ends.
    private static func stripped(
        _ text: String, of characters: String? = nil, left: Bool = true, right: Bool = true
    ) -> String {
        func goes(_ scalar: Unicode.Scalar) -> Bool {
            if let characters { return characters.unicodeScalars.contains(scalar) }
            return scalar.properties.isWhitespace || "\u{1c}"..."\u{1f}" ~= scalar
        }
        var rest = Array(text.unicodeScalars)[...]
        if left { rest = rest.drop(while: goes) }
        while right, let last = rest.last, goes(last) { rest.removeLast() }
        return String(String.UnicodeScalarView(rest))
    }

    private static func find(_ part: String, in text: String) -> Int? {
        let (text, part) = (Array(text.utf8), Array(part.utf8))
        guard part.count <= text.count else { return nil }
        return (0...(text.count - part.count)).first { text[$0...].starts(with: part) }
    }

    private static func parts(of text: String, separator: String) -> [String] {
        let (bytes, mark) = (Array(text.utf8), Array(separator.utf8))
        var parts: [String] = []
        var start = 0
        var index = 0
        while index + mark.count <= bytes.count {
            if bytes[index...].starts(with: mark) {
                parts.append(String(decoding: bytes[start..<index], as: UTF8.self))
                index += mark.count
                start = index
            } else {
                index += 1
            }
        }
        return parts + [String(decoding: bytes[start...], as: UTF8.self)]
    }
}
