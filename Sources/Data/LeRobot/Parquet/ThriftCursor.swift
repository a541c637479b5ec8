/// Reads Thrift's compact protocol, in which Parquet writes its footer and page headers.
///
/// Structures are walked field by field, so that what nobody asks for is passed over without being kept.
struct ThriftCursor {
    /// A place where the bytes do not follow the protocol.
    struct Malformed: Error {
        var offset: Int
    }

    enum Kind: UInt8 {
        case yes = 1
        case no, byte, int16, int32, int64, double, binary, list, set, map, structure
    }

    private let bytes: UnsafeRawBufferPointer
    private(set) var position: Int

    init(_ bytes: UnsafeRawBufferPointer, at position: Int = 0) {
        (self.bytes, self.position) = (bytes, position)
    }

    private mutating func byte() throws(Malformed) -> UInt8 {
        guard position < bytes.count else { throw Malformed(offset: position) }
        defer { position += 1 }
        return bytes[position]
    }

    private mutating func varint() throws(Malformed) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: 0, to: 64, by: 7) {
            let byte = try byte()
            value |= UInt64(byte & 0x7f) << UInt64(shift)
            if byte < 0x80 { return value }
        }
        throw Malformed(offset: position)
    }

    /// A whole number of any width.
    mutating func integer() throws(Malformed) -> Int {
        let value = try varint()
        return Int(truncatingIfNeeded: value >> 1) ^ -Int(truncatingIfNeeded: value & 1)
    }

    mutating func binary() throws(Malformed) -> Range<Int> {
        let count = try varint()
        guard count <= UInt64(bytes.count - position) else { throw Malformed(offset: position) }
        defer { position += Int(count) }
        return position..<position + Int(count)
    }

    mutating func text() throws(Malformed) -> String {
        String(decoding: bytes[try binary()], as: UTF8.self)
    }

    /// Calls `element` for each of a list's entries, which it reads.
    mutating func list(_ element: (inout ThriftCursor) throws(Malformed) -> Void) throws(Malformed) {
        for _ in 0..<(try listHeader().count) { try element(&self) }
    }

    private mutating func listHeader() throws(Malformed) -> (kind: Kind, count: Int) {
        let head = try byte()
        let count = head >> 4 == 15 ? try varint() : UInt64(head >> 4)
        // Every entry takes a byte at least.
        guard let kind = Kind(rawValue: head & 15), count <= UInt64(bytes.count - position) else {
            throw Malformed(offset: position)
        }
        return (kind, Int(count))
    }

    /// Walks a structure. `field` reads the value of a field that it knows by its number and returns true; others are skipped.
    mutating func structure(
        _ field: (inout ThriftCursor, Int, Kind) throws(Malformed) -> Bool
    ) throws(Malformed) {
        var number = 0
        while true {
            let head = try byte()
            if head == 0 { return }
            guard let kind = Kind(rawValue: head & 15) else { throw Malformed(offset: position) }
            number = head >> 4 == 0 ? try integer() : number &+ Int(head >> 4)
            if try !field(&self, number, kind) { try skip(kind, depth: 0) }
        }
    }

    private mutating func skip(_ kind: Kind, depth: Int) throws(Malformed) {
        guard depth < 32 else { throw Malformed(offset: position) }
        switch kind {
        // In a structure the kind is the value.
        case .yes, .no: break
        case .byte: _ = try byte()
        case .int16, .int32, .int64: _ = try varint()
        case .double:
            guard bytes.count - position >= 8 else { throw Malformed(offset: position) }
            position += 8
        case .binary: _ = try binary()
        case .list, .set:
            let (kind, count) = try listHeader()
            for _ in 0..<count { try skipElement(kind, depth: depth) }
        case .map:
            let count = try varint()
            guard count <= UInt64(bytes.count - position) else { throw Malformed(offset: position) }
            guard count > 0 else { return }
            let kinds = try byte()
            guard let key = Kind(rawValue: kinds >> 4), let value = Kind(rawValue: kinds & 15) else {
                throw Malformed(offset: position)
            }
            for _ in 0..<count {
                try skipElement(key, depth: depth)
                try skipElement(value, depth: depth)
            }
        case .structure:
            while true {
                let head = try byte()
                if head == 0 { return }
                guard let kind = Kind(rawValue: head & 15) else { throw Malformed(offset: position) }
                if head >> 4 == 0 { _ = try varint() }
                try skip(kind, depth: depth + 1)
            }
        }
    }

    /// In a list, a truth value takes a byte.
    private mutating func skipElement(_ kind: Kind, depth: Int) throws(Malformed) {
        if kind == .yes || kind == .no { _ = try byte() } else { try skip(kind, depth: depth + 1) }
    }
}
