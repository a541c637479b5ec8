import Glibc

/// Stretches of memory with unreadable pages around them (``GuardedMemory``), so that a crash report can say what was
/// overstepped. Checks call plugins from one thread.
enum CrashRegions {
    struct Region {
        /// First byte of the guard page before, and the byte after the guard page behind.
        var start: UInt
        var end: UInt
        var dataStart: UInt
        var dataEnd: UInt
        /// Whether the call that the memory was for is over.
        var isRetired = false
    }

    static let capacity = 256
    private static let nameCapacity = 64

    struct Places {
        let regions: UnsafeMutablePointer<Region>
        let names: UnsafeMutableRawPointer
        var count = 0
    }

    nonisolated(unsafe) static let places: UnsafeMutablePointer<Places> = {
        let regions = UnsafeMutablePointer<Region>.allocate(capacity: capacity)
        regions.initialize(repeating: Region(start: 0, end: 0, dataStart: 0, dataEnd: 0), count: capacity)
        let names = UnsafeMutableRawPointer.allocate(byteCount: capacity * nameCapacity, alignment: 8)
        memset(names, 0, capacity * nameCapacity)
        let places = UnsafeMutablePointer<Places>.allocate(capacity: 1)
        places.initialize(to: Places(regions: regions, names: names))
        return places
    }()

    /// Makes the memory known to the handler by name; returns its number for ``forget(_:)``, or `nil` when the table is
    /// full: the report then names the call only.
    static func remember(_ region: Region, name: String) -> Int? {
        let count = places.pointee.count
        let free = (0..<count).first { places.pointee.regions[$0].end == 0 }
        guard let index = free ?? (count < capacity ? count : nil) else { return nil }
        let text = places.pointee.names + index * nameCapacity
        memset(text, 0, nameCapacity)
        let utf8 = Array(name.utf8.prefix(nameCapacity - 1))
        utf8.withUnsafeBytes { if let base = $0.baseAddress { memcpy(text, base, $0.count) } }
        places.pointee.regions[index] = region
        places.pointee.count = max(count, index + 1)
        return index
    }

    /// Notes that the memory's lifetime has ended; it is still there, inaccessible.
    static func retire(_ index: Int) { places.pointee.regions[index].isRetired = true }

    static func forget(_ index: Int) { places.pointee.regions[index].end = 0 }

    /// Writes where in guarded memory an access was. For signal handlers.
    static func putPlace(_ address: UInt) {
        for index in 0..<places.pointee.count {
            let region = places.pointee.regions[index]
            let name = (places.pointee.names + index * nameCapacity).assumingMemoryBound(to: CChar.self)
            guard region.end != 0, address >= region.start, address < region.end else { continue }
            if region.isRetired {
                CrashReport.put(": it kept a pointer to ")
                CrashReport.put(name)
                CrashReport.put(" of an earlier call and used it")
                return
            }
            if address >= region.dataEnd {
                CrashReport.put(": it reached byte ")
                CrashReport.put(number: address - region.dataEnd + 1)
                CrashReport.put(" past the end of ")
            } else if address < region.dataStart {
                CrashReport.put(": it reached byte ")
                CrashReport.put(number: region.dataStart - address)
                CrashReport.put(" before the start of ")
            } else {
                CrashReport.put(": it wrote to byte ")
                CrashReport.put(number: address - region.dataStart)
                CrashReport.put(" of the read-only ")
            }
            CrashReport.put(name)
            return
        }
        if address < 4096 { CrashReport.put(": it used a NULL pointer") }
    }
}
