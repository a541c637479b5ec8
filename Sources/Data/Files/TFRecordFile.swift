import Foundation
import Kernels

/// A TFRecord file, read front to back with every checksum verified.
///
/// Each record is: length (u64, little endian), masked CRC-32C of those 8 bytes, payload, masked CRC-32C of the payload;
/// mask(c) = rotate_right(c, 15) + 0xa282ead8.
struct TFRecordFile {
    private static let headerSize = 12
    private static let footerSize = 4

    let file: RandomAccessFile

    /// Calls `body` with each record's index, the payload's offset in the file, and the payload (valid during the call).
    ///
    /// - Returns: the number of records.
    func forEachRecord(
        _ body: (_ index: Int, _ offset: Int, _ payload: UnsafeRawBufferPointer) throws(DataError) -> Void
    ) throws(DataError) -> Int {
        var index = 0
        var offset = 0
        var storage = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
        defer { storage.deallocate() }
        while offset < file.size {
            let length = try payloadLength(record: index, at: offset)
            let needed = length + Self.footerSize
            if storage.count < needed {
                storage.deallocate()
                storage = .allocate(byteCount: needed + needed / 4, alignment: 64)
            }
            let buffer = UnsafeMutableRawBufferPointer(rebasing: storage[..<needed])
            let start = offset + Self.headerSize
            try file.read(at: start, into: buffer)
            let payload = UnsafeRawBufferPointer(rebasing: buffer[..<length])
            let stored = UInt32(littleEndian: buffer.loadUnaligned(fromByteOffset: length, as: UInt32.self))
            guard maskedCRC32C(payload) == stored else {
                throw DataError(
                    "\(file.path): record \(index) (payload of \(length) bytes at offset \(start)) is damaged: its "
                        + "checksum is \(hex(maskedCRC32C(payload))), expected \(hex(stored)). Download or copy this file again."
                )
            }
            try body(index, start, payload)
            offset = start + needed
            index += 1
        }
        return index
    }

    /// Reads and checks a record's header; the length it returns fits in the rest of the file.
    private func payloadLength(record index: Int, at offset: Int) throws(DataError) -> Int {
        let rest = file.size - offset
        guard rest >= Self.headerSize else {
            throw DataError(
                "\(file.path): ends inside the header of record \(index) at offset \(offset): expected "
                    + "\(Self.headerSize) bytes, found \(rest). The file is truncated; download or copy it again.")
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
            throw DataError(
                "\(file.path): the length of record \(index) at offset \(offset) is damaged: its checksum is "
                    + "\(hex(computed)), expected \(hex(stored)). The file is not a TFRecord file (compressed ones "
                    + "are not supported) or it is corrupt; download or copy it again.")
        }
        guard length <= UInt64(rest), Int(length) <= rest - Self.headerSize - Self.footerSize else {
            throw DataError(
                "\(file.path): record \(index) at offset \(offset) needs \(length) payload bytes, but only "
                    + "\(max(0, rest - Self.headerSize - Self.footerSize)) are left. "
                    + "The file is truncated; download or copy it again.")
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
