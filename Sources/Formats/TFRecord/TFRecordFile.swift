import Foundation
import Kernels

/// A TFRecord file, read front to back with every checksum verified.
///
/// Each record is: length (u64, little endian), masked CRC-32C of those 8 bytes, payload, masked CRC-32C of the payload;
/// mask(c) = rotate_right(c, 15) + 0xa282ead8.
package struct TFRecordFile {
    private static let headerSize = 12
    private static let footerSize = 4

    package let file: RandomAccessFile

    package init(file: RandomAccessFile) { self.file = file }

    /// One record as it stands in a file.
    package static func framed(_ payload: [UInt8]) -> [UInt8] {
        func bytes(_ value: some FixedWidthInteger) -> [UInt8] {
            withUnsafeBytes(of: value.littleEndian) { Array($0) }
        }
        let length = bytes(UInt64(payload.count))
        return length + bytes(length.withUnsafeBytes(maskedCRC32C))
            + payload + bytes(payload.withUnsafeBytes(maskedCRC32C))
    }

    /// The records from the first to the last.
    package struct Reader {
        private let records: TFRecordFile
        private let buffer = Buffer()
        private var index = 0
        private var offset = 0

        fileprivate init(_ records: TFRecordFile) { self.records = records }

        /// The next record's index, its payload's offset in the file, and the payload, which is valid until the next call;
        /// nil at the end of the file.
        package mutating func next() throws(FileError) -> (index: Int, offset: Int, payload: UnsafeRawBufferPointer)? {
            guard offset < records.file.size else { return nil }
            let length = try records.payloadLength(record: index, at: offset)
            let start = offset + TFRecordFile.headerSize
            let payload = try records.payload(record: index, at: start, length: length, into: buffer)
            defer {
                offset = start + length + TFRecordFile.footerSize
                index += 1
            }
            return (index, start, payload)
        }
    }

    package func reader() -> Reader { Reader(self) }

    /// As ``Reader``, but goes on after damage: a record whose checksum is wrong is reported and counted, and
    /// where the framing is lost the next readable record is looked for.
    ///
    /// - Returns: the number of records, damaged ones included.
    package func survey(
        _ body: (_ index: Int, _ offset: Int, _ payload: UnsafeRawBufferPointer) -> Void,
        damage: (_ index: Int, _ offset: Int, _ problem: String) -> Void
    ) -> Int {
        var index = 0
        var offset = 0
        let buffer = Buffer()
        while offset < file.size {
            let start = offset + Self.headerSize
            var length: Int?
            do throws(FileError) {
                let found = try payloadLength(record: index, at: offset)
                length = found
                body(index, start, try payload(record: index, at: start, length: found, into: buffer))
                offset = start + found + Self.footerSize
            } catch {
                damage(index, offset, "\(error).")
                let end = length.map { start + $0 + Self.footerSize }
                if let end, end == file.size || (try? payloadLength(record: index + 1, at: end)) != nil {
                    offset = end
                } else if let next = nextHeader(from: offset + 1) {
                    damage(
                        index, next,
                        "\(file.path): reading goes on at offset \(next), where the next record begins; what lies between "
                            + "\(offset) and there is lost.")
                    offset = next
                } else {
                    return index + 1
                }
            }
            index += 1
        }
        return index
    }

    /// The first offset from `start` on where a length with a right checksum stands and its record fits in the file.
    private func nextHeader(from start: Int) -> Int? {
        let step = 1 << 20
        var base = start
        while base + Self.headerSize + Self.footerSize <= file.size {
            let count = min(step + Self.headerSize - 1, file.size - base)
            guard let bytes = try? file.bytes(at: base, count: count) else { return nil }
            let found = bytes.withUnsafeBytes { buffer -> Int? in
                for position in 0..<max(0, count - Self.headerSize + 1) {
                    let length = UInt64(
                        littleEndian: buffer.loadUnaligned(fromByteOffset: position, as: UInt64.self))
                    let rest = file.size - (base + position) - Self.headerSize - Self.footerSize
                    guard rest >= 0, length <= UInt64(rest), length > 0 else { continue }
                    let stored = UInt32(
                        littleEndian: buffer.loadUnaligned(fromByteOffset: position + 8, as: UInt32.self))
                    if maskedCRC32C(UnsafeRawBufferPointer(rebasing: buffer[position..<position + 8])) == stored {
                        return base + position
                    }
                }
                return nil
            }
            if let found { return found }
            base += step
        }
        return nil
    }

    /// One record's bytes, reused from record to record.
    ///
    /// Mapped, not from the heap: a file's records become small arrays that stay, and blocks of this size, freed between
    /// them, would leave holes that nothing else fits in. Of hundreds of shards they add up to gigabytes.
    private final class Buffer {
        private var storage = UnsafeMutableRawBufferPointer(start: nil, count: 0)

        /// The first `count` bytes; nil when there is no memory for them.
        func first(_ count: Int) -> UnsafeMutableRawBufferPointer? {
            if storage.count < count {
                release()
                let size = max(1 << 20, count + count / 4)
                let address = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                guard let address, address != MAP_FAILED else { return nil }
                storage = UnsafeMutableRawBufferPointer(start: address, count: size)
            }
            return UnsafeMutableRawBufferPointer(rebasing: storage[..<count])
        }

        private func release() {
            if let address = storage.baseAddress { munmap(address, storage.count) }
            storage = UnsafeMutableRawBufferPointer(start: nil, count: 0)
        }

        deinit { release() }
    }

    /// Reads and checks a record's payload; it is valid until the next call with the same buffer.
    private func payload(
        record index: Int, at start: Int, length: Int, into storage: Buffer
    ) throws(FileError) -> UnsafeRawBufferPointer {
        guard let buffer = storage.first(length + Self.footerSize) else {
            throw FileError(
                path: file.path, .failed,
                "there is no memory for record \(index), of \(length) bytes. Write the data set with shorter "
                    + "episodes")
        }
        try file.read(at: start, into: buffer)
        let payload = UnsafeRawBufferPointer(rebasing: buffer[..<length])
        let stored = UInt32(littleEndian: buffer.loadUnaligned(fromByteOffset: length, as: UInt32.self))
        guard maskedCRC32C(payload) == stored else {
            throw FileError(
                path: file.path, .damaged,
                "record \(index) (payload of \(length) bytes at offset \(start)) is damaged: its "
                    + "checksum is \(hex(maskedCRC32C(payload))), expected \(hex(stored)). Download or copy this file again"
            )
        }
        return payload
    }

    /// Reads and checks a record's header; the length it returns fits in the rest of the file.
    private func payloadLength(record index: Int, at offset: Int) throws(FileError) -> Int {
        let rest = file.size - offset
        guard rest >= Self.headerSize else {
            throw FileError(
                path: file.path, .incomplete,
                "ends inside the header of record \(index) at offset \(offset): expected "
                    + "\(Self.headerSize) bytes, found \(rest). The file is truncated; download or copy it again")
        }
        let header = try file.bytes(at: offset, count: Self.headerSize)
        let (length, stored, computed) = header.withUnsafeBytes { bytes in
            (
                UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self)),
                UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt32.self)),
                maskedCRC32C(UnsafeRawBufferPointer(rebasing: bytes[..<8]))
            )
        }
        guard computed == stored else {
            if offset == 0, let start = try? file.bytes(at: 0, count: min(23, file.size)),
                start.starts(with: "version https://git-lfs".utf8)
            {
                throw FileError(
                    path: file.path, .incomplete,
                    "is a pointer of Git LFS, not the file itself. Get it with git lfs pull, or with hf download"
                )
            }
            throw FileError(
                path: file.path, .damaged,
                "the length of record \(index) at offset \(offset) is damaged: its checksum is "
                    + "\(hex(computed)), expected \(hex(stored)). The file is not a TFRecord file (compressed ones "
                    + "are not supported) or it is corrupt; download or copy it again")
        }
        guard length <= UInt64(rest), Int(length) <= rest - Self.headerSize - Self.footerSize else {
            throw FileError(
                path: file.path, .incomplete,
                "record \(index) at offset \(offset) needs \(length) payload bytes, but only "
                    + "\(max(0, rest - Self.headerSize - Self.footerSize)) are left. "
                    + "The file is truncated; download or copy it again")
        }
        return Int(length)
    }
}

/// CRC-32C as TFRecord stores it, so that the checksum of data that contains checksums stays meaningful.
package func maskedCRC32C(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
    // An empty buffer has no address, and the kernel's pointer may not be null.
    let crc = bytes.baseAddress.map { ck_crc32c(0, $0, bytes.count) } ?? 0
    return (crc >> 15 | crc << 17) &+ 0xa282_ead8
}

private func hex(_ value: UInt32) -> String { "0x" + String(value, radix: 16) }
