internal import Glibc
internal import Kernels
internal import Synchronization

/// The threads that share a parallel loop with its caller.
///
/// A training step is some thousand loops of a few dozen microseconds each, and waking a thread takes about as long as one
/// of them. So a thread that runs out of work looks out for the next loop for ``lookout`` before it sleeps, and so does a
/// caller for the last chunk. Both then sleep: on a busy machine nothing spins for longer than that. A loop allocates
/// nothing.
final class WorkerPool: Sendable {
    static let shared = WorkerPool()

    /// A closure in a struct is stored as it is; behind a generic pointer of its own it would be wrapped, on the heap.
    private struct Work {
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
        var helpers: UInt64 { bits & (Self.seat - 1) / Self.helper }
        var seats: UInt64 { bits % Self.number / Self.seat }
        var number: UInt64 { bits / Self.number }
    }

    /// What a mutex and the gate guard; at a fixed address, as the C library wants it.
    private struct Shared {
        var mutex = pthread_mutex_t()
        var wake = pthread_cond_t()
        var done = pthread_cond_t()
        var workers = 0
        var work: UnsafePointer<Work>?
        var chunks = 0
    }

    /// Nanoseconds.
    private static let lookout = 30_000
    /// Helpers that a gate has room for.
    private static let mostWorkers = 1023

    private let gate = Atomic<UInt64>(0)
    private let next = Atomic<Int>(0)
    private let sleepers = Atomic<Int>(0)
    private let isBusy = Atomic<Bool>(false)
    private nonisolated(unsafe) let shared: UnsafeMutablePointer<Shared>

    private init() {
        shared = .allocate(capacity: 1)
        shared.initialize(to: Shared())
        pthread_mutex_init(&shared.pointee.mutex, nil)
        pthread_cond_init(&shared.pointee.wake, nil)
        pthread_cond_init(&shared.pointee.done, nil)
    }

    /// Runs `body(0) ... body(chunks - 1)` on the calling thread and at most `threads - 1` others, and returns when all
    /// are done. Within a loop, or beside one of another thread, the caller does everything itself.
    func run(chunks: Int, threads: Int, _ body: (Int) -> Void) {
        if isBusy.exchange(true, ordering: .acquiring) {
            for chunk in 0..<chunks { body(chunk) }
            return
        }
        defer { isBusy.store(false, ordering: .releasing) }
        // The call returns only when every chunk is done: the closure neither escapes nor outlives what it captures.
        withoutActuallyEscaping(body) { body in
            withUnsafePointer(to: Work(body: body)) { work in
                open(work, chunks: chunks, helpers: min(threads, chunks) - 1)
                takeChunks(of: work, count: chunks)
                close()
            }
        }
    }

    // MARK: - The caller

    private func open(_ work: UnsafePointer<Work>, chunks: Int, helpers: Int) {
        let helpers = hire(min(helpers, Self.mostWorkers))
        shared.pointee.work = work
        shared.pointee.chunks = chunks
        next.store(0, ordering: .relaxed)
        let number = Gate(bits: gate.load(ordering: .relaxed)).number &+ 1
        gate.store(
            number << 32 | UInt64(helpers) * Gate.seat | Gate.open, ordering: .sequentiallyConsistent)
        let asleep = sleepers.load(ordering: .sequentiallyConsistent)
        if asleep > 0 {
            pthread_mutex_lock(&shared.pointee.mutex)
            if asleep <= helpers {
                pthread_cond_broadcast(&shared.pointee.wake)
            } else {
                for _ in 0..<helpers { pthread_cond_signal(&shared.pointee.wake) }
            }
            pthread_mutex_unlock(&shared.pointee.mutex)
        }
    }

    private func close() {
        var state = Gate(bits: gate.bitwiseAnd(~Gate.open, ordering: .acquiringAndReleasing).newValue)
        if state.helpers == 0 { return }
        let start = now()
        repeat {
            ck_pause()
            state = Gate(bits: gate.load(ordering: .acquiring))
            if state.helpers == 0 { return }
        } while now() - start < Self.lookout
        pthread_mutex_lock(&shared.pointee.mutex)
        state = Gate(bits: gate.bitwiseOr(Gate.callerSleeps, ordering: .acquiringAndReleasing).newValue)
        while state.helpers > 0 {
            pthread_cond_wait(&shared.pointee.done, &shared.pointee.mutex)
            state = Gate(bits: gate.load(ordering: .acquiring))
        }
        pthread_mutex_unlock(&shared.pointee.mutex)
    }

    /// Makes threads until there are `wanted`; returns how many of those there are.
    private func hire(_ wanted: Int) -> Int {
        while shared.pointee.workers < wanted {
            guard startThread() else { return shared.pointee.workers }
            shared.pointee.workers += 1
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
        let status = pthread_create(
            &thread, nil, { _ in WorkerPool.shared.work() }, nil)
        if status == 0 { pthread_detach(thread) }
        return status == 0
    }

    // MARK: - Helpers

    private func work() -> Never {
        var last: UInt64 = 0
        while true {
            last = join(after: last)
            if let work = shared.pointee.work { takeChunks(of: work, count: shared.pointee.chunks) }
            let state = Gate(bits: gate.wrappingSubtract(Gate.helper, ordering: .acquiringAndReleasing).newValue)
            if state.callerSleeps && state.helpers == 0 {
                pthread_mutex_lock(&shared.pointee.mutex)
                pthread_cond_signal(&shared.pointee.done)
                pthread_mutex_unlock(&shared.pointee.mutex)
            }
        }
    }

    private func takeChunks(of work: UnsafePointer<Work>, count: Int) {
        while true {
            let chunk = next.wrappingAdd(1, ordering: .relaxed).oldValue
            if chunk >= count { return }
            work.pointee.body(chunk)
        }
    }

    /// Waits for a loop other than `last` and takes a seat in it; returns its number.
    private func join(after last: UInt64) -> UInt64 {
        let start = now()
        repeat {
            if let number = takeSeat(after: last) { return number }
            ck_pause()
        } while now() - start < Self.lookout
        pthread_mutex_lock(&shared.pointee.mutex)
        defer { pthread_mutex_unlock(&shared.pointee.mutex) }
        // A caller opens the gate and then counts sleepers, a sleeper is counted and then tries the gate: one sees the other.
        sleepers.wrappingAdd(1, ordering: .sequentiallyConsistent)
        defer { sleepers.wrappingSubtract(1, ordering: .sequentiallyConsistent) }
        while true {
            if let number = takeSeat(after: last) { return number }
            pthread_cond_wait(&shared.pointee.wake, &shared.pointee.mutex)
        }
    }

    private func takeSeat(after last: UInt64) -> UInt64? {
        var state = Gate(bits: gate.load(ordering: .sequentiallyConsistent))
        while state.isOpen && state.seats > 0 && state.number != last {
            let (exchanged, original) = gate.weakCompareExchange(
                expected: state.bits, desired: state.bits - Gate.seat + Gate.helper, ordering: .acquiring)
            if exchanged { return state.number }
            state.bits = original
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
