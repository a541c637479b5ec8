import Formats
import Foundation
import TestSupport
import Testing

/// Files that are wrong in one way each. None may be opened, crash or allocate much, and each error is a sentence.
@Suite("safetensors: malformed files")
struct SafetensorsHeaderTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func open(_ bytes: [UInt8]) throws -> SafetensorsFile {
        let path = folder.path("case.safetensors")
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        return try SafetensorsFile(path: path)
    }

    private func file(_ header: String, data: Int, length: UInt64? = nil) -> [UInt8] {
        let json = Array(header.utf8)
        let prefix = withUnsafeBytes(of: (length ?? UInt64(json.count)).littleEndian) { Array($0) }
        return prefix + json + [UInt8](repeating: 0, count: data)
    }

    private static let one = #""a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#

    struct Case: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var header: String
        var data: Int
        var expected: String
    }

    @Test(
        arguments: [
            Case(testDescription: "not an object", header: "[]", data: 0, expected: "expected '{'"),
            Case(testDescription: "empty header", header: "", data: 0, expected: "expected '{'"),
            Case(testDescription: "unfinished", header: #"{"a""#, data: 0, expected: "expected ':'"),
            Case(testDescription: "unfinished string", header: #"{"a"#, data: 0, expected: "ends inside a string"),
            Case(testDescription: "text after it", header: "{} x", data: 0, expected: "after the end of the document"),
            Case(testDescription: "trailing comma", header: "{\(one),}", data: 8, expected: "expected '\"'"),
            Case(
                testDescription: "the same tensor twice", header: "{\(one),\(one)}", data: 8,
                expected: "names 'a' twice"),
            Case(
                testDescription: "the same metadata twice",
                header: #"{"__metadata__":{"k":"1","k":"2"}}"#, data: 0, expected: "metadata names 'k' twice"),
            Case(
                testDescription: "metadata that is not text",
                header: #"{"__metadata__":{"k":1}}"#, data: 0, expected: "expected '\"'"),
            Case(
                testDescription: "the same field twice",
                header: #"{"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, data: 8,
                expected: "has 'dtype' twice"),
            Case(
                testDescription: "unknown field", header: #"{"a":{"size":1}}"#, data: 0,
                expected: "unknown field 'size'"),
            Case(
                testDescription: "missing field", header: #"{"a":{"dtype":"F32","shape":[2]}}"#, data: 8,
                expected: "must have"),
            Case(
                testDescription: "negative extent",
                header: #"{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}"#, data: 8,
                expected: "whole number that is not negative"),
            Case(
                testDescription: "fraction",
                header: #"{"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}}"#, data: 8, expected: "expected ']'"),
            Case(
                testDescription: "number beyond 64 bits",
                header: #"{"a":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,8]}}"#, data: 8,
                expected: "too large"),
            Case(
                testDescription: "product beyond 64 bits",
                header: #"{"a":{"dtype":"F32","shape":[4611686018427387904,2],"data_offsets":[0,8]}}"#, data: 8,
                expected: "too large"),
            Case(
                testDescription: "size and offsets differ",
                header: #"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#, data: 8,
                expected: "needs 12 bytes"),
            Case(
                testDescription: "offsets reversed",
                header: #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#, data: 8, expected: "begin <= end"),
            Case(
                testDescription: "three offsets",
                header: #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4,8]}}"#, data: 8,
                expected: "[begin, end]"),
            Case(testDescription: "cut short", header: "{\(one)}", data: 7, expected: "cut short"),
            Case(testDescription: "bytes left over", header: "{\(one)}", data: 9, expected: "the file has 9"),
            Case(
                testDescription: "hole",
                header: #"{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}"#, data: 2,
                expected: "leaves a hole"),
            Case(
                testDescription: "overlap",
                header:
                    #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#,
                data: 3, expected: "overlaps"),
            Case(testDescription: "bad escape", header: #"{"\q":1}"#, data: 0, expected: "malformed escape"),
            Case(
                testDescription: "half a surrogate pair", header: #"{"\ud800":1}"#, data: 0,
                expected: "malformed escape"),
            Case(testDescription: "control character", header: "{\"\u{1}\":1}", data: 0, expected: "control character"),
        ])
    func refused(_ wrong: Case) throws {
        let error = #expect(throws: FileError.self) { try self.open(self.file(wrong.header, data: wrong.data)) }
        #expect(error?.description.contains(wrong.expected) == true, "\(error?.description ?? "")")
    }

    @Test("sizes in the first eight bytes are checked before anything is read or allocated")
    func headerLength() throws {
        for length in [UInt64.max, 1 << 63, 100_000_001] {
            let error = #expect(throws: FileError.self) { try self.open(self.file("{}", data: 0, length: length)) }
            #expect(error?.description.contains("at most 100000000") == true)
        }
        let cut = #expect(throws: FileError.self) { try self.open(self.file("{}", data: 0, length: 3)) }
        #expect(cut?.code == .incomplete && cut?.description.contains("ends inside its header") == true)
        let short = #expect(throws: FileError.self) { try self.open([1, 2, 3]) }
        #expect(short?.description.contains("only 3 bytes") == true)
        let folder = #expect(throws: FileError.self) { try SafetensorsFile(path: self.folder.url.path) }
        #expect(folder?.code == .wrongKind)
        let absent = #expect(throws: FileError.self) { try SafetensorsFile(path: self.folder.path("absent")) }
        #expect(absent?.code == .missing)
    }

    @Test("names that are not UTF-8 are refused")
    func invalidText() throws {
        var bytes = file("{\"ab\":1}", data: 0)
        bytes[10] = 0xFF
        #expect(throws: FileError.self) { try self.open(bytes) }
    }

    @Test("blanks, escapes and unaligned data are legal")
    func unusualButLegal() throws {
        var bytes = file(
            #" { "__metadata__" : { } , "\u0061\ud83e\uddbe" : { "shape" : [ 2 ] , "dtype" : "F32" , "data_offsets":[0, 8]},"#
                + #""h":{"dtype":"BF16","shape":[1],"data_offsets":[8,10]},"e":{"dtype":"I32","shape":[0],"data_offsets":[8,8]}}  "#,
            data: 0)
        if (bytes.count) % 2 == 0 { bytes = file(pad(bytes), data: 0) }
        bytes += [0, 0, 0x80, 0x3F, 0, 0, 0, 0x40, 0xC0, 0x3F]
        let file = try open(bytes)
        #expect(try file.floats("a🦾") == [1, 2])
        #expect(try file.floats("h") == [1.5])
        #expect(try file.integers("e") == [])
        #expect(file.mappedFloats("a🦾") == nil)
    }

    /// The header of `bytes` with one more blank, which makes the data start at an odd offset.
    private func pad(_ bytes: [UInt8]) -> String { String(decoding: bytes.dropFirst(8), as: UTF8.self) + " " }

    @Test("no single changed or missing byte of a valid file crashes the reader")
    func damagedBytes() throws {
        let good = file("{\(Self.one),\"__metadata__\":{\"k\":\"v\"}}", data: 8)
        for index in good.indices {
            for value in [UInt8(0), 0x22, 0x39, 0x5C, 0x7B, 0x7D, 0xFF] {
                var bytes = good
                bytes[index] = value
                if let file = try? open(bytes) {
                    for name in file.names { _ = try? file.floats(name) }
                }
            }
            #expect(throws: FileError.self) { try self.open(Array(good[..<index])) }
        }
    }
}
