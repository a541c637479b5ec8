package import FoundationEssentials

/// What a 64-bit little-endian ELF library says about itself, read without opening it as a library.
package struct SharedLibraryFile {
    package struct Unreadable: Error, CustomStringConvertible {
        package let description: String
    }

    /// Names of defined symbols that bind globally and are visible to others. Weak ones are left out: language runtimes
    /// export those on their own.
    package private(set) var exported: [String] = []
    /// Names of defined symbols of which a process has one, whichever library it comes from (`STB_GNU_UNIQUE`): GCC's inline and
    /// template statics. Those of the C++ library itself are left out: they are the same everywhere.
    package private(set) var unique: [String] = []
    /// Libraries that it needs.
    package private(set) var needed: [String] = []
    /// The name others know it by; nil: that of its file.
    package private(set) var soname: String?
    /// Folders in which it looks for them, as written.
    package private(set) var searched: [String] = []

    private let bytes: [UInt8]

    /// Throws ``Unreadable``, or what reading the file throws.
    package init(path: String) throws {
        try self.init(Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe))
    }

    package init(_ data: Data) throws {
        bytes = [UInt8](data)
        let table = try number(40, 8)
        let entrySize = try number(58, 2)
        let count = try number(60, 2)
        guard entrySize >= 64 else { throw Unreadable(description: "its section table cannot be read") }
        for index in 0..<count {
            let header = try section(table, entrySize, index)
            guard header.link < count else { continue }
            switch header.type {
            case 11: try readSymbols(header, try section(table, entrySize, header.link))  // SHT_DYNSYM
            case 6: try readNeeds(header, try section(table, entrySize, header.link))  // SHT_DYNAMIC
            default: break
            }
        }
    }

    private mutating func readSymbols(_ header: Section, _ strings: Section) throws {
        for symbol in 0..<header.size / 24 {
            let start = try offset(header.start, symbol, 24)
            let binding = try number(start + 4, 1) >> 4
            let visibility = try number(start + 5, 1) & 3
            let definedIn = try number(start + 6, 2)
            // STV_DEFAULT or STV_PROTECTED, not SHN_UNDEF
            guard visibility == 0 || visibility == 3, definedIn != 0 else { continue }
            guard binding == 1 || binding == 10 else { continue }
            let name = try text(at: strings.start, try number(start, 4))
            if binding == 1 { exported.append(name) } else if !Self.isStandard(name) { unique.append(name) }
        }
    }

    private mutating func readNeeds(_ header: Section, _ strings: Section) throws {
        for entry in 0..<header.size / 16 {
            let start = try offset(header.start, entry, 16)
            let tag = try number(start, 8)
            guard tag != 0 else { break }
            guard [1, 14, 15, 29].contains(tag) else { continue }
            let text = try text(at: strings.start, try number(start + 8, 8))
            switch tag {
            case 1: needed.append(text)
            case 14: soname = text
            default: searched += text.split(separator: ":").map(String.init)  // DT_RPATH, DT_RUNPATH
            }
        }
    }

    /// Of namespace std or __gnu_cxx, by its mangled name.
    private static func isStandard(_ name: String) -> Bool {
        guard name.hasPrefix("_Z") else { return false }
        let rest = name.dropFirst(2).drop { "GVZNKTIR".contains($0) }
        return rest.hasPrefix("St") || rest.hasPrefix("SSt") || rest.hasPrefix("9__gnu_cxx")
    }

    private struct Section {
        var type: Int
        var start: Int
        var size: Int
        var link: Int
    }

    private func section(_ table: Int, _ entrySize: Int, _ index: Int) throws -> Section {
        let start = try offset(table, index, entrySize)
        return Section(
            type: try number(start + 4, 4), start: try number(start + 24, 8),
            size: try number(start + 32, 8), link: try number(start + 40, 4))
    }

    private func offset(_ base: Int, _ index: Int, _ size: Int) throws -> Int {
        let (product, isTooLarge) = index.multipliedReportingOverflow(by: size)
        let (sum, isBeyond) = base.addingReportingOverflow(product)
        guard !isTooLarge, !isBeyond, sum < Int.max - 64 else {
            throw Unreadable(description: "its section table cannot be read")
        }
        return sum
    }

    private func number(_ start: Int, _ size: Int) throws -> Int {
        guard start >= 0, start <= bytes.count - size else {
            throw Unreadable(description: "its symbol table lies outside the file")
        }
        let value = (0..<size).reduce(UInt64(0)) { $0 | UInt64(bytes[start + $1]) << (8 * UInt64($1)) }
        // Tags of processors and systems can be large; sizes and places that are do not fit the file.
        return Int(truncatingIfNeeded: min(value, UInt64(Int.max)))
    }

    private func text(at table: Int, _ index: Int) throws -> String {
        let start = try offset(table, index, 1)
        guard start < bytes.count else { throw Unreadable(description: "its symbol names lie outside the file") }
        return String(decoding: bytes[start...].prefix { $0 != 0 }, as: UTF8.self)
    }
}
