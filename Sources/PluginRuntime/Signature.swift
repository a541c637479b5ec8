/// What a hook reads and what it gives, as its plugin declares it (grammar: `craft_plugin.h`).
package struct Signature: Sendable, Equatable, CustomStringConvertible {
    /// One input or result.
    package struct Item: Sendable, Equatable, CustomStringConvertible {
        /// With placeholders, as declared: `loss.{objective}`. Without the `@prev` suffix.
        package var template: NameTemplate
        package var type: ValueType
        /// An input that may be absent, or a result that may be left out.
        package var isOptional: Bool
        /// Reads the previous step's value (`@prev`); inputs only.
        package var isPrevious: Bool

        package var description: String {
            "\(template)\(isPrevious ? "@prev" : ""): \(type)\(isOptional ? "?" : "")"
        }
    }

    package var inputs: [Item]
    package var results: [Item]

    /// Inputs plus results of one hook; `CRAFT_MAX_ARITY`.
    package static let maximumArity = 24

    package var description: String {
        let left = inputs.map(\.description).joined(separator: ", ")
        let right = results.map(\.description).joined(separator: ", ")
        return "\(left)\(left.isEmpty ? "" : " ")->\(right.isEmpty ? "" : " ")\(right)"
    }

    /// The type codes of the C function this signature describes, in declared order (`craft_signature_hash`).
    package var codes: String {
        let inputCodes = inputs.map { item -> Character in
            if item.type.isArray { return "A" }
            switch (item.type.element, item.isOptional) {
            case (.i64, false): return "l"
            case (.i64, true): return "L"
            case (_, false): return "d"
            case (_, true): return "D"
            }
        }
        let resultCodes = results.map { item -> Character in
            item.type.isArray ? "Z" : item.type.element == .i64 ? "y" : "x"
        }
        return String(inputCodes + resultCodes)
    }

    package init(parsing text: String) throws(SignatureError) {
        guard let arrow = text.firstRange(of: "->") else {
            throw SignatureError("there is no '->' between inputs and results")
        }
        let left = text[..<arrow.lowerBound]
        let right = text[arrow.upperBound...]
        guard right.firstRange(of: "->") == nil else { throw SignatureError("there is more than one '->'") }
        inputs = try Self.items(left, isResult: false)
        results = try Self.items(right, isResult: true)
        guard inputs.count + results.count <= Self.maximumArity else {
            throw SignatureError(
                "\(inputs.count + results.count) inputs and results, at most \(Self.maximumArity) are allowed")
        }
        try checkAxes()
    }

    /// A result array gets its size from the inputs, so every axis of it must be an axis of one: of a required input,
    /// unless the result may be left out.
    private func checkAxes() throws(SignatureError) {
        func names(_ items: [Item]) -> Set<String> { Set(items.flatMap { $0.type.axes ?? [] }) }
        let required = names(inputs.filter { !$0.isOptional })
        let all = names(inputs)
        for result in results {
            for axis in result.type.axes ?? [] where axis.first?.isASCIIDigit != true {
                if !all.contains(axis) {
                    throw SignatureError("axis '\(axis)' of result '\(result)' is not an axis of any input")
                }
                if !result.isOptional && !required.contains(axis) {
                    throw SignatureError(
                        "axis '\(axis)' of result '\(result)' comes from optional inputs only: "
                            + "mark the result optional too ('\(result.type)?')")
                }
            }
        }
    }

    private static func items(_ text: Substring, isResult: Bool) throws(SignatureError) -> [Item] {
        var parts = splitOutsideBrackets(text)
        if parts.last?.trimmed.isEmpty == true { parts.removeLast() }
        var items: [Item] = []
        for part in parts {
            let item = try Self.item(part, isResult: isResult)
            let isRepeated = items.contains { $0.template == item.template && $0.isPrevious == item.isPrevious }
            guard !isRepeated else { throw SignatureError("'\(item.template)' is listed twice") }
            items.append(item)
        }
        return items
    }

    private static func item(_ text: Substring, isResult: Bool) throws(SignatureError) -> Item {
        guard let colon = text.firstIndex(of: ":") else {
            throw SignatureError("'\(text.trimmed)' has no type: write 'name: type'")
        }
        var name = text[..<colon].trimmed
        let isPrevious = name.hasSuffix("@prev")
        if isPrevious { name = name.dropLast(5) }
        var type = text[text.index(after: colon)...].trimmed
        let isOptional = type.hasSuffix("?")
        if isOptional { type = type.dropLast() }
        let item = Item(
            template: try NameTemplate(parsing: String(name)), type: try ValueType(parsing: type),
            isOptional: isOptional, isPrevious: isPrevious)
        if isPrevious && isResult { throw SignatureError("'\(item)': a result cannot carry '@prev'") }
        if isPrevious && !isOptional {
            throw SignatureError("'\(item)': an '@prev' input must be optional, the first step has no previous one")
        }
        return item
    }

    private static func splitOutsideBrackets(_ text: Substring) -> [Substring] {
        var parts: [Substring] = []
        var depth = 0
        var start = text.startIndex
        for index in text.indices {
            switch text[index] {
            case "[": depth += 1
            case "]": depth -= 1
            case "," where depth == 0:
                parts.append(text[start..<index])
                start = text.index(after: index)
            default: break
            }
        }
        parts.append(text[start...])
        return parts
    }
}

extension StringProtocol {
    /// The first occurrence of `needle`; without Foundation.
    func firstRange(of needle: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(needle) { return start..<index(start, offsetBy: needle.count) }
            start = index(after: start)
        }
        return nil
    }
}
