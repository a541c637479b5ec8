internal import Formats
internal import VideoCodecs

/// A Parquet file: columns of numbers and texts read whole, and columns of pictures read value by value.
///
/// Read are plain and dictionary pages of versions 1 and 2, uncompressed or compressed by snappy, zstd or gzip: what LeRobot,
/// `datasets`, pandas and polars write unless told otherwise. Errors name the file and the column.
package final class ParquetFile: Sendable {
    package let path: String
    let footer: ParquetFooter
    /// In bytes.
    let size: Int

    package var rows: Int { footer.rows }

    package init(path: String) throws(DataError) {
        self.path = path
        let file = try reading { () throws(FileError) in try RandomAccessFile(path: path) }
        size = file.size
        func bytes(at offset: Int, count: Int) throws(DataError) -> [UInt8] {
            try reading { () throws(FileError) in try file.bytes(at: offset, count: count) }
        }
        guard size >= 12, try bytes(at: size - 4, count: 4) == Array("PAR1".utf8) else {
            throw DataError(
                .malformed,
                "\(path): does not end as a Parquet file does (\(size) bytes). It is incomplete or of another kind; download "
                    + "or copy it again.")
        }
        let length = try bytes(at: size - 8, count: 4).reversed().reduce(0) { $0 << 8 | Int($1) }
        guard length <= size - 12 else {
            throw DataError(
                .malformed, "\(path): its footer should take \(length) bytes, but the file has \(size). Copy it again.")
        }
        let read = try bytes(at: size - 8 - length, count: length).withUnsafeBytes { buffer in
            Result { () throws(ThriftCursor.Malformed) in try ParquetFooter(buffer) }
        }
        guard let footer = try? read.get() else {
            throw DataError(.malformed, "\(path): its footer is damaged. Copy the file again.")
        }
        self.footer = footer
        for chunk in footer.groups.flatMap(\.chunks) {
            guard chunk.offset >= 0, chunk.size >= 0, chunk.offset <= size, chunk.size <= size - chunk.offset else {
                throw DataError(.malformed, "\(path): a column lies beyond the end of the file. Copy the file again.")
            }
        }
    }

    /// Opens the file anew: a data set may have a file an episode, more than a process may hold open.
    func bytes(at offset: Int, count: Int) throws(DataError) -> [UInt8] {
        try reading { () throws(FileError) in
            try RandomAccessFile(path: path).bytes(at: offset, count: count)
        }
    }

    /// The names of the columns, in stored order.
    package var columns: [String] {
        footer.leaves.reduce(into: []) { names, leaf in if names.last != leaf.path[0] { names.append(leaf.path[0]) } }
    }

    /// The place of a column; nil when there is none.
    func place(of path: [String]) -> Int? { footer.leaves.firstIndex { $0.path == path } }

    func required(_ name: String) throws(DataError) -> Int {
        if let place = place(of: [name]) { return place }
        throw DataError(.missing, "\(path): has no column '\(name)'; it has: \(columns.joined(separator: ", ")).")
    }

    /// Numbers of any width, row after row.
    ///
    /// - Parameter width: how many each row must have.
    package func numbers(_ name: String, width: Int = 1) throws(DataError) -> [Double] {
        let place = try required(name)
        var numbers: [Double] = []
        numbers.reserveCapacity(min(rows, 1 << 24) * width)
        for index in footer.groups.indices {
            for page in try pages(place, group: index) {
                let content = try page.content(of: self)
                guard case .numbers(let values) = content.values else {
                    throw DataError(.mismatched, "\(path): column '\(name)' holds no numbers.")
                }
                if let row = content.counts.firstIndex(where: { $0 != width }) {
                    throw DataError(
                        .malformed,
                        "\(path): column '\(name)' has \(content.counts[row]) values in row \(page.firstRow + row), "
                            + "expected \(width).")
                }
                numbers += values
            }
        }
        guard numbers.count == rows * width else {
            throw DataError(
                .malformed,
                "\(path): column '\(name)' has \(numbers.count) values, expected \(rows * width) (\(rows) rows of \(width))."
            )
        }
        return numbers
    }

    /// Whole numbers, one a row.
    package func integers(_ name: String) throws(DataError) -> [Int] {
        let numbers = try numbers(name)
        guard let bad = numbers.first(where: { $0.rounded() != $0 || abs($0) > 0x1p53 }) else {
            return numbers.map { Int($0) }
        }
        throw DataError(.malformed, "\(path): column '\(name)' holds \(bad); expected whole numbers.")
    }

    /// Texts, one a row.
    package func texts(_ name: String) throws(DataError) -> [String] {
        let place = try required(name)
        var texts: [String] = []
        for index in footer.groups.indices {
            for page in try pages(place, group: index) {
                guard case .bytes(let buffer, let ranges) = try page.content(of: self).values else {
                    throw DataError(.mismatched, "\(path): column '\(name)' holds no texts.")
                }
                texts += ranges.map { String(decoding: buffer[$0], as: UTF8.self) }
            }
        }
        guard texts.count == rows else {
            throw DataError(
                .malformed, "\(path): column '\(name)' has \(texts.count) texts, expected \(rows), one a row.")
        }
        return texts
    }

    /// The first column of texts.
    var firstTexts: String? {
        footer.leaves.first { $0.physical == .bytes && $0.path.count == 1 && $0.repetition == 0 }?.path[0]
    }

    func damaged(_ place: Int, at offset: Int) -> DataError {
        DataError(
            .malformed,
            "\(path): column '\(footer.leaves[place].path.joined(separator: "."))' is damaged at offset \(offset). Copy the file "
                + "again.")
    }

    /// The pages of a column in one group of rows, found by their headers.
    func pages(_ place: Int, group: Int) throws(DataError) -> [ParquetPage] {
        let chunk = footer.groups[group].chunks[place]
        let end = chunk.offset + chunk.size
        var row = footer.groups[..<group].reduce(0) { $0 + $1.rows }
        var (offset, dictionary): (Int, ParquetPage?) = (chunk.offset, nil)
        var (pages, values): ([ParquetPage], Int) = ([], 0)
        while offset < end, values < chunk.values {
            let header = try header(at: offset, before: end, place)
            let content = offset + header.size
            guard header.stored <= end - content else { throw damaged(place, at: offset) }
            let page = ParquetPage(
                place: place, codec: chunk.codec, header: header, offset: content, firstRow: row,
                dictionary: dictionary.map { ($0.offset, $0.header) })
            switch header.kind {
            case .dictionary: dictionary = page
            case .index: break
            case .data, .dataV2:
                pages.append(page)
                values += header.values
                // Of a list, a page's rows are known when it is read.
                row += header.values
            }
            offset = content + header.stored
        }
        guard values == chunk.values else { throw damaged(place, at: offset) }
        return pages
    }

    private func header(at offset: Int, before end: Int, _ place: Int) throws(DataError) -> ParquetPageHeader {
        // Most take some tens of bytes; with the least and the largest value of a page of texts, more.
        for size in [256, 16_384, 1 << 20] {
            let bytes = try bytes(at: offset, count: min(size, end - offset))
            let header = bytes.withUnsafeBytes { try? ParquetPageHeader($0) }
            if let header { return header }
            if size >= end - offset { break }
        }
        throw damaged(place, at: offset)
    }
}

