import Foundation

/// Renders a parsed template.
struct TemplateRenderer {
    private(set) var output = ""
    private var scopes: [[String: TemplateValue]]
    private var namespaces: [[String: TemplateValue]] = []
    private var steps = 0

    /// Far more than any chat takes; ends templates that would run on and on.
    private static let maximumSteps = 5_000_000

    init(_ variables: [String: TemplateValue]) { scopes = [variables] }

    private mutating func count() throws(TemplateFailure) {
        steps += 1
        guard steps < Self.maximumSteps, output.utf8.count < 1 << 28 else {
            throw TemplateFailure("it does not come to an end")
        }
    }

    mutating func render(_ nodes: [TemplateNode]) throws(TemplateFailure) {
        for node in nodes {
            try count()
            switch node {
            case .output(let text): output += text
            case .expression(let expression): output += try value(expression).printed
            case .condition(let branches, let otherwise):
                var chosen = otherwise
                for (test, nodes) in branches where try value(test).isTrue {
                    chosen = nodes
                    break
                }
                try render(chosen)
            case .set(let name, nil, let expression): scopes[scopes.count - 1][name] = try value(expression)
            case .set(let name, let attribute?, let expression):
                guard case .namespace(let index) = lookUp(name) else {
                    throw TemplateFailure("'\(name)' is not a namespace, so '\(name).\(attribute)' cannot be set")
                }
                namespaces[index][attribute] = try value(expression)
            case .loop(let targets, let items, let only, let body, let otherwise):
                try loop(targets, items, only, body, otherwise)
            }
        }
    }

    private mutating func loop(
        _ targets: [String], _ expression: TemplateExpression, _ only: TemplateExpression?, _ body: [TemplateNode],
        _ otherwise: [TemplateNode]
    ) throws(TemplateFailure) {
        scopes.append([:])
        defer { scopes.removeLast() }
        var items: [TemplateValue] = []
        for item in try elements(value(expression)) {
            try count()
            try bind(targets, item)
            if let only, try !value(only).isTrue { continue }
            items.append(item)
        }
        if items.isEmpty { return try render(otherwise) }
        for (index, item) in items.enumerated() {
            scopes[scopes.count - 1] = [:]
            try bind(targets, item)
            scopes[scopes.count - 1]["loop"] = .object([
                ("index", .int(index + 1)), ("index0", .int(index)), ("first", .bool(index == 0)),
                ("last", .bool(index == items.count - 1)), ("length", .int(items.count)),
                ("revindex", .int(items.count - index)), ("revindex0", .int(items.count - index - 1)),
                ("previtem", index > 0 ? items[index - 1] : .undefined),
                ("nextitem", index + 1 < items.count ? items[index + 1] : .undefined),
            ])
            try render(body)
        }
    }

    private mutating func bind(_ targets: [String], _ item: TemplateValue) throws(TemplateFailure) {
        if targets.count == 1 {
            scopes[scopes.count - 1][targets[0]] = item
            return
        }
        guard case .list(let parts) = item, parts.count == targets.count else {
            throw TemplateFailure("a loop over \(targets.joined(separator: ", ")) needs lists of \(targets.count)")
        }
        for (target, part) in zip(targets, parts) { scopes[scopes.count - 1][target] = part }
    }

    private func elements(_ value: TemplateValue) throws(TemplateFailure) -> [TemplateValue] {
        switch value {
        case .list(let items): return items
        case .object(let members): return members.map { .text($0.key) }
        case .text(let text): return text.unicodeScalars.map { .text(String($0)) }
        case .undefined: return []
        default: throw TemplateFailure("a loop over '\(value.printed)', which is not a list")
        }
    }

    private func lookUp(_ name: String) -> TemplateValue {
        for scope in scopes.reversed() {
            if let value = scope[name] { return value }
        }
        return ["raise_exception", "namespace", "range", "strftime_now"].contains(name) ? .function(name) : .undefined
    }

    private mutating func value(_ expression: TemplateExpression) throws(TemplateFailure) -> TemplateValue {
        switch expression {
        case .literal(let value): return value
        case .name(let name): return lookUp(name)
        case .attribute(let base, let name): return try attribute(value(base), name)
        case .item(let base, let index): return try item(value(base), value(index))
        case .slice(let base, let from, let to, let step):
            return try slice(value(base), bound(from), bound(to), bound(step) ?? 1)
        case .call(let callee, let arguments): return try call(callee, arguments)
        case .filter(let base, let name, let arguments):
            let base = try value(base)
            return try TemplateFunctions.filter(name, base, values(arguments), named(arguments))
        case .test(let base, let name, let isNegated):
            return .bool(try TemplateFunctions.test(name, value(base)) != isNegated)
        case .not(let operand): return .bool(try !value(operand).isTrue)
        case .negative(let operand):
            guard case .int(let number) = try value(operand) else {
                throw TemplateFailure("'-' before what is no number")
            }
            return .int(0 &- number)
        case .binary("and", let left, let right):
            let left = try value(left)
            return left.isTrue ? try value(right) : left
        case .binary("or", let left, let right):
            let left = try value(left)
            return left.isTrue ? left : try value(right)
        case .binary(let sign, let left, let right):
            return try TemplateFunctions.binary(sign, value(left), value(right))
        case .conditional(let test, let then, let otherwise):
            if try value(test).isTrue { return try value(then) }
            return try otherwise.map { (expression) throws(TemplateFailure) in try value(expression) } ?? .undefined
        case .list(let items):
            var values: [TemplateValue] = []
            for item in items { values.append(try value(item)) }
            return .list(values)
        case .object(let members):
            var values: [(key: String, value: TemplateValue)] = []
            for (key, member) in members { values.append((try value(key).printed, try value(member))) }
            return .object(values)
        }
    }

