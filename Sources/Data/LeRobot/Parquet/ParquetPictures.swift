internal import Formats

/// A column of files, most often pictures, read one row at a time: of a file only the page is read that the row is in.
package struct ParquetPictures: Sendable {
    private let file: ParquetFile
    private let name: String
    private let pages: [ParquetPage]
    /// Paths of the files that are not in the column itself; nil where it has no such part.
    private let paths: [ParquetPage]?

    /// Of the file.
    package var path: String { file.path }

    /// - Throws: when the file has no such column.
    package init(_ file: ParquetFile, name: String) throws(DataError) {
        (self.file, self.name) = (file, name)
        func pages(_ place: Int) throws(DataError) -> [ParquetPage] {
            guard file.footer.leaves[place].repetition == 0, file.footer.leaves[place].physical == .bytes else {
                throw DataError(.mismatched, "\(file.path): column '\(name)' holds no pictures.")
            }
            var all: [ParquetPage] = []
            for group in file.footer.groups.indices { all += try file.pages(place, group: group) }
            return all
        }
        // A picture is a structure of its bytes and its path, or its bytes alone.
        if let place = file.place(of: [name, "bytes"]) {
            self.pages = try pages(place)
            paths = try file.place(of: [name, "path"]).map { (place) throws(DataError) in try pages(place) }
        } else {
            self.pages = try pages(try file.required(name))
            paths = nil
        }
    }

    /// An encoded picture.
    ///
    /// - Parameter folder: what paths in the column are below.
    package func encoded(row: Int, folder: String) throws(DataError) -> [UInt8] {
        if let bytes = try value(row, pages), !bytes.isEmpty { return bytes }
        guard let paths, let path = try value(row, paths), !path.isEmpty else {
            throw DataError(.missing, "\(file.path): row \(row) has no picture in column '\(name)'.")
        }
        let text = String(decoding: path, as: UTF8.self)
        return try reading { () throws(FileError) in
            try RandomAccessFile.contents(of: text.hasPrefix("/") ? text : "\(folder)/\(text)")
        }
    }

    private func value(_ row: Int, _ pages: [ParquetPage]) throws(DataError) -> [UInt8]? {
        var (low, high) = (0, pages.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if pages[middle].firstRow <= row { low = middle } else { high = middle }
        }
        guard low < pages.count, case let within = row - pages[low].firstRow, within >= 0 else { return nil }
        let content = try pages[low].content(of: file)
        guard within < content.counts.count, content.counts[within] == 1,
            case .bytes(let buffer, let ranges) = content.values
        else { return nil }
        return Array(buffer[ranges[content.counts[..<within].reduce(0, +)]])
    }
}
