import Formats
import Foundation
import TestSupport
import Testing

/// What a caller can act on is in the code; the sentence names the file.
@Suite struct FileErrorTests {
    private func code(_ body: () throws -> Void) -> FileErrorCode? {
        #expect(throws: FileError.self, performing: body)?.code
    }

    @Test func theSystemsRefusals() throws {
        let folder = try TemporaryFolder()
        #expect(code { _ = try RandomAccessFile(path: folder.path("absent")) } == .missing)
        #expect(code { _ = try RandomAccessFile(path: folder.url.path) } == .wrongKind)
        #expect(code { try AtomicFile.write("x", to: folder.path("no/such/folder")) } == .missing)
    }

    @Test func contents() throws {
        let folder = try TemporaryFolder()
        func write(_ bytes: [UInt8]) throws -> String {
            try AtomicFile.write(bytes, to: folder.path("file"))
            return folder.path("file")
        }
        let path = try write(Array("version https://git-lfs.github.com/spec/v1\n".utf8))
        #expect(code { _ = try SafetensorsFile(path: path) } == .incomplete)
        var record = TFRecordFile.framed(Array("payload".utf8))
        record[14] ^= 1
        let damaged = try RandomAccessFile(path: write(record))
        #expect(
            code {
                var reader = TFRecordFile(file: damaged).reader()
                _ = try reader.next()
            } == .damaged)
        let cut = try RandomAccessFile(path: write(Array(TFRecordFile.framed([1, 2, 3]).dropLast(2))))
        #expect(
            code {
                var reader = TFRecordFile(file: cut).reader()
                _ = try reader.next()
            } == .incomplete)
        let malformed = try write(Array("[]".utf8))
        #expect(code { _ = try JSONNode(contentsOf: malformed, kind: "tokenizer.json") } == .malformed)
        #expect(code { _ = try GGUFFile(path: malformed) } == .malformed)
        let infinite = SafetensorsWriter.Tensor("t", shape: [1], floats: [.infinity])
        #expect(code { try SafetensorsWriter.write([infinite], to: folder.path("t")) } == .unwritable)
        try SafetensorsWriter.write([.init("t", shape: [1], floats: [1])], to: folder.path("t"))
        let file = try SafetensorsFile(path: folder.path("t"))
        #expect(code { _ = try file.floats("u") } == .mismatched)
    }
}
