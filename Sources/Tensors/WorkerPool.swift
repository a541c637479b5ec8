internal import Glibc
internal import Kernels
internal import Synchronization

/// The threads that share a parallel loop with its caller.
///
/// A training step is some thousand loops of a few dozen microseconds each, and waking a thread takes about as long as one
/// of them. So a thread that runs out of work looks out for the next loop for ``lookout`` before it sleeps, and so does a
/// caller for the last chunk. Both then sleep: on a busy machine nothing spins for longer than that.
final class WorkerPool: Sendable {
    static let shared = WorkerPool()

    /// The body of a loop. A closure in a struct is stored as it is; behind a generic pointer of its own it would be wrapped.
    private struct Loop {
        let body: (Int) -> Void
    }

    /// One word says all about the loop that runs: its number, how many threads may still join, how many are inside, and
    /// two flags.
    private struct Gate {
        /// The loop takes helpers.
        static let open: UInt64 = 1
        /// The caller sleeps until the last helper has left.
        static let callerSleeps: UInt64 = 2
        static let helper: UInt64 = 1 << 2
        static let seat: UInt64 = 1 << 16
        static let number: UInt64 = 1 << 32

        var bits: UInt64
        var isOpen: Bool { bits & Self.open != 0 }
        var callerSleeps: Bool { bits & Self.callerSleeps != 0 }
        var helpers: UInt64 { (bits % Self.seat) / Self.helper }
        var seats: UInt64 { (bits % Self.number) / Self.seat }
        var number: UInt64 { bits / Self.number }
    }

    /// What the gate guards: written by the caller before it opens, read by helpers that are inside.
    private struct State {
        var workers = 0
        var loop: UnsafePointer<Loop>?
        var chunks = 0
    }

    /// Nanoseconds.
    private static let lookout = 8_000

