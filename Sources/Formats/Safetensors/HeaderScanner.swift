/// Reads the subset of JSON that a safetensors header consists of, straight from untrusted bytes.
///
/// Not a general JSON parser: values are read by the type that the format expects, so nothing recurses on input, no
/// number passes through a Double, and repeated keys reach the caller, who refuses them.
struct HeaderScanner {
    typealias Problem = SafetensorsHeader.Problem

    private let bytes: UnsafeRawBufferPointer
    private var position = 0

    init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// Reads `{ "key": value, ... }`; `value` reads the value of each key.
    mutating func object(_ value: (inout HeaderScanner, String) throws(Problem) -> Void) throws(Problem) {
        try expect("{")
        if skip("}") { return }
        repeat {
            let key = try string()
            try expect(":")
            try value(&self, key)
        } while skip(",")
        try expect("}")
    }

    /// Reads `[ 1, 2, ... ]` of non-negative integers.
    mutating func integers() throws(Problem) -> [Int] {
        try expect("[")
        var values: [Int] = []
        if skip("]") { return values }
        repeat { values.append(try integer()) } while skip(",")
        try expect("]")
        return values
    }

    /// Steps over `null` where it stands; false where something else does.
    mutating func skipNull() -> Bool {
        skipBlanks()
        guard bytes[position...].starts(with: "null".utf8) else { return false }
        position += 4
        return true
    }

    /// Reads a string with JSON's escapes. The result is valid Unicode.
    mutating func string() throws(Problem) -> String {
        try expect("\"")
        var text: [UInt8] = []
        while true {
            guard position < bytes.count else { throw Problem("the header ends inside a string") }
            let byte = bytes[position]
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let string = String(validating: text, as: UTF8.self) else {
                    throw Problem("the header has a string that is not UTF-8, before byte \(position)")
                }
                return string
            case UInt8(ascii: "\\"): try escape(into: &text)
            case 0..<0x20: throw Problem("the header has a control character in a string, at byte \(position - 1)")
            default: text.append(byte)
            }
        }
    }

    /// Checks that only blanks are left: writers pad the header with them.
    mutating func end() throws(Problem) {
        skipBlanks()
        guard position == bytes.count else {
            throw Problem("the header has something after its closing brace, at byte \(position)")
        }
    }

    // MARK: - Pieces

    private mutating func integer() throws(Problem) -> Int {
        skipBlanks()
        let start = position
        var value = 0
        while position < bytes.count, case let digit = bytes[position] &- UInt8(ascii: "0"), digit <= 9 {
            let (tens, overflowed) = value.multipliedReportingOverflow(by: 10)
            let (sum, carried) = tens.addingReportingOverflow(Int(digit))
            guard !overflowed, !carried else {
                throw Problem("the header has a number that is too large, at byte \(start)")
            }
            value = sum
            position += 1
        }
        guard position > start else {
            throw Problem("the header is malformed at byte \(start): expected a whole number that is not negative")
        }
        return value
    }

    private mutating func escape(into text: inout [UInt8]) throws(Problem) {
        let start = position - 1
        guard position < bytes.count else { throw Problem("the header ends inside a string") }
        let byte = bytes[position]
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            var code = try hexadecimal(start)
            if 0xD800..<0xDC00 ~= code, position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
                bytes[position + 1] == UInt8(ascii: "u")
            {
                position += 2
                let low = try hexadecimal(start)
                guard 0xDC00..<0xE000 ~= low else { throw Self.badEscape(start) }
                code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
            }
            guard let scalar = Unicode.Scalar(code) else { throw Self.badEscape(start) }
            text.append(contentsOf: UTF8.encode(scalar).map(Array.init) ?? [])
        default: throw Self.badEscape(start)
        }
    }

    private mutating func hexadecimal(_ start: Int) throws(Problem) -> UInt32 {
        guard position + 4 <= bytes.count else { throw Problem("the header ends inside a string") }
        var code: UInt32 = 0
        for byte in bytes[position..<position + 4] {
            guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else { throw Self.badEscape(start) }
            code = code << 4 | UInt32(digit)
        }
        position += 4
        return code
    }

    private static func badEscape(_ position: Int) -> Problem {
        Problem("the header has a malformed escape in a string, at byte \(position)")
    }

    private mutating func skipBlanks() {
        while position < bytes.count, Self.isBlank(bytes[position]) { position += 1 }
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D
    }

    private mutating func skip(_ character: Unicode.Scalar) -> Bool {
        skipBlanks()
        guard position < bytes.count, bytes[position] == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func expect(_ character: Unicode.Scalar) throws(Problem) {
        guard skip(character) else {
            throw Problem("the header is malformed at byte \(position): expected '\(character)'")
        }
    }
}
