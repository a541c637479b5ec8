/// LevelDB's log format in W&B's variant: records cut into blocks of 32 KiB.
package struct LevelDBLog {
    private static let blockSize = 32_768
    /// CRC-32 of a piece, its length and its kind.
    private static let pieceHeader = 7

    /// What every file begins with.
    package static let start = Array(":W&B".utf8) + [0xE1, 0xBE, 0]

    /// Bytes of the file so far.
    private var count = Self.start.count

    package init() {}

    /// The bytes of a record behind those that are there.
    package mutating func framed(_ record: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = record[...]
        var isFirst = true
        repeat {
            var room = Self.blockSize - (count + bytes.count) % Self.blockSize
            if room < Self.pieceHeader {
                bytes += [UInt8](repeating: 0, count: room)
                room = Self.blockSize
            }
            let piece = rest.prefix(room - Self.pieceHeader)
            rest = rest.dropFirst(piece.count)
            // 1 whole, 2 first, 3 middle, 4 last.
            let kind: UInt8 = isFirst ? (rest.isEmpty ? 1 : 2) : (rest.isEmpty ? 4 : 3)
            bytes += withUnsafeBytes(of: CRC32.checksum(CollectionOfOne(kind), piece).littleEndian) { Array($0) }
            bytes += [UInt8(piece.count & 0xFF), UInt8(piece.count >> 8), kind]
            bytes += piece
            isFirst = false
        } while !rest.isEmpty
        count += bytes.count
        return bytes
    }
}

/// The CRC-32 of zlib and PNG (polynomial 0xEDB88320, reflected).
private enum CRC32 {
    private static let table: [UInt32] = (0..<256).map { byte in
        (0..<8).reduce(UInt32(byte)) { sum, _ in sum & 1 == 1 ? sum >> 1 ^ 0xEDB8_8320 : sum >> 1 }
    }

    static func checksum(_ parts: any Sequence<UInt8>...) -> UInt32 {
        var sum: UInt32 = .max
        for part in parts { for byte in part { sum = sum >> 8 ^ table[Int((sum ^ UInt32(byte)) & 0xFF)] } }
        return ~sum
    }
}
