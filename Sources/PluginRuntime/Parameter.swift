internal import Spelling

/// A setting that a plugin declares.
package struct Parameter: Sendable, Equatable {
    package enum Kind: String, Sendable, Codable {
        case i64, f64, bool, string
    }

    package var name: String
    package var kind: Kind
    /// As a user would type it.
    package var defaultText: String
    /// Inclusive; `nil` for no limit. Numbers only.
    package var minimum: Double?
    package var maximum: Double?
    /// The only values allowed, for text; empty when any text will do.
    package var choices: [String]
    package var doc: String

    /// A checked value.
    package enum Value: Sendable, Equatable {
        case i64(Int64)
        case f64(Double)
        case bool(Bool)
        case string(String)

        /// The value in one canonical spelling, as it is recorded with a run.
        package var text: String {
            switch self {
            case .i64(let value): String(value)
            case .f64(let value): String(value)
            case .bool(let value): String(value)
            case .string(let value): value
            }
        }
    }

    /// Why a text is not a value of this parameter.
    struct Rejection: Error {
        var problem: String
        var hint: String
    }

    /// Reads what a user typed.
    func value(of text: String) throws(Rejection) -> Value {
        switch kind {
        case .i64:
            guard let number = Int64(text) else {
                throw Rejection(problem: "expects an integer, got '\(text)'", hint: rangeHint)
            }
            try checkRange(Double(number), text)
            return .i64(number)
        case .f64:
            guard let number = Double(text), !number.isNaN else {
                throw Rejection(problem: "expects a number, got '\(text)'", hint: rangeHint)
            }
            try checkRange(number, text)
            return .f64(number)
        case .bool:
            switch text.lowercased() {
            case "true", "1", "yes", "on": return .bool(true)
            case "false", "0", "no", "off": return .bool(false)
            default: throw Rejection(problem: "expects true or false, got '\(text)'", hint: "")
            }
        case .string:
            if !choices.isEmpty, !choices.contains(text) {
                throw Rejection(
                    problem: "'\(text)' is not one of its choices",
                    hint: Suggestion.hint(
                        for: text, among: choices, otherwise: "choices: \(choices.joined(separator: ", "))"))
            }
            return .string(text)
        }
    }

    private func checkRange(_ number: Double, _ text: String) throws(Rejection) {
        if number < minimum ?? -.infinity || number > maximum ?? .infinity {
            throw Rejection(problem: "\(text) is out of range", hint: rangeHint)
        }
    }

    private var rangeHint: String {
        switch (minimum, maximum) {
        case (nil, nil): "default: \(defaultText)"
        case (let low?, nil): "allowed: at least \(low); default: \(defaultText)"
        case (nil, let high?): "allowed: at most \(high); default: \(defaultText)"
        case (let low?, let high?): "allowed: \(low) to \(high); default: \(defaultText)"
        }
    }
}
