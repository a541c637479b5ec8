import Glibc

/// Memory with an inaccessible page on either side, so that an access beyond it ends the process instead of reading or
/// changing something else.
///
/// Memory comes in whole pages, so only one side can be exact; the bytes that are left over on the other are filled with a
/// pattern, and ``isSlackIntact`` tells whether they were changed.
///
/// Released memory becomes inaccessible as a whole and keeps its place for a while, so that a pointer kept beyond its
/// lifetime is noticed too.
final class GuardedMemory {
    /// The side on which the first byte beyond the memory is inaccessible; `none` leaves a page of room on both.
    enum Side { case end, start, none }

    let data: UnsafeMutableRawPointer
    let byteCount: Int
    private let base: UnsafeMutableRawPointer
    private let page: Int
    private let middle: Int
    private let region: Int?
    private static let pattern: UInt8 = 0xc7

    /// Released memory, oldest first. Checks call plugins from one thread.
    nonisolated(unsafe) private static var released: [(base: UnsafeMutableRawPointer, total: Int, region: Int?)] = []
    private static let keptReleased = 96

    /// `nil` when the system has no memory.
    init?(byteCount: Int, side: Side, name: String) {
        let page = sysconf(Int32(_SC_PAGESIZE))
        let middle = (byteCount + page - 1) / page * page + (side == .none ? 2 * page : 0)
        let total = middle + 2 * page
        guard let base = mmap(nil, total, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), base != MAP_FAILED else {
            return nil
        }
        guard middle == 0 || mprotect(base + page, middle, PROT_READ | PROT_WRITE) == 0 else {
            munmap(base, total)
            return nil
        }
        if middle > 0 { memset(base + page, Int32(Self.pattern), middle) }
        self.base = base
        self.page = page
        self.middle = middle
        self.byteCount = byteCount
        switch side {
        case .end: data = base + page + (middle - byteCount)
        case .start: data = base + page
        case .none: data = base + 2 * page
        }
        let start = UInt(bitPattern: base)
        let dataStart = UInt(bitPattern: data)
        region = CrashRegions.remember(
            CrashRegions.Region(
                start: start, end: start + UInt(total), dataStart: dataStart, dataEnd: dataStart + UInt(byteCount)),
            name: name)
    }

    deinit {
        let total = middle + 2 * page
        // A new mapping in place of the old one gives its memory back to the system.
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE
        guard mmap(base, total, PROT_NONE, flags, -1, 0) == base else {
            if let region { CrashRegions.forget(region) }
            munmap(base, total)
            return
        }
        if let region { CrashRegions.retire(region) }
        Self.released.append((base, total, region))
        guard Self.released.count > Self.keptReleased else { return }
        let oldest = Self.released.removeFirst()
        if let region = oldest.region { CrashRegions.forget(region) }
        munmap(oldest.base, oldest.total)
    }

    /// Makes writing to it a fault.
    func protect() { if middle > 0 { mprotect(base + page, middle, PROT_READ) } }

    var isSlackIntact: Bool {
        let before = data - (base + page)
        let first = base + page
        let isSame = { (offset: Int) in first.load(fromByteOffset: offset, as: UInt8.self) == Self.pattern }
        return (0..<before).allSatisfy(isSame) && (before + byteCount..<middle).allSatisfy(isSame)
    }
}
