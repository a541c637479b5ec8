internal import Formats

/// Reads one MessagePack value, strictly: the bytes must be that value and nothing more.
///
/// Bytes come from anyone. Nothing is allocated on the word of a length: a length is compared with the bytes that are
/// there first, nesting and the number of values are limited, and what is wrong ends in an error, never in a trap.
package struct MessagePackDecoder {
    /// Levels of lists and maps inside of each other.
    package static let maximumDepth = 16
    /// Values in one message, keys included.
    package static let maximumValues = 65_536

    private let bytes: [UInt8]
    private var position = 0
    private var values = 0

    private init(_ bytes: [UInt8]) { self.bytes = bytes }

    package static func decode(_ bytes: [UInt8]) throws(ServingError) -> MessagePackValue {
        var decoder = MessagePackDecoder(bytes)
        let value = try decoder.value(depth: 0)
        guard decoder.position == bytes.count else {
            throw ServingError(
                .malformed,
                "MessagePack: the message ends at byte \(decoder.position), but has \(bytes.count) bytes")
        }
        return value
    }

    private mutating func value(depth: Int) throws(ServingError) -> MessagePackValue {
        values += 1
        guard values <= Self.maximumValues else {
            throw ServingError(
                .tooLarge, "MessagePack: more than \(Self.maximumValues) values; send arrays as NumPy arrays")
        }
        let start = position
        let code = UInt8(try unsigned(bytes: 1))
        switch code {
        case 0x00...0x7f: return .integer(Int64(code))
        case 0x80...0x8f: return try map(Int(code & 0x0f), depth: depth)
        case 0x90...0x9f: return try list(Int(code & 0x0f), depth: depth)
        case 0xa0...0xbf: return try text(Int(code & 0x1f))
        case 0xc0: return .null
        case 0xc2: return .boolean(false)
        case 0xc3: return .boolean(true)
        case 0xc4: return .binary(try slice(try length(1)))
        case 0xc5: return .binary(try slice(try length(2)))
        case 0xc6: return .binary(try slice(try length(4)))
        case 0xca: return .number(Double(Float(bitPattern: UInt32(try unsigned(bytes: 4)))))
        case 0xcb: return .number(Double(bitPattern: try unsigned(bytes: 8)))
        case 0xcc: return .integer(Int64(try unsigned(bytes: 1)))
        case 0xcd: return .integer(Int64(try unsigned(bytes: 2)))
        case 0xce: return .integer(Int64(try unsigned(bytes: 4)))
        case 0xcf:
            let number = try unsigned(bytes: 8)
            return Int64(exactly: number).map { .integer($0) } ?? .unsigned(number)
        case 0xd0: return .integer(Int64(Int8(truncatingIfNeeded: try unsigned(bytes: 1))))
        case 0xd1: return .integer(Int64(Int16(truncatingIfNeeded: try unsigned(bytes: 2))))
        case 0xd2: return .integer(Int64(Int32(truncatingIfNeeded: try unsigned(bytes: 4))))
        case 0xd3: return .integer(Int64(bitPattern: try unsigned(bytes: 8)))
        case 0xd9: return try text(try length(1))
        case 0xda: return try text(try length(2))
        case 0xdb: return try text(try length(4))
        case 0xdc: return try list(try length(2), depth: depth)
        case 0xdd: return try list(try length(4), depth: depth)
        case 0xde: return try map(try length(2), depth: depth)
        case 0xdf: return try map(try length(4), depth: depth)
        case 0xe0...0xff: return .integer(Int64(Int8(bitPattern: code)))
        default:
            let meaning = code == 0xc1 ? "which stands for nothing" : "an extension type"
            throw ServingError(
                .malformed,
                "MessagePack: byte \(start) is 0x\(String(code, radix: 16)), \(meaning); expected plain values")
        }
    }

    private mutating func list(_ count: Int, depth: Int) throws(ServingError) -> MessagePackValue {
        try check(count: count, each: 1, depth: depth)
        var list: [MessagePackValue] = []
        for _ in 0..<count { list.append(try value(depth: depth + 1)) }
        return .list(list)
    }

    private mutating func map(_ count: Int, depth: Int) throws(ServingError) -> MessagePackValue {
        try check(count: count, each: 2, depth: depth)
        var entries: [MessagePackValue.Entry] = []
        for _ in 0..<count {
            let key = try value(depth: depth + 1)
            entries.append(.init(key, try value(depth: depth + 1)))
        }
        return .map(entries)
    }

    /// A value takes at least a byte: a longer list than there are bytes cannot be whole.
    private func check(count: Int, each: Int, depth: Int) throws(ServingError) {
        guard depth < Self.maximumDepth else {
            throw ServingError(.tooLarge, "MessagePack: lists and maps are nested more than \(Self.maximumDepth) deep")
        }
        guard count <= (bytes.count - position) / each else { throw cutShort(count * each) }
    }

    private mutating func text(_ count: Int) throws(ServingError) -> MessagePackValue {
        let start = position
        guard let text = String(validating: try slice(count), as: UTF8.self) else {
            throw ServingError(.malformed, "MessagePack: the text at byte \(start) is not UTF-8")
        }
        return .text(text)
    }

    private mutating func slice(_ count: Int) throws(ServingError) -> ArraySlice<UInt8> {
        guard count <= bytes.count - position else { throw cutShort(count) }
        defer { position += count }
        return bytes[position..<(position + count)]
    }

    private mutating func length(_ width: Int) throws(ServingError) -> Int { Int(try unsigned(bytes: width)) }

    private mutating func unsigned(bytes width: Int) throws(ServingError) -> UInt64 {
        guard width <= bytes.count - position else { throw cutShort(width) }
        defer { position += width }
        return bytes[position..<(position + width)].reduce(0) { $0 << 8 | UInt64($1) }
    }

    private func cutShort(_ needed: Int) -> ServingError {
        ServingError(
            .malformed,
            "MessagePack: byte \(position) should be followed by at least \(needed) more, but the message has "
                + "\(bytes.count) bytes")
    }
}