/// One page of a column.
struct ParquetPage: Sendable {
    let place: Int
    let codec: Int
    let header: ParquetPageHeader
    /// Where what follows the header lies.
    let offset: Int
    /// Outside lists: the number of the first row in it.
    let firstRow: Int
    let dictionary: (offset: Int, header: ParquetPageHeader)?

    enum Values {
        case numbers([Double])
        /// Texts and files: where each lies.
        case bytes([UInt8], [Range<Int>])

        static var none: Values { .numbers([]) }
    }

    /// What a page holds: the values that are there, and how many of them each row has.
    struct Content {
        var values: Values
        var counts: [Int]
    }

    func content(of file: ParquetFile) throws(DataError) -> Content {
        let leaf = file.footer.leaves[place]
        var (bytes, start) = (try full(header, at: offset, of: file), 0)
        let count = header.values
        func levels(_ highest: Int, versionTwo size: Int) throws(DataError) -> [UInt32]? {
            guard highest > 0 else { return nil }
            let width = Int.bitWidth - highest.leadingZeroBitCount
            var length = size
            if header.kind == .data {
                guard bytes.count - start >= 4 else { throw file.damaged(place, at: offset) }
                length = (0..<4).reduce(0) { $0 | Int(bytes[start + $1]) << (8 * $1) }
                start += 4
            }
            guard length <= bytes.count - start,
                let levels = bytes[start..<start + length].withUnsafeBytes({
                    ParquetRuns.decode($0, width: width, count: count)
                }),
                levels.allSatisfy({ $0 <= highest })
            else { throw file.damaged(place, at: offset) }
            start += length
            return levels
        }
        let repetitions = try levels(leaf.repetition, versionTwo: header.repetitionBytes)
        let definitions = try levels(leaf.definition, versionTwo: header.definitionBytes)
        let isThere = definitions.map { $0.map { $0 == leaf.definition } }
        let present = isThere?.count { $0 } ?? count

        var counts: [Int] = []
        for index in 0..<count {
            if repetitions.map({ $0[index] == 0 }) ?? true { counts.append(0) }
            guard !counts.isEmpty else { throw file.damaged(place, at: offset) }
            if isThere?[index] ?? true { counts[counts.count - 1] += 1 }
        }
        bytes.removeFirst(start)
        return Content(values: try values(bytes, header, leaf, present, of: file), counts: counts)
    }

