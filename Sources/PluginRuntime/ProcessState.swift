import Glibc
import Synchronization

/// What a process has only one of and a plugin must leave as it is: the working directory, the handlers of signals and which
/// of them are blocked, the mask of new files' permissions, the locale.
///
/// Whatever a plugin changed is put back, so that a host that ends for it still ends in its own folder, with its own handlers.
package final class ProcessState {
    /// Whether changes are looked for at all. A host whose other threads change these themselves, as a Python process may,
    /// turns it off: it would blame plugins for them.
    static let isWatched = Atomic<Bool>(true)

    private static let signals: [(number: Int32, name: String)] = [
        (SIGINT, "SIGINT"), (SIGTERM, "SIGTERM"), (SIGHUP, "SIGHUP"), (SIGPIPE, "SIGPIPE"), (SIGSEGV, "SIGSEGV"),
        (SIGBUS, "SIGBUS"), (SIGFPE, "SIGFPE"), (SIGILL, "SIGILL"), (SIGABRT, "SIGABRT"), (SIGUSR1, "SIGUSR1"),
        (SIGUSR2, "SIGUSR2"),
    ]

    private var folder = stat()
    /// The working directory, open, to find back to it; -1 when the system gives none.
    private var folderHandle: Int32 = -1
    private let actions: UnsafeMutablePointer<sigaction>
    private var blocked = sigset_t()
    private var mask: mode_t?
    private var locale = ""
    private var threadLocale: locale_t?

    init() {
        actions = .allocate(capacity: Self.signals.count)
        actions.initialize(repeating: sigaction(), count: Self.signals.count)
    }

    deinit {
        actions.deallocate()
        if folderHandle >= 0 { close(folderHandle) }
    }

    /// Remembers the present state.
    func record() {
        var now = stat()
        if stat(".", &now) != 0 || folderHandle < 0 || now.st_ino != folder.st_ino || now.st_dev != folder.st_dev {
            if folderHandle >= 0 { close(folderHandle) }
            folderHandle = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        }
        folder = now
        for (index, signal) in Self.signals.enumerated() { actions[index] = Self.action(signal.number) }
        sigemptyset(&blocked)
        pthread_sigmask(SIG_BLOCK, nil, &blocked)
        mask = Self.fileMask()
        locale = Self.localeText()
        threadLocale = uselocale(nil)
    }

    /// Puts back what is not as it was recorded; returns what that was.
    func restore() -> [String] {
        var changed: [String] = []
        var now = stat()
        if stat(".", &now) != 0 || now.st_ino != folder.st_ino || now.st_dev != folder.st_dev {
            changed.append("the working directory")
            if folderHandle >= 0 { _ = fchdir(folderHandle) }
        }
        for (index, signal) in Self.signals.enumerated() where !Self.isSame(Self.action(signal.number), actions[index])
        {
            changed.append("the handler of \(signal.name)")
            sigaction(signal.number, actions + index, nil)
        }
        var nowBlocked = sigset_t()
        sigemptyset(&nowBlocked)
        pthread_sigmask(SIG_BLOCK, nil, &nowBlocked)
        if (1..<65).contains(where: { sigismember(&nowBlocked, $0) != sigismember(&blocked, $0) }) {
            changed.append("the blocked signals")
            pthread_sigmask(SIG_SETMASK, &blocked, nil)
        }
        if let mask, let now = Self.fileMask(), now != mask {
            changed.append("the file mode mask")
            umask(mask)
        }
        if uselocale(nil) != threadLocale {
            changed.append("the thread's locale")
            uselocale(threadLocale)
        }
        if Self.localeText() != locale {
            changed.append("the locale")
            setlocale(LC_ALL, locale)
        }
        return changed
    }

    private static func action(_ signal: Int32) -> sigaction {
        var action = sigaction()
        sigaction(signal, nil, &action)
        return action
    }

    private static func isSame(_ one: sigaction, _ other: sigaction) -> Bool {
        // A handler is the same address, whatever it takes.
        unsafeBitCast(one.__sigaction_handler.sa_sigaction, to: UInt.self)
            == unsafeBitCast(other.__sigaction_handler.sa_sigaction, to: UInt.self) && one.sa_flags == other.sa_flags
    }

    private static func localeText() -> String { setlocale(LC_ALL, nil).map { String(cString: $0) } ?? "" }

    /// From the kernel's own account: `umask` tells it only by changing it, which other threads would notice.
    private static func fileMask() -> mode_t? {
        let file = open("/proc/self/status", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256) { buffer in
            // "Name:\tcraft\nUmask:\t0022\n..."
            let text = UnsafeRawBufferPointer(buffer)
            let count = read(file, buffer.baseAddress, text.count)
            guard count > 0 else { return nil }
            let label = Array("\nUmask:\t".utf8)
            guard
                let start = (0..<max(0, count - label.count - 3)).first(where: {
                    text[$0..<$0 + label.count].elementsEqual(label)
                })
            else { return nil }
            return text[(start + label.count)..<count].prefix { (0x30...0x37).contains($0) }
                .reduce(mode_t(0)) { $0 * 8 + mode_t($1 - 0x30) }
        }
    }

    // MARK: - Around single calls

    /// Runs a call into a plugin; returns what it changed, which is put back.
    static func changes(by body: () -> Void) -> [String] {
        guard isWatched.load(ordering: .relaxed) else {
            body()
            return []
        }
        let state = ProcessState()
        state.record()
        body()
        return state.restore()
    }

    /// "it changed the working directory and the locale, ...".
    static func sentence(_ changes: [String]) -> String {
        let list =
            changes.count < 2
            ? changes.joined() : "\(changes.dropLast().joined(separator: ", ")) and \(changes[changes.count - 1])"
        return
            "it changed \(list), which \(changes.count == 1 ? "belongs" : "belong") to the host: a plugin leaves the process "
            + "as it found it"
    }
}

