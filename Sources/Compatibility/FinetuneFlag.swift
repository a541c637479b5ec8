import Formats
import Foundation
import Training

/// A value of an original flag.
package enum FinetuneValue: Equatable, CustomStringConvertible {
    case truth(Bool)
    case whole(Int)
    case number(Double)
    case text(String)
    case none

    /// As Python prints it.
    package var description: String {
        switch self {
        case .truth(let value): value ? "True" : "False"
        case .whole(let value): String(value)
        case .number(let value): value.description
        case .text(let value): value
        case .none: "None"
        }
    }
}

/// A flag of an original training script, and what becomes of it.
package struct FinetuneFlag: Sendable {
    package enum Kind: String, Sendable {
        case truth = "bool"
        case whole = "int"
        case number = "float"
        case text = "str"
    }

    /// The scripts that have a flag.
    package enum Scripts: String, Sendable {
        case all = "all"
        case adapter = "VLA-Adapter, CRaFT"
        case craft = "CRaFT"
        case oft = "OpenVLA-OFT"
        case openVLA = "OpenVLA"
    }

    package enum Rule: Sendable {
        /// Becomes part of the `craft train` line.
        case honoured
        /// Any value is fine: it changes nothing, for the reason that is given.
        case noEffect(String)
        /// The default is what craft does; any other value is refused, for the reason that is given.
        case defaultOnly(String)
        /// Refused at any value, for the reason that is given.
        case refused(String)
    }

    package let name: String
    package let kind: Kind
    package let isOptional: Bool
    package let scripts: Scripts
    /// As it stands in the script.
    package let defaultText: String
    /// OpenVLA-OFT's default, where it differs.
    package let oftDefault: String?
    /// The flag without which the original does not read this one.
    package let needs: String?
    package let rule: Rule
    /// What it becomes, for the table.
    package let becomes: String

    package init(
        _ name: String, _ kind: Kind, _ defaultText: String, oft: String? = nil, optional: Bool = false,
        in scripts: Scripts = .all, needs: String? = nil, _ rule: Rule = .honoured, becomes: String = ""
    ) {
        (self.name, self.kind, self.defaultText, isOptional) = (name, kind, defaultText, optional)
        (oftDefault, self.scripts, self.needs, self.rule, self.becomes) = (oft, scripts, needs, rule, becomes)
    }

    /// One sentence for the table.
    package var summary: String {
        switch rule {
        case .honoured: becomes
        case .noEffect(let why): "accepted, no effect: \(why)"
        case .defaultOnly(let why): "only `\(defaultText)`: \(why)"
        case .refused(let why): "refused: \(why)"
        }
    }

    /// Reads a value as draccus does: scalars of YAML, words for bool and null.
    package func parse(_ text: String) throws -> FinetuneValue {
        if isOptional, ["None", "null", "Null", "NULL", "~", ""].contains(text) { return .none }
        switch kind {
        case .truth:
            switch text.lowercased() {
            case "true", "yes", "on": return .truth(true)
            case "false", "no", "off": return .truth(false)
            default: throw mismatch(text, "True or False")
            }
        case .whole:
            let digits = text.replacingOccurrences(of: "_", with: "")
            if let value = Int(digits) { return .whole(value) }
            // A whole number may be written as a float.
            if let value = Double(digits), let whole = Int(exactly: value) { return .whole(whole) }
            throw mismatch(text, "a whole number")
        case .number:
            guard let value = Double(text.replacingOccurrences(of: "_", with: "")), value.isFinite else {
                throw mismatch(text, "a number")
            }
            return .number(value)
        case .text:
            guard !text.isEmpty else { throw mismatch(text, "a text") }
            return .text(text)
        }
    }

    private func mismatch(_ text: String, _ expected: String) -> CompatibilityError {
        CompatibilityError(.arguments, "--\(name) is '\(text)'; expected \(expected)\(isOptional ? ", or None" : "")")
    }

    /// The default of the script that the command is meant for.
    package func standard(oft isOFT: Bool) -> FinetuneValue {
        // The table's own defaults are of their flags' types; a test reads each of them.
        (try? parse(isOFT ? oftDefault ?? defaultText : defaultText)) ?? .none
    }
}
