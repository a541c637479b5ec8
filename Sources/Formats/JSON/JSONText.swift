package import Foundation

/// JSON as craft writes it: pieces of text for files that are written in a stream, and whole documents.
package enum JSONText {
    /// A JSON string literal, as Python's `json` writes it without escaping what is outside ASCII.
    package static func quoted(_ text: String) -> String {
        var literal = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": literal += "\\\""
            case "\\": literal += "\\\\"
            case "\n": literal += "\\n"
            case "\r": literal += "\\r"
            case "\t": literal += "\\t"
            case "\u{8}": literal += "\\b"
            case "\u{c}": literal += "\\f"
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

    /// Writes documents: keys sorted, slashes as they are.
    package static func encoder(pretty: Bool = true) -> JSONEncoder {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        if pretty { encoder.outputFormatting.insert(.prettyPrinted) }
        return encoder
    }

    /// A document, without a line's end.
    package static func document(_ value: some Encodable, pretty: Bool = true) throws -> String {
        String(decoding: try encoder(pretty: pretty).encode(value), as: UTF8.self)
    }
}

extension AtomicFile {
    /// Writes a JSON document that people may read.
    package static func write(json value: some Encodable, to path: String) throws {
        try write(JSONText.document(value) + "\n", to: path)
    }
}
