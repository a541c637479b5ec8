import CMemoryMap
import Glibc

/// Makes a loaded library independent of its file.
///
/// Pages of a library come from its file when they are first used, and a file that is overwritten in place or cut short takes
/// even those already there with it: rebuilding a plugin would crash the run that uses it. Its segments are therefore moved
/// to memory of their own, at the same addresses, before the first call.
///
/// The library stays what it was to everybody else. It was opened by its own path, so `$ORIGIN`, `dladdr`, backtraces,
/// debuggers and sanitizers see names and symbols as ever; with a copy of the file under another path they would not. What it
/// brings along (other libraries) is left as it is.
enum DetachedMapping {
    /// A line of `/proc/self/maps`.
    private struct Mapping {
        let range: Range<UInt>
        let protection: Int32
        /// Device, inode and path: what is mapped there.
        let file: Substring
        let isAnonymous: Bool
    }

    /// Detaches the library that has `symbol` from the file at `path`. Does nothing when that is done already.
    ///
    /// Returns false when the system refuses, as hardened ones can for memory that holds code: the library then depends on
    /// its file, as every other does.
    @discardableResult
    static func detach(libraryOf symbol: UnsafeMutableRawPointer, from path: String) -> Bool {
        let all = mappings()
        let address = UInt(bitPattern: symbol)
        guard let own = all.first(where: { $0.range.contains(address) }) else { return false }
        if own.isAnonymous { return true }
        // A sanitizer's memcpy would refuse to read the gaps that it put between a library's variables.
        let memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC)
        guard memory >= 0 else { return false }
        defer { close(memory) }
        return hold(path) && all.filter { $0.file == own.file }.allSatisfy { replace($0, reading: memory) }
    }

    /// Keeps the file's place on the disk taken: the dynamic linker knows libraries by device and inode, and would take a new
    /// file that was given the number of a deleted one for the old library.
    private static func hold(_ path: String) -> Bool {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return false }
        defer { close(file) }
        return mmap(nil, sysconf(Int32(_SC_PAGESIZE)), PROT_NONE, MAP_PRIVATE, file, 0) != MAP_FAILED
    }

    private static func replace(_ mapping: Mapping, reading memory: Int32) -> Bool {
        // Gaps between segments cannot be read and hold nothing.
        guard mapping.protection & PROT_READ != 0,
            let start = UnsafeMutableRawPointer(bitPattern: mapping.range.lowerBound)
        else { return true }
        let size = mapping.range.count
        guard let copy = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            copy != MAP_FAILED
        else { return false }
        var done = 0
        while done < size {
            let count = pread(memory, copy + done, size - done, off_t(mapping.range.lowerBound) + off_t(done))
            guard count > 0 else { break }
            done += count
        }
        guard done == size, mprotect(copy, size, mapping.protection) == 0,
            craft_replace_mapping(copy, size, start) == start
        else {
            munmap(copy, size)
            return false
        }
        return true
    }

    private static func mappings() -> [Mapping] {
        guard let file = fopen("/proc/self/maps", "re") else { return [] }
        defer { fclose(file) }
        var line: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { free(line) }
        var mappings: [Mapping] = []
        while getline(&line, &capacity, file) > 0, let line {
            // 7f2c1000-7f2c2000 r-xp 00001000 08:01 1234     /folder/libX.so
            let fields = String(cString: line).split(separator: " ", maxSplits: 3)
            guard fields.count == 4, fields[1].utf8.count == 4 else { continue }
            let ends = fields[0].split(separator: "-").compactMap { UInt($0, radix: 16) }
            guard ends.count == 2, ends[0] < ends[1] else { continue }
            let flags = Array(fields[1].utf8)
            func bit(_ index: Int, _ letter: Unicode.Scalar, _ value: Int32) -> Int32 {
                flags[index] == UInt8(ascii: letter) ? value : 0
            }
            let inode = fields[3].split(separator: " ", maxSplits: 2).dropFirst().first
            mappings.append(
                Mapping(
                    range: ends[0]..<ends[1],
                    protection: bit(0, "r", PROT_READ) | bit(1, "w", PROT_WRITE) | bit(2, "x", PROT_EXEC),
                    file: fields[3], isAnonymous: inode == "0"))
        }
        return mappings
    }
}
