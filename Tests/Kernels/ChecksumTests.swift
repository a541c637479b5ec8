import Kernels
import Testing

@Suite("CRC-32C") struct ChecksumTests {
    private static let known: [(bytes: [UInt8], checksum: UInt32)] = [
        (Array("123456789".utf8), 0xE306_9283),
        ([], 0),
        // RFC 3720, appendix B.4
        ([UInt8](repeating: 0, count: 32), 0x8A91_36AA),
        ([UInt8](repeating: 0xFF, count: 32), 0x62A8_AB43),
        (Array(0..<32), 0x46DD_794E),
        (Array((0..<32).reversed()), 0x113F_DB5C),
    ]

    @Test("known vectors, by instruction and by table", arguments: known)
    func vectors(bytes: [UInt8], checksum: UInt32) {
        #expect(ck_crc32c(0, bytes, bytes.count) == checksum)
        #expect(ck_crc32c_table(0, bytes, bytes.count) == checksum)
    }

    /// Three interleaved streams of 4096 bytes make a block of 12288.
    @Test(
        "instruction and table agree, in one piece or in two",
        arguments: [0, 1, 7, 8, 9, 4096, 12_287, 12_288, 12_289, 40_003])
    func agree(n: Int) {
        var random = Random(n)
        let bytes = Guarded((0..<n).map { _ in UInt8(truncatingIfNeeded: random.bits()) })
        let whole = ck_crc32c_table(0, bytes.pointer, n)
        #expect(ck_crc32c(0, bytes.pointer, n) == whole)
        for cut in Set([0, 1, n / 3, n]) where cut <= n {
            let head = ck_crc32c(0, bytes.pointer, cut)
            #expect(ck_crc32c(head, bytes.pointer + cut, n - cut) == whole)
        }
    }
}
