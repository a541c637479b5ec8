/// A JSON document whose strings are the UTF-8 they were written as.
///
/// Foundation's decoders put object members into a `Dictionary` of `String`, which takes canonically equivalent keys
/// ("é" and "e" with a combining accent) for one and so would lose entries of a vocabulary.
package enum JSONTree: Sendable {
    case null
    case bool(Bool)
    case number(Double)
    case string([UInt8])
    case array([JSONTree])
    case object([(key: [UInt8], value: JSONTree)])

    /// What is wrong, and where: "expected ':' at byte 17".
    package struct Failure: Error {
        package var description: String
    }

    package init(parsing bytes: [UInt8]) throws(Failure) {
        var start = 0
        if bytes.starts(with: [0xef, 0xbb, 0xbf]) { start = 3 }  // byte order mark
        guard String(validating: bytes, as: UTF8.self) != nil else { throw Failure(description: "it is not UTF-8") }
        var parser = JSONTreeParser(bytes: bytes, index: start)
        self = try parser.document()
    }
}

private struct JSONTreeParser {
    let bytes: [UInt8]
    var index: Int

    /// Deeper nesting than any configuration has; keeps hostile files from exhausting the stack.
    private static let maximumDepth = 128

    mutating func document() throws(JSONTree.Failure) -> JSONTree {
        let tree = try value(depth: 0)
        skipSpace()
        guard index == bytes.count else { throw failure("text after the end of the document") }
        return tree
    }

    private func failure(_ what: String) -> JSONTree.Failure {
        .init(description: index < bytes.count ? "\(what) at byte \(index)" : "\(what) where the file ends")
    }

    private mutating func skipSpace() {
        while index < bytes.count, [0x20, 0x0a, 0x0d, 0x09].contains(bytes[index]) { index += 1 }
    }

    private func next() throws(JSONTree.Failure) -> UInt8 {
        guard index < bytes.count else { throw failure("expected more") }
        return bytes[index]
    }

    private mutating func expect(_ character: Unicode.Scalar) throws(JSONTree.Failure) {
        skipSpace()
        guard index < bytes.count, bytes[index] == UInt8(ascii: character) else {
            throw failure("expected '\(character)'")
        }
        index += 1
    }

    private mutating func value(depth: Int) throws(JSONTree.Failure) -> JSONTree {
        guard depth < Self.maximumDepth else { throw failure("nested more than \(Self.maximumDepth) deep") }
        skipSpace()
        switch try next() {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func word(_ text: String, _ tree: JSONTree) throws(JSONTree.Failure) -> JSONTree {
        guard bytes[index...].starts(with: text.utf8) else { throw failure("expected '\(text)'") }
        index += text.utf8.count
        return tree
    }

    private mutating func object(depth: Int) throws(JSONTree.Failure) -> JSONTree {
        index += 1
        var members: [(key: [UInt8], value: JSONTree)] = []
        skipSpace()
        if try next() == UInt8(ascii: "}") {
            index += 1
            return .object(members)
        }
        while true {
            skipSpace()
            guard try next() == UInt8(ascii: "\"") else { throw failure("expected a member's name") }
            let key = try string()
            try expect(":")
            members.append((key, try value(depth: depth + 1)))
            skipSpace()
            if try next() == UInt8(ascii: "}") { break }
            try expect(",")
        }
        index += 1
        return .object(members)
    }

    private mutating func array(depth: Int) throws(JSONTree.Failure) -> JSONTree {
        index += 1
        var elements: [JSONTree] = []
        skipSpace()
        if try next() == UInt8(ascii: "]") {
            index += 1
            return .array(elements)
        }
        while true {
            elements.append(try value(depth: depth + 1))
            skipSpace()
            if try next() == UInt8(ascii: "]") { break }
            try expect(",")
        }
        index += 1
        return .array(elements)
    }

    private mutating func number() throws(JSONTree.Failure) -> JSONTree {
        let start = index
        while index < bytes.count, "+-.eE0123456789".utf8.contains(bytes[index]) { index += 1 }
        guard let value = Double(String(decoding: bytes[start..<index], as: UTF8.self)) else {
            index = start
            throw failure("expected a value")
        }
        return .number(value)
    }

    private mutating func string() throws(JSONTree.Failure) -> [UInt8] {
        index += 1
        var text: [UInt8] = []
        var start = index
        while true {
            let byte = try next()
            if byte == UInt8(ascii: "\"") {
                text += bytes[start..<index]
                index += 1
                return text
            }
            guard byte >= 0x20 else { throw failure("control character in a string") }
            if byte == UInt8(ascii: "\\") {
                text += bytes[start..<index]
                index += 1
                try escape(into: &text)
                start = index
            } else {
                index += 1
            }
        }
    }

    private mutating func escape(into text: inout [UInt8]) throws(JSONTree.Failure) {
        let letter = try next()
        index += 1
        switch letter {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(letter)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0c)
        case UInt8(ascii: "n"): text.append(0x0a)
        case UInt8(ascii: "r"): text.append(0x0d)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            var code = try hexadecimal()
            if 0xd800...0xdbff ~= code, bytes[index...].starts(with: [UInt8(ascii: "\\"), UInt8(ascii: "u")]) {
                index += 2
                let low = try hexadecimal()
                guard 0xdc00...0xdfff ~= low else { throw failure("half of a surrogate pair") }
                code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
            }
            guard let scalar = Unicode.Scalar(code) else { throw failure("half of a surrogate pair") }
            text += Array(String(scalar).utf8)
        default: throw failure("unknown escape in a string")
        }
    }

    private mutating func hexadecimal() throws(JSONTree.Failure) -> UInt32 {
        let digits = bytes[index...].prefix(4)
        guard digits.count == 4, digits.allSatisfy({ Unicode.Scalar($0).properties.isASCIIHexDigit }),
            let code = UInt32(String(decoding: digits, as: UTF8.self), radix: 16)
        else { throw failure("expected four hexadecimal digits") }
        index += 4
        return code
    }
}