    private func values(
        _ bytes: [UInt8], _ header: ParquetPageHeader, _ leaf: ParquetFooter.Leaf, _ count: Int, of file: ParquetFile
    ) throws(DataError) -> Values {
        switch header.encoding {
        case .plain: return try plain(bytes, leaf, count, of: file)
        case .plainDictionary where header.kind == .dictionary: return try plain(bytes, leaf, count, of: file)
        case .levels where leaf.physical == .boolean:
            guard bytes.count >= 4,
                let bits = bytes.dropFirst(4).withUnsafeBytes({ ParquetRuns.decode($0, width: 1, count: count) })
            else { throw file.damaged(place, at: offset) }
            return .numbers(bits.map(Double.init))
        case .dictionary, .plainDictionary:
            guard count > 0 else { return .none }
            guard let dictionary, let width = bytes.first else { throw file.damaged(place, at: offset) }
            let stored = try full(dictionary.header, at: dictionary.offset, of: file)
            let known = try values(stored, dictionary.header, leaf, dictionary.header.values, of: file)
            guard
                let indices = bytes.dropFirst().withUnsafeBytes({
                    ParquetRuns.decode($0, width: Int(width), count: count)
                }), indices.allSatisfy({ $0 < dictionary.header.values })
            else { throw file.damaged(place, at: offset) }
            switch known {
            case .numbers(let numbers): return .numbers(indices.map { numbers[Int($0)] })
            case .bytes(let buffer, let ranges): return .bytes(buffer, indices.map { ranges[Int($0)] })
            }
        default:
            throw DataError(
                .unsupported,
                "\(file.path): column '\(leaf.path.joined(separator: "."))' is written in the encoding \(header.encoding), which "
                    + "craft does not read. Write the file again with pyarrow's defaults.")
        }
    }

