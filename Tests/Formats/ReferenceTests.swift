import Formats
import Foundation
import Spelling
import TestSupport
import Testing

/// Checksums, hashes, random numbers and JSON against others; scripts/reference/formats_reference.py made the file.
@Suite struct ReferenceTests {
    private struct Reference: Decodable {
        struct Text: Decodable {
            let text, sha256, fnv, record, quoted: String
            let maskedCRC32C: UInt32

            private enum CodingKeys: String, CodingKey {
                case text, sha256, fnv, record, quoted
                case maskedCRC32C = "masked_crc32c"
            }
        }

        struct Document: Decodable {
            let text: String
            let tree: [String]
        }

        struct Name: Decodable {
            let word: String
            let candidates: [String]
            let closest: String
        }

        let texts: [Text]
        let large: String
        let generator, stream, refused: [String]
        let json: [Document]
        let nearest: [Name]

        private enum CodingKeys: String, CodingKey {
            case texts, generator, stream, refused, json, nearest
            case large = "large_sha256"
        }
    }

    private let reference: Reference

    init() throws {
        let path = BuildFolder.fixture("formats/reference.json").path
        reference = try decodeJSON(Reference.self, contentsOf: path, or: "is not the reference")
    }

    @Test func hashesAndChecksums() {
        for text in reference.texts {
            let bytes = Array(text.text.utf8)
            #expect(SHA256.digest(of: text.text) == text.sha256)
            #expect(String(FNV1a.hash(text.text)) == text.fnv)
            #expect(bytes.withUnsafeBytes(maskedCRC32C) == text.maskedCRC32C)
        }
    }

    /// In pieces of a size that does not divide it, and from a file.
    @Test func hashesOfManyPieces() throws {
        let bytes = (0..<3_000_001).map { UInt8(truncatingIfNeeded: $0 * $0 % 251) }
        var hash = SHA256()
        for start in stride(from: 0, to: bytes.count, by: 65_537) {
            hash.add(Array(bytes[start..<min(bytes.count, start + 65_537)]))
        }
        #expect(hash.digest() == reference.large)
        let folder = try TemporaryFolder()
        try Data(bytes).write(to: URL(fileURLWithPath: folder.path("large")))
        #expect(try SHA256.digest(ofFile: folder.path("large")) == reference.large)
        let error = #expect(throws: FileError.self) { try SHA256.digest(ofFile: folder.path("absent")) }
        #expect(error?.code == .missing)
    }

    /// A run resumes with the numbers it left off at: these may not change.
    @Test func randomNumbers() {
        var generator = RandomGenerator(seed: 7, stream: 1, .max)
        #expect(reference.generator.map { _ in String(generator.next()) } == reference.generator)
        var stream = RandomStream(7, 1, .max)
        #expect(reference.stream.map { _ in String(stream.next()) } == reference.stream)
    }

    @Test func recordsAreFramed() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("records")
        try Data(reference.texts.flatMap { TFRecordFile.framed(Array($0.text.utf8)) }).write(
            to: URL(fileURLWithPath: path))
        let stored = try RandomAccessFile.contents(of: path).map { String(format: "%02x", $0) }.joined()
        #expect(stored == reference.texts.map(\.record).joined())
        var reader = TFRecordFile(file: try RandomAccessFile(path: path)).reader()
        var texts: [String] = []
        while let (index, _, payload) = try reader.next() {
            #expect(index == texts.count)
            texts.append(String(decoding: payload, as: UTF8.self))
        }
        #expect(texts == reference.texts.map(\.text))
    }

    @Test func jsonIsReadAsPythonReadsIt() throws {
        for document in reference.json {
            #expect(Self.flat(try JSONTree(parsing: Array(document.text.utf8))) == document.tree, "\(document.text)")
        }
        for text in reference.refused {
            #expect(throws: JSONTree.Failure.self, "\(text)") { try JSONTree(parsing: Array(text.utf8)) }
        }
        let deep = Array(String(repeating: "[", count: 100_000).utf8)
        let error = #expect(throws: JSONTree.Failure.self) { try JSONTree(parsing: deep) }
        #expect(error?.description.contains("nested more than 128 deep at byte 128") == true)
    }

    private static func flat(_ tree: JSONTree) -> [String] {
        func hex(_ bytes: some Sequence<UInt8>) -> String { bytes.map { String(format: "%02x", $0) }.joined() }
        let parts: [String] =
            switch tree {
            case .null: ["null"]
            case .bool(let value): ["\(value)"]
            case .number(let value): ["number", hex(withUnsafeBytes(of: value.bitPattern.bigEndian) { Array($0) })]
            case .string(let text): ["string", hex(text)]
            case .array(let elements): ["array"] + elements.flatMap(flat)
            case .object(let members): ["object"] + members.flatMap { flat(.string($0.key)) + flat($0.value) }
            }
        return parts + ["."]
    }

    @Test func jsonIsWrittenAsPythonWritesIt() throws {
        for text in reference.texts { #expect(JSONText.quoted(text.text) == text.quoted) }
        #expect(try JSONText.document(["b/c": [1, 2], "a": []], pretty: false) == #"{"a":[],"b/c":[1,2]}"#)
        let folder = try TemporaryFolder()
        try AtomicFile.write(json: ["b": 1, "a": 2], to: folder.path("x.json"))
        let stored = try RandomAccessFile.contents(of: folder.path("x.json"))
        #expect(String(decoding: stored, as: UTF8.self) == "{\n  \"a\" : 2,\n  \"b\" : 1\n}\n")
    }

    @Test func theClosestName() {
        for name in reference.nearest {
            #expect(Suggestion.closest(to: name.word, among: name.candidates) == name.closest)
        }
        #expect(Suggestion.nearest(to: "BaselineL2", among: ["Mean", "BaselineL1"]) == "BaselineL1")
        #expect(Suggestion.nearest(to: "zzz", among: ["Mean", "BaselineL1"]) == nil)
    }

    /// The examples of protobuf's own description of its wire format, and both directions against each other.
    @Test func protobuf() throws {
        var inner = ProtocolBuffer()
        inner.append(field: 1, varint: 150)
        #expect(inner.bytes == [0x08, 0x96, 0x01])
        var message = ProtocolBuffer()
        message.append(field: 2, text: "testing")
        #expect(message.bytes == [0x12, 0x07] + Array("testing".utf8))
        message.append(field: 3, message: inner)
        #expect(message.bytes.suffix(5) == [0x1a, 0x03, 0x08, 0x96, 0x01])
        message.append(field: 4, float: -1.5)
        message.append(field: 5, double: .pi)
        message.append(field: 1 << 20, varint: .max)
        try message.bytes.withUnsafeBytes { bytes in
            var cursor = ProtobufCursor(bytes)
            var seen: [UInt64] = []
            while let field = try cursor.field() {
                seen.append(field.number)
                switch field.number {
                case 2: #expect(String(decoding: bytes[try cursor.delimited()], as: UTF8.self) == "testing")
                case 3:
                    var nested = ProtobufCursor(bytes, try cursor.delimited())
                    #expect(try nested.field()?.number == 1)
                    #expect(try nested.varint() == 150 && nested.isAtEnd)
                case 4: #expect(Float(bitPattern: try cursor.fixed32()) == -1.5)
                case 1 << 20: #expect(try cursor.varint() == .max)
                default: try cursor.skip(field.type)
                }
            }
            #expect(seen == [2, 3, 4, 5, 1 << 20])
        }
    }
}