    private mutating func values(_ arguments: TemplateExpression.Arguments) throws(TemplateFailure) -> [TemplateValue] {
        var values: [TemplateValue] = []
        for argument in arguments.values { values.append(try value(argument)) }
        return values
    }

    private mutating func named(
        _ arguments: TemplateExpression.Arguments
    ) throws(TemplateFailure) -> [String: TemplateValue] {
        var values: [String: TemplateValue] = [:]
        for argument in arguments.named { values[argument.name] = try value(argument.value) }
        return values
    }

    private mutating func bound(_ expression: TemplateExpression?) throws(TemplateFailure) -> Int? {
        guard let expression else { return nil }
        switch try value(expression) {
        case .int(let number): return number
        case .none: return nil
        default: throw TemplateFailure("a slice by what is no number")
        }
    }

    private func attribute(_ base: TemplateValue, _ name: String) throws(TemplateFailure) -> TemplateValue {
        switch base {
        case .object(let members): return members.last { $0.key == name }?.value ?? .undefined
        case .namespace(let index): return namespaces[index][name] ?? .undefined
        case .undefined: throw TemplateFailure("'\(name)' of an undefined value")
        default: return .undefined
        }
    }

    private func item(_ base: TemplateValue, _ index: TemplateValue) throws(TemplateFailure) -> TemplateValue {
        switch (base, index) {
        case (_, .text(let name)): return try attribute(base, name)
        case (.list(let items), .int(let index)):
            let place = index < 0 ? index &+ items.count : index
            return items.indices.contains(place) ? items[place] : .undefined
        case (.text(let text), .int(let index)):
            let scalars = Array(text.unicodeScalars)
            let place = index < 0 ? index &+ scalars.count : index
            return scalars.indices.contains(place) ? .text(String(scalars[place])) : .undefined
        case (.undefined, _): throw TemplateFailure("an item of an undefined value")
        default: return .undefined
        }
    }

    /// Python's slices.
    private func slice(
        _ base: TemplateValue, _ from: Int?, _ to: Int?, _ step: Int
    ) throws(TemplateFailure) -> TemplateValue {
        func chosen(_ count: Int) throws(TemplateFailure) -> [Int] {
            guard step == 1 || step == -1 else { throw TemplateFailure("a slice by steps other than 1 and -1") }
            func place(_ index: Int?, _ fallback: Int) -> Int {
                guard let index else { return fallback }
                let place = index < 0 ? index &+ count : index
                return step == 1 ? min(max(place, 0), count) : min(max(place, -1), count - 1)
            }
            let (start, end) = step == 1 ? (place(from, 0), place(to, count)) : (place(from, count - 1), place(to, -1))
            return Array(stride(from: start, to: end, by: step))
        }
        switch base {
        case .list(let items): return .list(try chosen(items.count).map { items[$0] })
        case .text(let text):
            let scalars = Array(text.unicodeScalars)
            return .text(AddedVocabulary.text(try chosen(scalars.count).map { scalars[$0] }))
        default: throw TemplateFailure("a slice of '\(base.printed)', which is neither a list nor a string")
        }
    }

    private mutating func call(
        _ callee: TemplateExpression, _ arguments: TemplateExpression.Arguments
    ) throws(TemplateFailure) -> TemplateValue {
        let values = try values(arguments)
        if case .attribute(let base, let name) = callee {
            return try TemplateFunctions.method(name, value(base), values)
        }
        guard case .function(let name) = try value(callee) else {
            throw TemplateFailure("a call of what is no function")
        }
        switch name {
        case "raise_exception": throw TemplateFailure("the template says: \(values.first?.printed ?? "")")
        case "namespace":
            namespaces.append(try named(arguments))
            return .namespace(namespaces.count - 1)
        case "range":
            let bounds = values.map { value -> Int? in if case .int(let number) = value { number } else { nil } }
            guard (1...2).contains(bounds.count), let last = bounds[bounds.count - 1],
                let first = bounds.count == 2 ? bounds[0] : 0,
                abs(first) <= 1_000_000, abs(last) <= 1_000_000
            else { throw TemplateFailure("range takes one or two numbers up to a million") }
            return .list(first < last ? (first..<last).map { .int($0) } : [])
        default:  // strftime_now
            var now = time(nil)
            var parts = tm()
            localtime_r(&now, &parts)
            var buffer = [CChar](repeating: 0, count: 256)
            let count = strftime(&buffer, buffer.count, values.first?.printed ?? "", &parts)
            return .text(String(decoding: buffer.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self))
        }
    }
}
