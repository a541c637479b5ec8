import Glibc
import Synchronization

/// Names who was being called when a fatal signal arrives.
///
/// A handler may not allocate, lock or run Swift code that could: the names are copied into memory set aside before the
/// handler is installed, and written from there with `write`. The signal is raised again afterwards, so that the process
/// ends as it would have, core dump included.
package enum CrashReport {
    /// Text that ``enter(_:step:)`` can copy without allocating.
    final class Label {
        fileprivate let bytes: UnsafeMutableRawBufferPointer

        init(_ text: String) {
            let utf8 = Array(text.utf8.prefix(labelCapacity))
            bytes = .allocate(byteCount: labelCapacity, alignment: 8)
            bytes.initializeMemory(as: UInt8.self, repeating: 0)
            bytes.copyBytes(from: utf8)
        }

        deinit { bytes.deallocate() }
    }

    /// A stretch of memory with unreadable pages around it; see ``GuardedMemory``.
    struct Region {
        /// First byte of the guard page before, and the byte after the guard page behind.
        var start: UInt
        var end: UInt
        var dataStart: UInt
        var dataEnd: UInt
        /// Whether the call that the memory was for is over.
        var isRetired = false
    }

    private static let labelCapacity = 192
    static let regionCapacity = 256
    private static let regionNameCapacity = 64

    /// What the handler reads. The label is empty (its first byte 0) while no plugin is being called.
    private struct Record {
        let label: UnsafeMutableRawPointer
        let regions: UnsafeMutablePointer<Region>
        let regionNames: UnsafeMutableRawPointer
        /// Written behind the report; NUL-terminated.
        var advice: UnsafePointer<CChar>?
        /// -1 when the call belongs to no step.
        var step = -1
        var regionCount = 0
    }

    nonisolated(unsafe) private static let record: UnsafeMutablePointer<Record> = {
        let pointer = UnsafeMutablePointer<Record>.allocate(capacity: 1)
        let label = UnsafeMutableRawPointer.allocate(byteCount: labelCapacity + 1, alignment: 8)
        memset(label, 0, labelCapacity + 1)
        let regions = UnsafeMutablePointer<Region>.allocate(capacity: regionCapacity)
        regions.initialize(repeating: Region(start: 0, end: 0, dataStart: 0, dataEnd: 0), count: regionCapacity)
        let names = UnsafeMutableRawPointer.allocate(byteCount: regionCapacity * regionNameCapacity, alignment: 8)
        memset(names, 0, regionCapacity * regionNameCapacity)
        pointer.initialize(to: Record(label: label, regions: regions, regionNames: names))
        return pointer
    }()

    /// Counts beginnings and ends of calls; odd while one is going on.
    private static let calls = Atomic<Int>(0)

    /// Notes that a call into a plugin begins.
    static func enter(_ label: Label, step: Int = -1) {
        guard let base = label.bytes.baseAddress else { return }
        record.pointee.step = step
        memcpy(record.pointee.label, base, labelCapacity)
        calls.add(1, ordering: .releasing)
    }

    /// Notes that it is over.
    static func leave() {
        calls.add(1, ordering: .releasing)
        record.pointee.label.storeBytes(of: 0, as: UInt8.self)
    }

    /// The call that is going on, for another thread to show: its number, and "plugin X, post_step hook, step 3". `nil`
    /// between calls.
    package static func currentCall() -> (number: Int, text: String)? {
        let number = calls.load(ordering: .acquiring)
        guard number % 2 == 1 else { return nil }
        let label = String(cString: record.pointee.label.assumingMemoryBound(to: CChar.self))
        let step = record.pointee.step
        // The label may have changed while it was read.
        guard calls.load(ordering: .acquiring) == number else { return nil }
        return (number, step >= 0 ? "\(label), step \(step)" : label)
    }

    /// Writes "plugin X, post_step hook, step 3" to standard error, between two texts; nothing between calls. For signal
    /// handlers.
    package static func writeCurrentCall(_ before: StaticString, _ after: StaticString) {
        guard record.pointee.label.load(as: UInt8.self) != 0 else { return }
        put(before)
        putCall()
        put(after)
    }

    /// Runs a call that is no hook: `create`, `save` and the like.
    static func during<Result>(_ text: String, _ body: () -> Result) -> Result {
        let label = Label(text)
        enter(label)
        defer { leave() }
        return body()
    }

    /// Makes the memory known to the handler by name; returns its number for ``forget(_:)``, or `nil` when the table is
    /// full: the report then names the call only.
    static func remember(_ region: Region, name: String) -> Int? {
        let count = record.pointee.regionCount
        let free = (0..<count).first { record.pointee.regions[$0].end == 0 }
        guard let index = free ?? (count < regionCapacity ? count : nil) else { return nil }
        let text = record.pointee.regionNames + index * regionNameCapacity
        memset(text, 0, regionNameCapacity)
        let utf8 = Array(name.utf8.prefix(regionNameCapacity - 1))
        utf8.withUnsafeBytes { if let base = $0.baseAddress { memcpy(text, base, $0.count) } }
        record.pointee.regions[index] = region
        record.pointee.regionCount = max(count, index + 1)
        return index
    }

    /// Notes that the memory's lifetime has ended; it is still there, inaccessible.
    static func retire(_ index: Int) { record.pointee.regions[index].isRetired = true }

    static func forget(_ index: Int) { record.pointee.regions[index].end = 0 }

    /// Installs the handler for SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT, on a stack of its own: a hook may have used
    /// up the thread's. `advice` is a sentence for the end of the report.
    package static func install(advice: String) {
        record.pointee.advice = UnsafePointer(strdup(advice))
        let size = 1 << 16
        var stack = stack_t()
        stack.ss_sp = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
        stack.ss_size = size
        sigaltstack(&stack, nil)
        var action = sigaction()
        action.__sigaction_handler.sa_sigaction = reportCrash
        // The default action is back in place when the handler runs: a second fault ends the process at once.
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | Int32(bitPattern: UInt32(SA_RESETHAND))
        sigemptyset(&action.sa_mask)
        for signal in [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT] { sigaction(signal, &action, nil) }
    }

    /// "SIGSEGV (invalid memory access)".
    package static func name(ofSignal signal: Int32) -> StaticString {
        switch signal {
        case SIGSEGV: "SIGSEGV (invalid memory access)"
        case SIGBUS: "SIGBUS (memory access error)"
        case SIGFPE: "SIGFPE (arithmetic error)"
        case SIGILL: "SIGILL (illegal instruction or failed assertion)"
        case SIGABRT: "SIGABRT (abort)"
        case SIGTRAP: "SIGTRAP (failed assertion)"
        case SIGKILL: "SIGKILL (killed, by craft or for want of memory)"
        case SIGXCPU: "SIGXCPU (out of time)"
        default: "a fatal signal"
        }
    }

    // MARK: - Inside the handler

    fileprivate static func write(signal: Int32, address: UInt?) {
        guard record.pointee.label.load(as: UInt8.self) != 0 else { return }
        put("Error: ")
        putCall()
        put(": crashed with ")
        put(name(ofSignal: signal))
        if let address { putPlace(address) }
        put("\n")
        if let advice = record.pointee.advice, advice.pointee != 0 {
            put(advice)
            put("\n")
        }
    }

    private static func putCall() {
        put(record.pointee.label.assumingMemoryBound(to: CChar.self))
        guard record.pointee.step >= 0 else { return }
        put(", step ")
        put(number: UInt(record.pointee.step))
    }

    /// Where in guarded memory the access was.
    private static func putPlace(_ address: UInt) {
        for index in 0..<record.pointee.regionCount {
            let region = record.pointee.regions[index]
            guard region.end != 0, address >= region.start, address < region.end else { continue }
            if region.isRetired {
                put(": it kept a pointer to ")
                put((record.pointee.regionNames + index * regionNameCapacity).assumingMemoryBound(to: CChar.self))
                put(" of an earlier call and used it")
                return
            }
            if address >= region.dataEnd {
                put(": it reached byte ")
                put(number: address - region.dataEnd + 1)
                put(" past the end of ")
            } else if address < region.dataStart {
                put(": it reached byte ")
                put(number: region.dataStart - address)
                put(" before the start of ")
            } else {
                put(": it wrote to byte ")
                put(number: address - region.dataStart)
                put(" of the read-only ")
            }
            put((record.pointee.regionNames + index * regionNameCapacity).assumingMemoryBound(to: CChar.self))
            return
        }
        if address < 4096 { put(": it used a NULL pointer") }
    }

    private static func put(_ text: StaticString) { _ = Glibc.write(2, text.utf8Start, text.utf8CodeUnitCount) }

    private static func put(_ text: UnsafePointer<CChar>) { _ = Glibc.write(2, text, strlen(text)) }

    private static func put(number: UInt) {
        var divisor: UInt = 1
        while number / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            var digit = UInt8(48 + number / divisor % 10)
            _ = Glibc.write(2, &digit, 1)
            divisor /= 10
        }
    }
}

private func reportCrash(_ signal: Int32, _ info: UnsafeMutablePointer<siginfo_t>?, _: UnsafeMutableRawPointer?) {
    var address: UInt?
    // Only a fault has an address; a code of 0 or less means that somebody sent the signal.
    if signal == SIGSEGV || signal == SIGBUS, let info, info.pointee.si_code > 0 {
        address = UInt(bitPattern: info.pointee._sifields._sigfault.si_addr)
    }
    CrashReport.write(signal: signal, address: address)
    raise(signal)
}
