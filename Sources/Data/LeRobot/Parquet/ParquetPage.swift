/// What stands in front of a page.
struct ParquetPageHeader {
    enum Kind: Int {
        case data, index, dictionary, dataV2
    }

    /// How the values of a page are written.
    enum Encoding: Int {
        case plain = 0
        case plainDictionary = 2
        case levels = 3
        case packed = 4
        case deltaPacked, deltaLengths, deltaBytes, dictionary, split
    }

    private(set) var kind = Kind.data
    /// Bytes of the page, as stored and in full.
    private(set) var stored = 0
    private(set) var full = 0
    /// Values, with those that are not there.
    private(set) var values = 0
    private(set) var encoding = Encoding.plain
    /// Of version 2, whose levels stand in front of the page uncompressed.
    private(set) var definitionBytes = 0
    private(set) var repetitionBytes = 0
    private(set) var isCompressed = true
    /// Bytes of the header itself.
    private(set) var size = 0

    init(_ bytes: UnsafeRawBufferPointer) throws(ThriftCursor.Malformed) {
        var cursor = ThriftCursor(bytes)
        var header = Self()
        var (kindCode, encodingCode): (Int, Int) = (0, 0)
        try cursor.structure { (cursor, number, kind) throws(ThriftCursor.Malformed) in
            switch (number, kind) {
            case (1, .int32): kindCode = try cursor.integer()
            case (2, .int32): header.full = try cursor.integer()
            case (3, .int32): header.stored = try cursor.integer()
            case (5, .structure), (7, .structure):
                try cursor.structure { (cursor, number, kind) throws(ThriftCursor.Malformed) in
                    switch (number, kind) {
                    case (1, .int32): header.values = try cursor.integer()
                    case (2, .int32): encodingCode = try cursor.integer()
                    default: return false
                    }
                    return true
                }
            case (8, .structure):
                try cursor.structure { (cursor, number, kind) throws(ThriftCursor.Malformed) in
                    switch (number, kind) {
                    case (1, .int32): header.values = try cursor.integer()
                    case (4, .int32): encodingCode = try cursor.integer()
                    case (5, .int32): header.definitionBytes = try cursor.integer()
                    case (6, .int32): header.repetitionBytes = try cursor.integer()
                    case (7, .no): header.isCompressed = false
                    default: return false
                    }
                    return true
                }
            default: return false
            }
            return true
        }
        guard let kind = Kind(rawValue: kindCode), let encoding = Encoding(rawValue: encodingCode), header.stored >= 0,
            (0...Self.largest).contains(header.full), (0...Self.most).contains(header.values),
            header.definitionBytes >= 0, header.repetitionBytes >= 0,
            header.definitionBytes + header.repetitionBytes <= min(header.stored, header.full)
        else { throw ThriftCursor.Malformed(offset: cursor.position) }
        self = header
        (self.kind, self.encoding, size) = (kind, encoding, cursor.position)
    }

    private init() {}

    /// Writers cut pages at about a megabyte, and before the next value when one is larger.
    private static let largest = 1 << 30
    private static let most = 1 << 26
}

/// Reads the runs and packed groups in which Parquet writes levels and indices.
struct ParquetRuns {
    /// - Parameter width: bits of a number, 0 to 32.
    /// - Returns: exactly `count` numbers; nil when the bytes hold fewer.
    static func decode(_ bytes: UnsafeRawBufferPointer, width: Int, count: Int) -> [UInt32]? {
        guard (0...32).contains(width) else { return nil }
        var numbers: [UInt32] = []
        numbers.reserveCapacity(count)
        var position = 0
        while numbers.count < count {
            var (header, shift): (UInt64, UInt64) = (0, 0)
            repeat {
                guard position < bytes.count, shift < 42 else { return nil }
                header |= UInt64(bytes[position] & 0x7f) << shift
                shift += 7
                position += 1
            } while bytes[position - 1] >= 0x80
            if header & 1 == 0 {
                let size = (width + 7) / 8
                guard bytes.count - position >= size else { return nil }
                var value: UInt32 = 0
                for index in 0..<size { value |= UInt32(bytes[position + index]) << UInt32(8 * index) }
                position += size
                let run = Int(min(header >> 1, UInt64(count - numbers.count)))
                guard run > 0 else { return nil }
                numbers.append(contentsOf: repeatElement(value, count: run))
                continue
            }
            let wanted = Int(min(header >> 1 &* 8, UInt64(count - numbers.count)))
            let size = header >> 1 &* UInt64(width)
            // The last group may be cut where its values end.
            guard wanted > 0, (wanted * width + 7) / 8 <= bytes.count - position else { return nil }
            for index in 0..<wanted {
                var value: UInt32 = 0
                for bit in 0..<width {
                    let place = index * width + bit
                    value |= UInt32(bytes[position + place / 8] >> UInt8(place % 8) & 1) << UInt32(bit)
                }
                numbers.append(value)
            }
            position += Int(min(size, UInt64(bytes.count - position)))
        }
        return numbers
    }
}

/// Snappy's block format.
enum Snappy {
    /// - Returns: exactly `size` bytes; nil when the block is damaged or of another size.
    static func decompress(_ bytes: UnsafeRawBufferPointer, size: Int) -> [UInt8]? {
        var (position, shift, length) = (0, UInt64(0), UInt64(0))
        repeat {
            guard position < bytes.count, shift < 35 else { return nil }
            length |= UInt64(bytes[position] & 0x7f) << shift
            shift += 7
            position += 1
        } while bytes[position - 1] >= 0x80
        // The densest element makes 64 bytes of 3.
        guard length == UInt64(size), size / 32 <= bytes.count else { return nil }
        var isWhole = false
        let out = [UInt8](unsafeUninitializedCapacity: size) { out, count in
            isWhole = fill(out, from: bytes, at: position)
            count = isWhole ? size : 0
        }
        return isWhole ? out : nil
    }

    private static func fill(
        _ out: UnsafeMutableBufferPointer<UInt8>, from bytes: UnsafeRawBufferPointer, at start: Int
    ) -> Bool {
        var (position, done) = (start, 0)
        func number(_ at: Int, _ size: Int) -> Int {
            (0..<size).reduce(0) { $0 | Int(bytes[at + $1]) << (8 * $1) }
        }
        while position < bytes.count {
            let tag = Int(bytes[position])
            position += 1
            if tag & 3 == 0 {
                var length = tag >> 2 + 1
                if length > 60 {
                    let size = length - 60
                    guard bytes.count - position >= size else { return false }
                    length = number(position, size) + 1
                    position += size
                }
                guard length <= bytes.count - position, length <= out.count - done else { return false }
                UnsafeMutableRawBufferPointer(rebasing: UnsafeMutableRawBufferPointer(out)[done..<done + length])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[position..<position + length]))
                position += length
                done += length
                continue
            }
            let size = [0, 1, 2, 4][tag & 3]
            guard bytes.count - position >= size else { return false }
            let length = tag & 3 == 1 ? tag >> 2 & 7 + 4 : tag >> 2 + 1
            let distance = tag & 3 == 1 ? (tag >> 5) << 8 | number(position, 1) : number(position, size)
            position += size
            guard distance > 0, distance <= done, length <= out.count - done else { return false }
            // A copy may read what it writes.
            for _ in 0..<length {
                out[done] = out[done - distance]
                done += 1
            }
        }
        return done == out.count
    }
}
