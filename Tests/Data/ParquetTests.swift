import Data
import Formats
import Foundation
import TestSupport
import Testing

/// Columns that pyarrow wrote in each of its forms; Tests/Fixtures/lerobot/make_lerobot.py made them.
@Suite struct ParquetTests {
    static let folder = BuildFolder.fixture("lerobot/parquet").path
    static let names = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).filter {
        $0.contains("-v")
    }.sorted()

    @Test func thereAreFiles() { #expect(Self.names.count == 10) }

    @Test(arguments: names) func columnsAreWhatWasWritten(_ name: String) throws {
        let file = try ParquetFile(path: "\(Self.folder)/\(name)")
        let rows = 0..<60
        #expect(file.rows == 60)
        #expect(
            file.columns == ["f32", "f64", "i32", "i64", "bool", "list", "fixed", "text", "picture", "ragged", "gaps"])
        #expect(try file.numbers("f32") == rows.map { Double(Float($0) / 7) })
        #expect(try file.numbers("f64") == rows.map { Double($0 * $0) / 3 })
        #expect(try file.integers("i32") == rows.map { $0 % 5 - 2 })
        #expect(try file.integers("i64") == rows.map { -($0 << 33) })
        #expect(try file.numbers("bool") == rows.map { $0 % 3 == 0 ? 1 : 0 })
        #expect(
            try file.numbers("list", width: 3) == rows.flatMap { row in (0..<3).map { Double(row) + Double($0) / 4 } })
        #expect(try file.numbers("fixed", width: 2) == rows.flatMap { [Double($0), -Double($0)] })
        #expect(try file.texts("text") == rows.map { "täsk \($0 % 4)" })
        let pictures = try ParquetPictures(file, name: "picture")
        for row in rows where row != 17 && row % 11 > 0 {
            #expect(
                try pictures.encoded(row: row, folder: "") == [UInt8](repeating: UInt8(row), count: row % 11),
                "row \(row)")
        }
    }

    /// A column's own picture comes before the file that its path names.
    @Test func aPictureWithoutBytesIsReadFromItsPath() throws {
        let folder = try TemporaryFolder()
        try Foundation.Data([1, 2, 3]).write(to: folder.url.appendingPathComponent("p17"))
        let file = try ParquetFile(path: "\(Self.folder)/\(Self.names[0])")
        #expect(try ParquetPictures(file, name: "picture").encoded(row: 17, folder: folder.url.path) == [1, 2, 3])
    }

    private func message(_ body: () throws -> Void) -> String { dataError(body)?.description ?? "no error" }

    @Test func whatDoesNotFitIsNamed() throws {
        let file = try ParquetFile(path: "\(Self.folder)/snappy-v1-dictionary.parquet")
        #expect(
            message { _ = try file.numbers("ragged", width: 1) }.contains(
                "column 'ragged' has 0 values in row 0, expected 1"))
        #expect(message { _ = try file.numbers("gaps") }.contains("column 'gaps' has 0 values in row 5, expected 1"))
        #expect(message { _ = try file.numbers("text") }.contains("column 'text' holds no numbers"))
        #expect(message { _ = try file.texts("f32") }.contains("column 'f32' holds no texts"))
        #expect(message { _ = try file.integers("f64") }.contains("column 'f64' holds 0.333"))
        #expect(message { _ = try file.numbers("action") }.contains("has no column 'action'; it has: f32, f64"))
        let split = try ParquetFile(path: "\(Self.folder)/unread-split.parquet")
        #expect(message { _ = try split.numbers("f32") }.contains("in the encoding split, which craft does not read"))
        let brotli = try ParquetFile(path: "\(Self.folder)/unread-brotli.parquet")
        #expect(
            message { _ = try brotli.numbers("f32") }.contains("compressed by Brotli; craft reads snappy, zstd, gzip"))
    }

    /// Cut and changed files are refused or read; nothing else happens.
    @Test(arguments: names) func damageIsRefused(_ name: String) throws {
        let folder = try TemporaryFolder()
        let path = folder.path("damaged.parquet")
        let whole = try [UInt8](Foundation.Data(contentsOf: URL(fileURLWithPath: "\(Self.folder)/\(name)")))
        for cut in stride(from: 0, to: whole.count, by: 97) {
            try Foundation.Data(whole[..<cut]).write(to: URL(fileURLWithPath: path))
            #expect(message { _ = try ParquetFile(path: path) }.contains("damaged.parquet: "), "cut at \(cut)")
        }
        var generator = TestGenerator(state: 11)
        var refused = 0
        for _ in 0..<400 {
            var bytes = whole
            for _ in 0..<3 {
                bytes[Int.random(in: bytes.indices, using: &generator)] = .random(in: 0...255, using: &generator)
            }
            try Foundation.Data(bytes).write(to: URL(fileURLWithPath: path))
            let found = dataError {
                let file = try ParquetFile(path: path)
                for column in ["f32", "f64", "i32", "i64", "bool"] { _ = try file.numbers(column) }
                _ = try (file.numbers("list", width: 3), file.texts("text"))
                let pictures = try ParquetPictures(file, name: "picture")
                for row in 1..<11 { _ = try pictures.encoded(row: row, folder: folder.url.path) }
            }
            refused += found == nil ? 0 : 1
        }
        #expect(refused > 20)
    }
}
