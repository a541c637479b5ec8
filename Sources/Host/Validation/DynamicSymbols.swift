import Foundation

/// The symbols that a 64-bit little-endian ELF library exports.
enum DynamicSymbols {
    struct Unreadable: Error, CustomStringConvertible {
        let description: String
    }

    /// Names of defined symbols that bind globally and are visible to others. Weak ones are left out: language runtimes
    /// export those on their own.
    static func exported(by path: String) throws -> [String] {
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe))
        let sectionTable = try number(bytes, 40, 8)
        let entrySize = try number(bytes, 58, 2)
        let count = try number(bytes, 60, 2)
        guard entrySize >= 64 else { throw Unreadable(description: "its section table cannot be read") }
        var names: [String] = []
        for index in 0..<count {
            let header = try section(bytes, sectionTable, entrySize, index)
            // SHT_DYNSYM
            guard header.type == 11, header.link < count else { continue }
            let strings = try section(bytes, sectionTable, entrySize, header.link)
            for symbol in 0..<header.size / 24 {
                let start = try offset(header.start, symbol, 24)
                let info = try number(bytes, start + 4, 1)
                let visibility = try number(bytes, start + 5, 1) & 3
                let definedIn = try number(bytes, start + 6, 2)
                // STB_GLOBAL, STV_DEFAULT or STV_PROTECTED, not SHN_UNDEF
                guard info >> 4 == 1, visibility == 0 || visibility == 3, definedIn != 0 else { continue }
                names.append(try text(bytes, at: strings.start, try number(bytes, start, 4)))
            }
        }
        return names
    }

    private struct Section {
        var type: Int
        var start: Int
        var size: Int
        var link: Int
    }

    private static func section(_ bytes: [UInt8], _ table: Int, _ entrySize: Int, _ index: Int) throws -> Section {
        let start = try offset(table, index, entrySize)
        return Section(
            type: try number(bytes, start + 4, 4), start: try number(bytes, start + 24, 8),
            size: try number(bytes, start + 32, 8), link: try number(bytes, start + 40, 4))
    }

    private static func offset(_ base: Int, _ index: Int, _ size: Int) throws -> Int {
        let (product, isTooLarge) = index.multipliedReportingOverflow(by: size)
        let (sum, isBeyond) = base.addingReportingOverflow(product)
        guard !isTooLarge, !isBeyond, sum < Int.max - 64 else {
            throw Unreadable(description: "its section table cannot be read")
        }
        return sum
    }

    private static func number(_ bytes: [UInt8], _ start: Int, _ size: Int) throws -> Int {
        guard start >= 0, start <= bytes.count - size else {
            throw Unreadable(description: "its symbol table lies outside the file")
        }
        let value = (0..<size).reduce(UInt64(0)) { $0 | UInt64(bytes[start + $1]) << (8 * UInt64($1)) }
        guard let small = Int(exactly: value) else {
            throw Unreadable(description: "its symbol table lies outside the file")
        }
        return small
    }

    private static func text(_ bytes: [UInt8], at table: Int, _ index: Int) throws -> String {
        let start = try offset(table, index, 1)
        guard start < bytes.count else { throw Unreadable(description: "its symbol names lie outside the file") }
        return String(decoding: bytes[start...].prefix { $0 != 0 }, as: UTF8.self)
    }
}