    private let gate = Atomic<UInt64>(0)
    private let next = Atomic<Int>(0)
    private let sleepers = Atomic<Int>(0)
    private let isBusy = Atomic<Bool>(false)
    /// As many helpers as there are other processors: results do not depend on their number, and more would only wait.
    private let mostWorkers = max(0, min(1023, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))) - 1))
    private nonisolated(unsafe) let state = UnsafeMutablePointer<State>.allocate(capacity: 1)
    private nonisolated(unsafe) let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private nonisolated(unsafe) let wake = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private nonisolated(unsafe) let done = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    private init() {
        state.initialize(to: State())
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(wake, nil)
        pthread_cond_init(done, nil)
    }

    /// Runs `body(0) ... body(chunks - 1)` on the calling thread and at most `threads - 1` others, and returns when all
    /// are done. Within a loop, or beside one of another thread, the caller does everything itself.
    ///
    /// Costs one heap allocation, which ends with the call: Swift hands a closure to another thread no other way.
    func run(chunks: Int, threads: Int, _ body: (Int) -> Void) {
        if isBusy.exchange(true, ordering: .acquiring) {
            for chunk in 0..<chunks { body(chunk) }
            return
        }
        defer { isBusy.store(false, ordering: .releasing) }
        // The call returns only when every chunk is done: the closure neither escapes nor outlives what it captures.
        withoutActuallyEscaping(body) { body in
            withUnsafePointer(to: Loop(body: body)) { loop in
                open(loop, chunks: chunks, helpers: min(threads, chunks) - 1)
                takeChunks(of: loop, count: chunks)
                close()
            }
        }
    }

    // MARK: - The caller

    private func open(_ loop: UnsafePointer<Loop>, chunks: Int, helpers: Int) {
        let helpers = hire(min(helpers, mostWorkers))
        state.pointee.loop = loop
        state.pointee.chunks = chunks
        next.store(0, ordering: .relaxed)
        let number = Gate(bits: gate.load(ordering: .relaxed)).number &+ 1
        gate.store(
            number << 32 | UInt64(helpers) * Gate.seat | Gate.open, ordering: .sequentiallyConsistent)
        let asleep = sleepers.load(ordering: .sequentiallyConsistent)
        if asleep > 0 {
            // A thread that is counted holds the mutex until it waits. Signals come after, or all would queue for it.
            pthread_mutex_lock(mutex)
            pthread_mutex_unlock(mutex)
            for _ in 0..<min(asleep, helpers) { pthread_cond_signal(wake) }
        }
    }

    private func close() {
        var gate = Gate(bits: self.gate.bitwiseAnd(~Gate.open, ordering: .acquiringAndReleasing).newValue)
        if gate.helpers == 0 { return }
        let start = now()
        repeat {
            ck_pause()
            gate = Gate(bits: self.gate.load(ordering: .acquiring))
            if gate.helpers == 0 { return }
        } while now() - start < Self.lookout
        pthread_mutex_lock(mutex)
        gate = Gate(bits: self.gate.bitwiseOr(Gate.callerSleeps, ordering: .acquiringAndReleasing).newValue)
        while gate.helpers > 0 {
            pthread_cond_wait(done, mutex)
            gate = Gate(bits: self.gate.load(ordering: .acquiring))
        }
        pthread_mutex_unlock(mutex)
    }

    /// Makes threads until there are `wanted`; returns how many of those there are.
    private func hire(_ wanted: Int) -> Int {
        while state.pointee.workers < wanted {
            guard startThread() else { return state.pointee.workers }
            state.pointee.workers += 1
        }
        return wanted
    }

    private func startThread() -> Bool {
        // Signals that ask the process to stop are for the threads that wait for them.
        var signals = sigset_t()
        var before = sigset_t()
        sigfillset(&signals)
        for fault in [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP] { sigdelset(&signals, fault) }
        pthread_sigmask(SIG_BLOCK, &signals, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        var thread = pthread_t()
        let status = pthread_create(&thread, nil, { _ in WorkerPool.shared.help() }, nil)
        if status == 0 { pthread_detach(thread) }
        return status == 0
    }

    // MARK: - Helpers

    private func help() -> Never {
        var last: UInt64 = 0
        while true {
            last = join(after: last)
            if let loop = state.pointee.loop { takeChunks(of: loop, count: state.pointee.chunks) }
            let gate = Gate(bits: self.gate.wrappingSubtract(Gate.helper, ordering: .acquiringAndReleasing).newValue)
            if gate.callerSleeps && gate.helpers == 0 {
                pthread_mutex_lock(mutex)
                pthread_cond_signal(done)
                pthread_mutex_unlock(mutex)
            }
        }
    }

    private func takeChunks(of loop: UnsafePointer<Loop>, count: Int) {
        while true {
            let chunk = next.wrappingAdd(1, ordering: .relaxed).oldValue
            if chunk >= count { return }
            loop.pointee.body(chunk)
        }
    }

    /// Waits for a loop other than `last` and takes a seat in it; returns its number.
    private func join(after last: UInt64) -> UInt64 {
        while true {
            let start = now()
            repeat {
                if let number = takeSeat(after: last) { return number }
                ck_pause()
            } while now() - start < Self.lookout
            // Woken, and too late for that loop, a thread looks out for the next, which is often near.
            if let number = sleep(after: last) { return number }
        }
    }

    /// Sleeps until some loop begins, unless there is one already; its number if that was in time.
    private func sleep(after last: UInt64) -> UInt64? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        // A caller opens the gate and then counts sleepers, a sleeper is counted and then tries the gate: one sees the other.
        sleepers.wrappingAdd(1, ordering: .sequentiallyConsistent)
        defer { sleepers.wrappingSubtract(1, ordering: .sequentiallyConsistent) }
        if let number = takeSeat(after: last) { return number }
        pthread_cond_wait(wake, mutex)
        return takeSeat(after: last)
    }

    private func takeSeat(after last: UInt64) -> UInt64? {
        var gate = Gate(bits: self.gate.load(ordering: .sequentiallyConsistent))
        while gate.isOpen && gate.seats > 0 && gate.number != last {
            let (exchanged, original) = self.gate.weakCompareExchange(
                expected: gate.bits, desired: gate.bits - Gate.seat + Gate.helper, ordering: .acquiring)
            if exchanged { return gate.number }
            gate.bits = original
        }
        return nil
    }

    /// Nanoseconds since an arbitrary moment.
    private func now() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return time.tv_sec * 1_000_000_000 + time.tv_nsec
    }
}
