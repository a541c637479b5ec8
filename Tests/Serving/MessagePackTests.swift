import Formats
import Foundation
import Serving
import TestSupport
import Testing

@Suite struct MessagePackTests {
    static let values: [MessagePackValue] =
        [
            .null, .boolean(true), .boolean(false), .number(-0.0), .number(1.5), .number(.infinity),
            .unsigned(.max), .text(""), .text("é" + String(repeating: "a", count: 300)),
            .text(String(repeating: "b", count: 70_000)), .binary([]), .binary([1, 2, 3]),
            .binary([UInt8](repeating: 7, count: 70_000)[...]), .list([]),
            .list((0..<20).map { .integer($0) }),
            .map([.init(.integer(3), .list([.null])), .init(.binary([9]), .null)]),
        ]
        + [0, 1, 127, 128, 255, 256, 65_535, 65_536, 1 << 32, Int64.max, -1, -32, -33, -128, -129, -32_769, Int64.min]
        .map { MessagePackValue.integer($0) }

    @Test(arguments: values.indices) func aValueComesBack(index: Int) throws {
        #expect(try MessagePackDecoder.decode(Self.values[index].encoded) == Self.values[index])
    }

    @Test func everyFormOfANumberIsRead() throws {
        let forms: [([UInt8], MessagePackValue)] = [
            ([0xcc, 200], .integer(200)), ([0xcd, 1, 0], .integer(256)), ([0xd0, 0xff], .integer(-1)),
            ([0xd1, 0xff, 0xfe], .integer(-2)), ([0xd2, 0xff, 0xff, 0xff, 0xfd], .integer(-3)),
            ([0xca, 0x3f, 0xc0, 0, 0], .number(1.5)), ([0xe0], .integer(-32)),
        ]
        for (bytes, value) in forms { #expect(try MessagePackDecoder.decode(bytes) == value) }
    }

    @Test(
        arguments: [
            ([], "followed by"), ([0xc1], "stands for nothing"), ([0xd4, 1, 2], "extension"),
            ([0xc0, 0xc0], "ends at byte 1"),
            ([0xdb, 0xff, 0xff, 0xff, 0xff], "followed by"), ([0xdd, 0xff, 0xff, 0xff, 0xff], "followed by"),
            ([0xdf, 0x80, 0, 0, 0], "followed by"), ([0xc6, 0x7f, 0xff, 0xff, 0xff, 1], "followed by"),
            ([0xa1, 0xff], "UTF-8"), ([UInt8](repeating: 0x91, count: 100_000), "nested"),
            ([0xdd, 0, 2, 0, 0] + [UInt8](repeating: 0xc0, count: 131_072), "more than 65536 values"),
        ] as [([UInt8], String)])
    func damagedBytesAreRefusedInWords(bytes: [UInt8], words: String) throws {
        let error = try #require(throws: ServingError.self) { try MessagePackDecoder.decode(bytes) }
        #expect(error.description.contains(words), "\(error)")
        #expect(error.code == (["nested", "more than 65536 values"].contains(words) ? .tooLarge : .malformed))
    }

    @Test func randomBytesNeverTrap() {
        var generator = SplitMix(state: 11)
        let whole = ServedRun.openPI(1).encoded
        for round in 0..<20_000 {
            var bytes: [UInt8]
            if round % 2 == 0 {
                bytes = (0..<Int(generator.next() % 64)).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
            } else {
                bytes = Array(whole.prefix(200))
                for _ in 0..<3 {
                    bytes[Int(generator.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: generator.next())
                }
            }
            if let value = try? MessagePackDecoder.decode(bytes) {
                #expect((try? MessagePackDecoder.decode(value.encoded)) == value)
                _ = try? NumPyArray(value, key: "value")
            }
        }
    }

    @Test func everyNumberTypeOfNumPyIsRead() throws {
        let data = try Data(contentsOf: BuildFolder.fixture("serving/types.msgpack"))
        let types = try MessagePackDecoder.decode([UInt8](data))
        #expect(types.keys.count == 10)
        for name in types.keys {
            let value = try #require(types[name])
            let array = try #require(try NumPyArray(value, key: name))
            #expect(array.doubles == [1, 2, 100] && array.shape == [3], "\(name)")
        }
    }

    @Test(
        arguments: [
            ("|O8", [1], 8, "dtype"), ("<f4", [3], 8, "takes 12 bytes"), ("<f3", [2], 6, "dtype"),
            ("|V1", [1], 1, "dtype"),
            ("|u1", [-1], 1, "where a size"), ("|u1", [1 << 40, 1 << 40], 1, "too large"),
            ("<f8", Array(repeating: 1, count: 9), 8, "at most 8"),
        ] as [(String, [Int], Int, String)])
    func unsoundArraysAreRefusedInWords(dtype: String, shape: [Int], bytes: Int, words: String) throws {
        let value = ServedRun.array([UInt8](repeating: 1, count: bytes), dtype, shape)
        let error = try #require(throws: ServingError.self) { try NumPyArray(value, key: "the key") }
        #expect(error.description.contains(words) && error.description.contains("the key"), "\(error)")
        #expect(error.code == (words == "too large" ? .tooLarge : .malformed))
    }
}

struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }
}
