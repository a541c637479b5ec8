/// Walks the fields of one protobuf message inside a buffer. Never reads outside of it, whatever the bytes are.
package struct ProtobufCursor {
    /// Malformed wire data, `offset` bytes into the buffer.
    package struct Malformed: Error {
        package let offset: Int
        package let problem: String
    }

    package enum WireType: UInt8 {
        case varint = 0
        case fixed64 = 1
        case delimited = 2
        case fixed32 = 5
    }

    private let bytes: UnsafeRawBufferPointer
    package private(set) var position: Int
    private let end: Int

    package init(_ bytes: UnsafeRawBufferPointer) {
        self.init(bytes, 0..<bytes.count)
    }

    /// - Precondition: `range` lies within `bytes`; ranges from ``delimited()`` on the same buffer do.
    package init(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= bytes.count)
        self.bytes = bytes
        position = range.lowerBound
        end = range.upperBound
    }

    package var isAtEnd: Bool { position == end }

    /// The next field's number and wire type; nil at the end of the message.
    package mutating func field() throws(Malformed) -> (number: UInt64, type: WireType)? {
        if isAtEnd { return nil }
        let start = position
        let tag = try varint()
        guard let type = WireType(rawValue: UInt8(tag & 7)) else {
            throw Malformed(offset: start, problem: "wire type \(tag & 7) is not supported")
        }
        guard tag >> 3 != 0 else { throw Malformed(offset: start, problem: "field number 0 is not valid") }
        return (tag >> 3, type)
    }

    package mutating func varint() throws(Malformed) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        let start = position
        while position < end {
            let byte = bytes[position]
            position += 1
            // Ten bytes hold 70 bits; bits beyond 64 are dropped, as protobuf's own readers do.
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
            shift += 7
            if shift > 63 { throw Malformed(offset: start, problem: "a varint is longer than 10 bytes") }
        }
        throw Malformed(offset: start, problem: "a varint runs past the end of its message")
    }

    /// The byte range of a length-delimited field, which this steps over.
    package mutating func delimited() throws(Malformed) -> Range<Int> {
        let start = position
        let length = try varint()
        guard length <= UInt64(end - position) else {
            throw Malformed(
                offset: start, problem: "a field claims \(length) bytes where \(end - position) are left")
        }
        let range = position..<(position + Int(length))
        position = range.upperBound
        return range
    }

    package mutating func fixed32() throws(Malformed) -> UInt32 {
        guard end - position >= 4 else {
            throw Malformed(offset: position, problem: "a 4-byte value runs past the end of its message")
        }
        defer { position += 4 }
        return UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt32.self))
    }

    package mutating func skip(_ type: WireType) throws(Malformed) {
        switch type {
        case .varint: _ = try varint()
        case .delimited: _ = try delimited()
        case .fixed32: _ = try fixed32()
        case .fixed64:
            _ = try fixed32()
            _ = try fixed32()
        }
    }
}
