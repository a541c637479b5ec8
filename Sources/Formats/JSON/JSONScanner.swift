/// Reads JSON piece by piece, straight from untrusted bytes and never outside of them.
///
/// A format that knows what comes next reads that and nothing else: then nothing recurses on the input, no whole number passes
/// through a Double, and repeated keys reach the caller. ``JSONTree`` reads a document of any shape with it.
struct JSONScanner {
    /// What is wrong, and where: "expected ':' at byte 17".
    struct Failure: Error, CustomStringConvertible {
        let description: String

        init(_ description: String) { self.description = description }
    }

    private let bytes: UnsafeRawBufferPointer
    private var position: Int

    init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
        position = bytes.starts(with: [0xef, 0xbb, 0xbf]) ? 3 : 0  // byte order mark
    }

    /// A failure at the place that the scanner has come to, or at an earlier one.
    func failure(_ what: String, at place: Int? = nil) -> Failure {
        let place = place ?? position
        return Failure(place < bytes.count ? "\(what) at byte \(place)" : "\(what) where the text ends")
    }

    // MARK: - Values

    /// Reads `{ "key": value, ... }`; `member` reads the value of each key.
    mutating func object(_ member: (inout JSONScanner, [UInt8]) throws(Failure) -> Void) throws(Failure) {
        try expect("{")
        if skip("}") { return }
        repeat {
            let key = try string()
            try expect(":")
            try member(&self, key)
        } while skip(",")
        try expect("}")
    }

    /// Reads `[value, ...]`; `element` reads each value.
    mutating func array(_ element: (inout JSONScanner) throws(Failure) -> Void) throws(Failure) {
        try expect("[")
        if skip("]") { return }
        repeat { try element(&self) } while skip(",")
        try expect("]")
    }

    /// Reads a string with its escapes, as the UTF-8 that it is written in; what that is worth is not checked.
    mutating func string() throws(Failure) -> [UInt8] {
        try expect("\"")
        var text: [UInt8] = []
        var start = position
        while position < bytes.count {
            let byte = bytes[position]
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                text.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[start..<position]))
                position += 1
                if byte == UInt8(ascii: "\"") { return text }
                try escape(into: &text)
                start = position
                continue
            }
            guard byte >= 0x20 else { throw failure("a control character is in a string") }
            position += 1
        }
        throw Failure("it ends inside a string")
    }

    /// Reads a number of any kind.
    mutating func number() throws(Failure) -> Double {
        skipBlanks()
        let start = position
        while position < bytes.count, "+-.eE0123456789".utf8.contains(bytes[position]) { position += 1 }
        guard let value = Double(String(decoding: bytes[start..<position], as: UTF8.self)) else {
            throw failure("expected a value", at: start)
        }
        return value
    }

    /// Reads a whole number that is not negative, with all its digits.
    mutating func wholeNumber() throws(Failure) -> Int {
        skipBlanks()
        let start = position
        var value = 0
        while position < bytes.count, case let digit = bytes[position] &- UInt8(ascii: "0"), digit <= 9 {
            let (tens, overflowed) = value.multipliedReportingOverflow(by: 10)
            let (sum, carried) = tens.addingReportingOverflow(Int(digit))
            guard !overflowed, !carried else { throw failure("a number is too large", at: start) }
            value = sum
            position += 1
        }
        guard position > start else { throw failure("expected a whole number that is not negative") }
        return value
    }

    // MARK: - Pieces

    /// The next byte that is not blank; nil at the end.
    mutating func peek() -> UInt8? {
        skipBlanks()
        return position < bytes.count ? bytes[position] : nil
    }

    /// Steps over a word such as `null` where it stands; false where something else does.
    mutating func skip(word: String) -> Bool {
        skipBlanks()
        guard bytes[position...].starts(with: word.utf8) else { return false }
        position += word.utf8.count
        return true
    }

    /// Checks that only blanks are left.
    mutating func end() throws(Failure) {
        skipBlanks()
        guard position == bytes.count else { throw failure("something comes after the end of the document") }
    }

    private mutating func skipBlanks() {
        while position < bytes.count, [0x20, 0x0a, 0x0d, 0x09].contains(bytes[position]) { position += 1 }
    }

    private mutating func skip(_ character: Unicode.Scalar) -> Bool {
        skipBlanks()
        guard position < bytes.count, bytes[position] == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func expect(_ character: Unicode.Scalar) throws(Failure) {
        guard skip(character) else { throw failure("expected '\(character)'") }
    }

    /// Reads what follows a backslash.
    private mutating func escape(into text: inout [UInt8]) throws(Failure) {
        let start = position - 1
        guard position < bytes.count else { throw Failure("it ends inside a string") }
        let letter = bytes[position]
        position += 1
        switch letter {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(letter)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0c)
        case UInt8(ascii: "n"): text.append(0x0a)
        case UInt8(ascii: "r"): text.append(0x0d)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"):
            var code = try hexadecimal(start)
            if 0xd800..<0xdc00 ~= code, bytes[position...].starts(with: "\\u".utf8) {
                position += 2
                let low = try hexadecimal(start)
                guard 0xdc00..<0xe000 ~= low else { throw failure("a malformed escape is in a string", at: start) }
                code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
            }
            guard let scalar = Unicode.Scalar(code) else {
                throw failure("a malformed escape (half of a surrogate pair) is in a string", at: start)
            }
            text += Array(String(scalar).utf8)
        default: throw failure("a malformed escape is in a string", at: start)
        }
    }

    private mutating func hexadecimal(_ start: Int) throws(Failure) -> UInt32 {
        guard position + 4 <= bytes.count else { throw Failure("it ends inside a string") }
        var code: UInt32 = 0
        for byte in bytes[position..<position + 4] {
            guard let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw failure("a malformed escape is in a string", at: start)
            }
            code = code << 4 | UInt32(digit)
        }
        position += 4
        return code
    }
}
