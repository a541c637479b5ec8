import CFloatingPoint
import Glibc
import Synchronization

/// Names who was being called when a fatal signal arrives, or when a plugin ends the process.
///
/// Each thread that calls plugins has a record of its own, claimed with its first call and given back when it ends, so that
/// sessions on several threads are told apart.
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

    private static let labelCapacity = 192

    /// What a thread is calling. The label is empty (its first byte 0) while it calls no plugin.
    private struct Record: ~Copyable {
        /// `pthread_self()`; 0 while the record is free.
        let owner = Atomic<UInt>(0)
        /// Counts beginnings and ends of calls; odd while one is going on.
        let calls = Atomic<Int>(0)
        let label: UnsafeMutableRawPointer
        /// -1 when the call belongs to no step.
        var step = -1
        /// The alternate signal stack that the thread was given here.
        var stack: UnsafeMutableRawPointer?
        /// Whether the thread has one, of its own or from here.
        var hasStack = false

        init() {
            label = .allocate(byteCount: labelCapacity + 1, alignment: 8)
            memset(label, 0, labelCapacity + 1)
        }

        var isCalling: Bool { label.load(as: UInt8.self) != 0 }
    }

    /// Threads beyond these are not told apart, and their calls not named.
    private static let capacity = 256

    nonisolated(unsafe) private static let records: UnsafeMutablePointer<Record> = {
        let records = UnsafeMutablePointer<Record>.allocate(capacity: capacity)
        for index in 0..<capacity { (records + index).initialize(to: Record()) }
        return records
    }()

    /// The thread's own record.
    private static let key: pthread_key_t = {
        var key = pthread_key_t()
        pthread_key_create(&key) { record in
            if let record { CrashReport.release(record.assumingMemoryBound(to: Record.self)) }
        }
        return key
    }()

    private static func own() -> UnsafeMutablePointer<Record>? {
        if let known = pthread_getspecific(key) { return known.assumingMemoryBound(to: Record.self) }
        for index in 0..<capacity {
            let record = records + index
            guard record.pointee.owner.load(ordering: .relaxed) == 0,
                record.pointee.owner.compareExchange(
                    expected: 0, desired: UInt(pthread_self()), ordering: .acquiringAndReleasing
                ).exchanged
            else { continue }
            pthread_setspecific(key, record)
            return record
        }
        return nil
    }

    /// Called on the thread that ends.
    private static func release(_ record: UnsafeMutablePointer<Record>) {
        if let stack = record.pointee.stack {
            var none = stack_t()
            none.ss_flags = Int32(SS_DISABLE)
            sigaltstack(&none, nil)
            stack.deallocate()
        }
        record.pointee.stack = nil
        record.pointee.hasStack = false
        record.pointee.owner.store(0, ordering: .releasing)
    }

    // MARK: - Calls

    /// Notes that a call into a plugin begins on this thread.
    static func enter(_ label: Label, step: Int = -1) {
        guard let base = label.bytes.baseAddress, let record = own() else { return }
        if !record.pointee.hasStack, isInstalled.load(ordering: .relaxed) { giveStack(to: record) }
        record.pointee.step = step
        memcpy(record.pointee.label, base, labelCapacity)
        record.pointee.calls.add(1, ordering: .releasing)
    }

    /// Notes that it is over.
    static func leave() {
        guard let record = own() else { return }
        record.pointee.calls.add(1, ordering: .releasing)
        record.pointee.label.storeBytes(of: 0, as: UInt8.self)
    }

    /// The calls that are going on, for another thread to show: a number that no other call has, and "plugin X, post_step hook,
    /// step 3".
    package static func currentCalls() -> [(number: Int, text: String)] {
        (0..<capacity).compactMap { index in
            let record = records + index
            let number = record.pointee.calls.load(ordering: .acquiring)
            guard number % 2 == 1 else { return nil }
            let label = String(cString: record.pointee.label.assumingMemoryBound(to: CChar.self))
            let step = record.pointee.step
            // The label may have changed while it was read.
            guard record.pointee.calls.load(ordering: .acquiring) == number else { return nil }
            return (number * capacity + index, step >= 0 ? "\(label), step \(step)" : label)
        }
    }

    /// Writes "plugin X, post_step hook, step 3" to standard error, between two texts; nothing between calls. For signal
    /// handlers.
    package static func writeCurrentCall(_ before: StaticString, _ after: StaticString) {
        guard isCalling() else { return }
        put(before)
        putCalls()
        put(after)
    }

    /// Runs a call that is no hook: `create`, `save` and the like.
    static func during<Result>(_ text: String, _ body: () -> Result) -> Result {
        let label = Label(text)
        let control = craft_fp_control()
        enter(label)
        defer {
            leave()
            if craft_fp_control() != control { craft_fp_restore(control) }
        }
        return body()
    }

    // MARK: - Installing

    private static let isInstalled = Atomic<Bool>(false)
    /// Written behind the report; NUL-terminated.
    nonisolated(unsafe) private static var advice: UnsafePointer<CChar>?
    private static let signals = [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT]
    /// What the handlers were before, by signal, where they are to have their turn.
    nonisolated(unsafe) private static let previous: UnsafeMutablePointer<sigaction> = {
        let actions = UnsafeMutablePointer<sigaction>.allocate(capacity: 65)
        actions.initialize(repeating: sigaction(), count: 65)
        return actions
    }()

    /// Installs the handler for SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT, on a stack of its own: a hook may have used
    /// up the thread's. A second time only changes the advice.
    ///
    /// - Parameters:
    ///   - advice: a sentence for the end of the report.
    ///   - chains: whether handlers that are there have their turn afterwards.
    package static func install(advice: String, chains: Bool = false) {
        Self.advice = UnsafePointer(strdup(advice))
        guard !isInstalled.exchange(true, ordering: .acquiringAndReleasing) else { return }
        // Makes what handlers read, which they may not.
        let made = (records, previous, CrashRegions.places)
        withExtendedLifetime(made) {}
        if let record = own(), !record.pointee.hasStack { giveStack(to: record) }
        var action = sigaction()
        action.__sigaction_handler.sa_sigaction = reportCrash
        // The default action is back in place when the handler runs: a second fault ends the process at once.
        action.sa_flags = SA_SIGINFO | SA_ONSTACK | Int32(bitPattern: UInt32(SA_RESETHAND))
        sigemptyset(&action.sa_mask)
        for signal in signals {
            var before = sigaction()
            sigaction(signal, &action, &before)
            if chains { previous[Int(signal)] = before }
        }
    }

    private static func giveStack(to record: UnsafeMutablePointer<Record>) {
        record.pointee.hasStack = true
        var stack = stack_t()
        guard sigaltstack(nil, &stack) == 0, stack.ss_size == 0 || stack.ss_flags & Int32(SS_DISABLE) != 0 else {
            return
        }
        let size = 1 << 16
        let memory = UnsafeMutableRawPointer.allocate(byteCount: size, alignment: 16)
        stack = stack_t()
        stack.ss_sp = memory
        stack.ss_size = size
        sigaltstack(&stack, nil)
        record.pointee.stack = memory
    }

    /// Ends the process with a sentence and exit code 2 when somebody calls `exit`: the host ends with `_exit`, so it is a
    /// plugin, whatever status it gave.
    package static func refuseExit() {
        let made = (records, key)
        withExtendedLifetime(made) {}
        on_exit(reportExit, nil)
    }

    /// Whether the process may end by `exit` after all: a library that is no plugin's does it. Set by the main thread.
    package nonisolated(unsafe) static var acceptsExit = false

    fileprivate static func writeExit(_ status: Int32) {
        put("Error: ")
        if isCalling() { putCalls() } else { put("a plugin, between its calls") }
        put(": it ended the process with exit status ")
        put(number: UInt(UInt32(bitPattern: status) & 255))
        put("\n")
        if let advice, advice.pointee != 0 {
            put(advice)
            put("\n")
        }
    }

    /// Whether any thread is calling a plugin.
    private static func isCalling() -> Bool {
        for index in 0..<capacity where records[index].isCalling { return true }
        return false
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
        guard isCalling() else { return }
        put("Error: ")
        let isOwn = putCalls()
        put(": crashed with ")
        put(name(ofSignal: signal))
        if !isOwn { put(" on a thread of its own") }
        if let address { CrashRegions.putPlace(address) }
        put("\n")
        if let advice, advice.pointee != 0 {
            put(advice)
            put("\n")
        }
    }

    /// Puts the handler in the place of which ours was, before the signal is raised again.
    fileprivate static func restore(_ signal: Int32) {
        guard (1..<65).contains(signal) else { return }
        var action = previous[Int(signal)]
        sigaction(signal, &action, nil)
    }

    /// Writes this thread's call; when it makes none, as a plugin's own threads do not, those of all others. Returns whether
    /// it was this thread's.
    @discardableResult
    private static func putCalls() -> Bool {
        let thread = UInt(pthread_self())
        for index in 0..<capacity
        where records[index].owner.load(ordering: .relaxed) == thread && records[index].isCalling {
            putCall(index)
            return true
        }
        var isFirst = true
        for index in 0..<capacity where records[index].isCalling {
            if !isFirst { put(" or ") }
            isFirst = false
            putCall(index)
        }
        return false
    }

    private static func putCall(_ index: Int) {
        put(records[index].label.assumingMemoryBound(to: CChar.self))
        guard records[index].step >= 0 else { return }
        put(", step ")
        put(number: UInt(records[index].step))
    }

    static func put(_ text: StaticString) { _ = Glibc.write(2, text.utf8Start, text.utf8CodeUnitCount) }

    static func put(_ text: UnsafePointer<CChar>) { _ = Glibc.write(2, text, strlen(text)) }

    static func put(number: UInt) {
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
    CrashReport.restore(signal)
    raise(signal)
}

private func reportExit(_ status: Int32, _: UnsafeMutableRawPointer?) {
    if CrashReport.acceptsExit { return }
    CrashReport.writeExit(status)
    _exit(2)
}
