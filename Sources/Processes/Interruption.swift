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
package enum Interruption {
    package static var isRequested: Bool { interruptions.load(ordering: .relaxed) > 0 }

    package static func install() {
        // A parent may have started us with these blocked; then Ctrl-C would never arrive.
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGINT)
        sigaddset(&signals, SIGTERM)
        sigaddset(&signals, SIGUSR1)
        pthread_sigmask(SIG_UNBLOCK, &signals, nil)
        signal(SIGINT, noteInterruption)
        signal(SIGTERM, noteInterruption)
        // What Slurm is asked to send ahead of its time limit, and mpirun passes on.
        signal(SIGUSR1, noteInterruption)
    }
}

/// Tells of a call into a plugin that takes long, once: a run that seems to stand still may be waiting for it.
package final class HookWatch {
    private static let patience = 10.0
    private let timer = DispatchSource.makeTimerSource(queue: .global(qos: .utility))

    package init() {
        // By call: when it was seen first. Calls that are told of have no time any more.
        let seen = Mutex<[Int: Date?]>([:])
        timer.setEventHandler {
            let calls = CrashReport.currentCalls()
            let now = Date()
            let lines = seen.withLock { seen -> [String] in
                seen = seen.filter { known in calls.contains { $0.number == known.key } }
                return calls.compactMap { call in
                    guard let since = seen[call.number, default: now] else { return nil }
                    let seconds = now.timeIntervalSince(since)
                    seen[call.number] = .some(seconds < Self.patience ? since : nil)
                    return seconds < Self.patience
                        ? nil
                        : "\(call.text), has been running for \(Int(seconds)) s; pressing Ctrl-C ends it, in a run twice\n"
                }
            }
            for line in lines { FileHandle.standardError.write(Data(line.utf8)) }
        }
        timer.schedule(deadline: .now() + 1, repeating: 1)
        timer.resume()
    }

    package func stop() { timer.cancel() }
}
