/// Pieces of JSON text for files that are written in a stream. Reading, and whole documents, are Foundation's business.
package enum JSONText {
    /// A JSON string literal.
    package static func quoted(_ text: String) -> String {
        var literal = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": literal += "\\\""
            case "\\": literal += "\\\\"
            case "\n": literal += "\\n"
            case "\r": literal += "\\r"
            case "\t": literal += "\\t"
            case _ where scalar.value < 0x20:
                let code = String(scalar.value, radix: 16)
                literal += "\\u" + String(repeating: "0", count: 4 - code.count) + code
            default: literal.unicodeScalars.append(scalar)
            }
        }
        return literal + "\""
    }

    /// A JSON number that reads back to the same Double; `null` for NaN and infinities, which JSON does not have.
    package static func number(_ value: Double) -> String {
        value.isFinite ? value.description : "null"
    }
}