    private func plain(
        _ bytes: [UInt8], _ leaf: ParquetFooter.Leaf, _ count: Int, of file: ParquetFile
    ) throws(DataError) -> Values {
        func numbers<Stored: BitwiseCopyable>(_ type: Stored.Type, _ value: (Stored) -> Double) throws(DataError)
            -> Values
        {
            let size = MemoryLayout<Stored>.size
            guard bytes.count / size >= count else { throw file.damaged(place, at: offset) }
            return .numbers(
                bytes.withUnsafeBytes { raw in
                    (0..<count).map { value(raw.loadUnaligned(fromByteOffset: size * $0, as: Stored.self)) }
                })
        }
        switch leaf.physical {
        case .float: return try numbers(UInt32.self) { Double(Float(bitPattern: UInt32(littleEndian: $0))) }
        case .double: return try numbers(UInt64.self) { Double(bitPattern: UInt64(littleEndian: $0)) }
        case .int32: return try numbers(Int32.self) { Double(Int32(littleEndian: $0)) }
        case .int64: return try numbers(Int64.self) { Double(Int64(littleEndian: $0)) }
        case .boolean:
            guard bytes.count >= (count + 7) / 8 else { throw file.damaged(place, at: offset) }
            return .numbers((0..<count).map { Double(bytes[$0 / 8] >> UInt8($0 % 8) & 1) })
        case .bytes:
            var (ranges, position): ([Range<Int>], Int) = ([], 0)
            for _ in 0..<count {
                guard bytes.count - position >= 4 else { throw file.damaged(place, at: offset) }
                let length = (0..<4).reduce(0) { $0 | Int(bytes[position + $1]) << (8 * $1) }
                position += 4
                guard length <= bytes.count - position else { throw file.damaged(place, at: offset) }
                ranges.append(position..<position + length)
                position += length
            }
            return .bytes(bytes, ranges)
        case .int96, .fixedBytes:
            throw DataError(
                .unsupported,
                "\(file.path): column '\(leaf.path.joined(separator: "."))' is of the type \(leaf.physical), which craft does "
                    + "not read; expected numbers, texts or pictures.")
        }
    }

    /// A page's bytes, decompressed. Those of version 2 keep their levels in front, which are not compressed.
    private func full(_ header: ParquetPageHeader, at offset: Int, of file: ParquetFile) throws(DataError) -> [UInt8] {
        let stored = try file.bytes(at: offset, count: header.stored)
        let levels = header.kind == .dataV2 ? header.definitionBytes + header.repetitionBytes : 0
        guard codec != 0, header.isCompressed, header.stored > levels else { return stored }
        let size = header.full - levels
        func decoded(
            _ decode: (UnsafePointer<UInt8>?, Int, UnsafeMutablePointer<UInt8>?, Int, UnsafeMutablePointer<CChar>) ->
                Int32
        )
            throws(DataError) -> [UInt8]
        {
            var out = [UInt8](repeating: 0, count: size)
            let text = VideoMessage()
            let status = stored.withUnsafeBufferPointer { source in
                out.withUnsafeMutableBufferPointer {
                    decode(
                        source.baseAddress.map { $0 + levels }, source.count - levels, $0.baseAddress, size,
                        text.storage)
                }
            }
            guard status == 0 else {
                throw DataError(
                    .malformed, "\(file.path): the page at offset \(offset) cannot be decompressed: \(text.sentence).")
            }
            return Array(stored[..<levels]) + out
        }
        switch codec {
        case 1:
            let out = stored[levels...].withUnsafeBytes { Snappy.decompress($0, size: size) }
            guard let out else { throw file.damaged(place, at: offset) }
            return levels == 0 ? out : Array(stored[..<levels]) + out
        case 2: return try decoded { vc_gzip($0, $1, $2, $3, $4) }
        case 6: return try decoded { vc_zstd($0, $1, $2, $3, $4) }
        default:
            let names = [3: "LZO", 4: "Brotli", 5: "LZ4 (Hadoop)", 7: "LZ4"]
            throw DataError(
                .unsupported,
                "\(file.path): is compressed by \(names[codec] ?? "an unknown codec (\(codec))"); craft reads snappy, zstd, gzip and "
                    + "uncompressed files. Write it again with one of these.")
        }
    }
}
