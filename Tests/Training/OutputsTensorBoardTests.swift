import Formats
import Foundation
import TestSupport
import Testing
import Training

/// The bytes of event files. That TensorBoard itself reads them is tested with the real package, in `OutputsPythonTests`.
@Suite("outputs: TensorBoard event files")
struct OutputsTensorBoardTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func bytes(_ path: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(fileURLWithPath: path))) }

    @Test("the first record is the version event, framed with masked checksums")
    func framing() throws {
        let writer = try TensorBoardWriter(folder: folder.url.path)
        let data = try bytes(writer.path)
        // Event { wall_time, step = 0, file_version = "brain.Event:2" }: 9 + 2 + 15 bytes.
        #expect(Array(data[0..<8]) == [26, 0, 0, 0, 0, 0, 0, 0])
        #expect(data.count == 8 + 4 + 26 + 4)
        // masked crc32c of the eight length bytes, from TensorFlow's definition.
        #expect(Array(data[8..<12]) == maskedChecksum(Array(data[0..<8])))
        #expect(Array(data[38..<42]) == maskedChecksum(Array(data[12..<38])))
        #expect(data[12] == 0x09 && data[21] == 0x10 && data[22] == 0)
        #expect(Array(data[23..<38]) == [0x1A, 13] + Array("brain.Event:2".utf8))
    }

    @Test("one record per step holds all its scalars")
    func scalars() throws {
        let writer = try TensorBoardWriter(folder: folder.url.path)
        let start = try bytes(writer.path).count
        try writer.append(step: 300, time: 2, scalars: [("a", 1), ("b", -2)])
        try writer.append(step: 301, scalars: [])
        try writer.synchronize()
        let record = Array(try bytes(writer.path)[start...])
        let value: (UInt8, [UInt8]) -> [UInt8] = { [0x0A, 8, 0x0A, 1, $0, 0x15] + $1 }
        let summary = value(0x61, [0, 0, 0x80, 0x3F]) + value(0x62, [0, 0, 0, 0xC0])
        let payload: [UInt8] =
            [0x09, 0, 0, 0, 0, 0, 0, 0, 0x40] + [0x10, 0xAC, 0x02] + [0x2A, UInt8(summary.count)] + summary
        #expect(Array(record[12..<record.count - 4]) == payload)
        #expect(Array(record.suffix(4)) == maskedChecksum(payload))
    }

    @Test("files of one folder sort in the order in which they were started")
    func order() throws {
        let names = try (0..<4).map { _ in
            URL(fileURLWithPath: try TensorBoardWriter(folder: folder.url.path).path).lastPathComponent
        }
        #expect(names == names.sorted())
        #expect(Set(names).count == 4)
        #expect(throws: FileError.self) { try TensorBoardWriter(folder: self.folder.path("absent")) }
    }

    /// CRC-32C bit by bit, independent of the kernel.
    private func maskedChecksum(_ bytes: [UInt8]) -> [UInt8] {
        var crc: UInt32 = ~0
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0x82F6_3B78 : crc >> 1 }
        }
        crc = ~crc
        let masked = (crc >> 15 | crc << 17) &+ 0xA282_EAD8
        return withUnsafeBytes(of: masked.littleEndian) { Array($0) }
    }
}
