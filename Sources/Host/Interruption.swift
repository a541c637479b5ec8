import Dispatch
import Foundation
import Glibc
import PluginRuntime
import Synchronization

private let interruptions = Atomic<Int>(0)

// A signal handler may count and write, and little more.
private func noteInterruption(_: Int32) {
    let isFirst = interruptions.add(1, ordering: .relaxed).newValue == 1
    if isFirst {
        CrashReport.writeCurrentCall(
            "\nstopping after this step, which is inside of ", "; once more ends it at once, without a checkpoint\n")
    } else {
        CrashReport.writeCurrentCall("\nended inside of ", "\n")
        _exit(130)
    }
}

/// Whether Ctrl-C has been pressed: the first asks for a checkpoint, the second ends the process. Both name the plugin that
/// is being called, if one is: it may never return.
enum Interruption {
    static var isRequested: Bool { interruptions.load(ordering: .relaxed) > 0 }

    static func install() {
        // A parent may have started us with these blocked; then Ctrl-C would never arrive.
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGINT)
        sigaddset(&signals, SIGTERM)
        pthread_sigmask(SIG_UNBLOCK, &signals, nil)
        // Makes what it reads, which a handler may not.
        CrashReport.writeCurrentCall("", "")
        signal(SIGINT, noteInterruption)
        signal(SIGTERM, noteInterruption)
    }
}

/// Tells of a hook that takes long, once: a run that seems to stand still may be waiting for a plugin.
final class HookWatch {
    private static let patience = 10.0
    private let timer = DispatchSource.makeTimerSource(queue: .global(qos: .utility))

    init() {
        let seen = Mutex<(number: Int, since: Date, isTold: Bool)>((0, Date(), false))
        timer.setEventHandler {
            guard let call = CrashReport.currentCall() else { return }
            let text = seen.withLock { state -> String? in
                if state.number != call.number { state = (call.number, Date(), false) }
                let seconds = Date().timeIntervalSince(state.since)
                guard !state.isTold, seconds >= Self.patience else { return nil }
                state.isTold = true
                return "\(call.text), has been running for \(Int(seconds)) s; pressing Ctrl-C twice ends it\n"
            }
            if let text { FileHandle.standardError.write(Data(text.utf8)) }
        }
        timer.schedule(deadline: .now() + 1, repeating: 1)
        timer.resume()
    }

    func stop() { timer.cancel() }
}
