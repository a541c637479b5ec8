import Formats
import Foundation
import TestSupport
import Testing

/// Dequantisation against the `gguf` package, and files that are not what they say.
@Suite struct GGUFTests {
    /// A file with one tensor "t" of the given type.
    private static func file(type: UInt32, shape: [UInt64], data: [UInt8], magic: String = "GGUF") -> [UInt8] {
        func little(_ value: some FixedWidthInteger) -> [UInt8] {
            withUnsafeBytes(of: value.littleEndian) { Array($0) }
        }
        func text(_ value: String) -> [UInt8] { little(UInt64(value.utf8.count)) + Array(value.utf8) }
        var bytes = Array(magic.utf8) + little(UInt32(3)) + little(UInt64(1)) + little(UInt64(2))
        bytes += text("general.architecture") + little(UInt32(8)) + text("llama")
        bytes += text("tokens") + little(UInt32(9)) + little(UInt32(8)) + little(UInt64(2)) + text("a") + text("b")
        bytes +=
            text("t") + little(UInt32(shape.count)) + shape.flatMap { little($0) } + little(type) + little(UInt64(0))
        bytes += Array(repeating: 0, count: (32 - bytes.count % 32) % 32)
        return bytes + data
    }

    private static func bytes(_ hex: String) -> [UInt8] {
        stride(from: 0, to: hex.count, by: 2).compactMap { offset in
            let start = hex.index(hex.startIndex, offsetBy: offset)
            return UInt8(hex[start..<hex.index(start, offsetBy: 2)], radix: 16)
        }
    }

    /// type, values, block, first values, sum, sum weighted by the index.
    static let blocks: [(type: UInt32, count: Int, hex: String, first: [Float], sum: Double, moment: Double)] = [
        (2, 32, "0028c2d9cfeb0fa321d7d982f8bd1045b8e8", [-0.1875, 0.03125, 0.21875, 0.09375], 0.40625, 12.46875),
        (3, 32, "002800b41df04213b6273b043b51de2c787a32d0", [0.15625, -0.25, -0.1875, -0.15625], -1.9375, -31.5),
        (
            8, 32, "002840a67959aae97fb2ed80717b4c9b459a82f85f49c0babf7fdca1e7012b8bedbf",
            [2.0, -2.8125, 3.78125, 2.78125],
            -6.125, -267.5
        ),
        (
            14, 256,
            "07e860ef4c3700474dc7dbd0b090beab6878b300f0f5e664bfd87edb1f95e78d7310990879d3cfc307b3cabaa627b9d849c4f72c0e7fdb163a4bf9dc2e79a805d9339d8a3812951420ebb94cf1d6267bcf3a356c0ca33a673df53f0768ca5e016007d11fa8eb1e02a90aaeabbbe28e863a36aea53166de41f0e0899d651a99c333b138621af5fe757d2649ff3fc513ce560618fb2d712861f3ad7faf3ec639f3c67f84a6bca51ed7800b3eb0af6939b4bc5a9063ba3b0ae03eaf952215043394b975b3b83b6a71d8f19e7d86184e1b600028",
            [-51.03125, 17.75, 71.0, -33.28125], 918.5, 73387.65625
        ),
    ]

    @Test(arguments: blocks.indices) func dequantises(_ index: Int) throws {
        let block = Self.blocks[index]
        let folder = try TemporaryFolder()
        let path = folder.path("t.gguf")
        try Data(Self.file(type: block.type, shape: [UInt64(block.count)], data: Self.bytes(block.hex)))
            .write(to: URL(fileURLWithPath: path))
        let file = try GGUFFile(path: path)
        #expect(file.text("general.architecture") == "llama" && file.texts("tokens") == ["a", "b"])
        let values = try file.floats("t", shape: [block.count])
        #expect(Array(values.prefix(4)) == block.first)
        #expect(values.reduce(0.0) { $0 + Double($1) } == block.sum)
        #expect(values.enumerated().reduce(0.0) { $0 + Double($1.offset) * Double($1.element) } == block.moment)
        let error = #expect(throws: FileError.self) { try file.floats("t", shape: [1, block.count]) }
        #expect(error?.description.contains("expected shape") == true)
    }

    @Test func badFiles() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("bad.gguf")
        let good = Self.file(type: 0, shape: [2], data: [0, 0, 0, 0, 0, 0, 0, 0])
        var cases: [[UInt8]] = [
            Self.file(type: 0, shape: [2], data: [0, 0, 0, 0]), Self.file(type: 77, shape: [2], data: []),
            Self.file(type: 0, shape: [1 << 39, 1 << 39], data: []), Self.file(type: 2, shape: [31], data: [0]),
            Self.file(type: 0, shape: [2], data: [], magic: "GGML"), [],
        ]
        // Cut anywhere in the header.
        for count in stride(from: 1, to: good.count - 8, by: 5) { cases.append(Array(good.prefix(count))) }
        // Lengths that promise more than there is.
        for offset in [8, 16, 24] {
            var bytes = good
            bytes.replaceSubrange(offset..<offset + 8, with: Array(repeating: 0xFF, count: 8))
            cases.append(bytes)
        }
        for bytes in cases {
            try Data(bytes).write(to: URL(fileURLWithPath: path))
            let error = #expect(throws: FileError.self) { try GGUFFile(path: path) }
            #expect(error?.description.contains(path) == true)
        }
    }
}
