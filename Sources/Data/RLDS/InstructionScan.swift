internal import Formats

/// The instructions in a shard, found by walking over everything else: of an episode's megabytes a few hundred bytes are read.
struct InstructionScan {
    private(set) var texts: Set<String> = []

    init(path: String) throws(FileError) {
        let file = try RandomAccessFile(path: path)
        // Length and checksum in front of each record's payload, a checksum behind it.
        var offset = 0
        while offset + 16 <= file.size {
            let length = try file.bytes(at: offset, count: 8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            guard length <= UInt64(file.size - offset - 16) else { break }
            try scan(Walker(file: file, position: offset + 12, end: offset + 12 + Int(length)))
            offset += 16 + Int(length)
        }
    }

    /// Example { features = 1 { feature = 1 { key = 1, value = 2 } } }.
    private mutating func scan(_ example: Walker) throws(FileError) {
        var example = example
        while var features = try example.next(number: 1) {
            while var entry = try features.next(number: 1) {
                guard let key = try entry.next(number: 1), try key.bytes() == Array(EpisodeParser.instructionKey.utf8),
                    let value = try entry.next(number: 2)
                else { continue }
                add(try value.bytes())
            }
        }
    }

    private mutating func add(_ feature: [UInt8]) {
        feature.withUnsafeBytes { bytes in
            var cursor = ProtobufCursor(bytes)
            guard let list = try? cursor.field(), list.number == 1, let range = try? cursor.delimited() else { return }
            var values = ProtobufCursor(bytes, range)
            while let field = try? values.field(), field.number == 1, let text = try? values.delimited() {
                texts.insert(String(decoding: bytes[text], as: UTF8.self))
            }
        }
    }

    /// A message in a file, whose delimited fields are found without reading what is in them.
    private struct Walker {
        let file: RandomAccessFile
        var position: Int
        let end: Int

        func bytes() throws(FileError) -> [UInt8] { try file.bytes(at: position, count: end - position) }

        /// The next delimited field of a number; nil at the end, and where the bytes are not a message.
        mutating func next(number: UInt64) throws(FileError) -> Walker? {
            while position < end {
                // A tag and a length take at most twenty bytes.
                let head = try file.bytes(at: position, count: min(20, end - position))
                let found = head.withUnsafeBytes { bytes -> (number: UInt64, start: Int, length: UInt64)? in
                    var cursor = ProtobufCursor(bytes)
                    guard let field = try? cursor.field() else { return nil }
                    guard field.type == .delimited else {
                        guard (try? cursor.skip(field.type)) != nil else { return nil }
                        return (0, cursor.position, 0)
                    }
                    guard let length = try? cursor.varint() else { return nil }
                    return (field.number, cursor.position, length)
                }
                guard let found, found.length <= UInt64(end - position - found.start) else {
                    position = end
                    return nil
                }
                let start = position + found.start
                position = start + Int(found.length)
                if found.number == number { return Walker(file: file, position: start, end: position) }
            }
            return nil
        }
    }
}