extension ProcessState {
    /// Turns looking for changes off or on, for all sessions of the process.
    package static func watch(_ isOn: Bool) { isWatched.store(isOn, ordering: .relaxed) }
}

/// Looks after the hooks of a session: whether one of them changed what belongs to the host.
///
/// To look costs some microseconds more than many a hook. It is done after each of the first calls, when a plugin that sets up
/// something does so, and then so rarely that it takes a thousandth of the time. Those called since the last look are then
/// named together, if they are several.
final class HookGuard {
    private static let firstCalls = 64
    private static let pause: UInt64 = 20_000_000

    private let state = ProcessState()
    private var calls = 0
    private var step = 0
    private var lastLook: UInt64 = 0
    /// Called since the last look, each once.
    private var suspects: [BoundHook] = []

    private var isDue: Bool { calls < Self.firstCalls || Self.now() - lastLook >= Self.pause }

    /// To be called before hooks run, when the host may have changed something since they last did.
    func begin() {
        // What hooks did since the last look would pass for the host's.
        guard ProcessState.isWatched.load(ordering: .relaxed), suspects.isEmpty, isDue else { return }
        state.record()
    }

    /// To be called after a hook. Throws ``PluginFailure``.
    func check(_ hook: BoundHook, step: Int) throws {
        guard ProcessState.isWatched.load(ordering: .relaxed) else { return }
        if !suspects.contains(where: { $0 === hook }) { suspects.append(hook) }
        self.step = step
        let isDue = isDue
        calls += 1
        if isDue { try settle() }
    }

    /// Looks now, if something was called since the last look. Throws ``PluginFailure``.
    func settle() throws {
        guard let last = suspects.last else { return }
        lastLook = Self.now()
        let changes = state.restore()
        defer { suspects.removeAll(keepingCapacity: true) }
        guard !changes.isEmpty else { return }
        var message = ProcessState.sentence(changes)
        if suspects.count > 1 {
            let list = suspects.map { "\($0.instance) (\($0.point.rawValue))" }
            message = "it or one that was called before it, of \(list.joined(separator: ", ")): " + message
        }
        throw PluginFailure(plugin: last.instance, point: last.point, step: step, message: message, kind: .error)
    }

    private static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
