import Dispatch
import Foundation
import Synchronization

/// Lets so many checks run at a time.
package struct CheckPool {
    private let slots: DispatchSemaphore

    package init(jobs: Int) { slots = DispatchSemaphore(value: jobs) }

    package func start<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) -> PendingResult<Value> {
        let result = PendingResult<Value>()
        // A thread each: they wait for processes.
        Thread.detachNewThread {
            slots.wait()
            let outcome = Result { try body() }
            slots.signal()
            result.set(outcome)
        }
        return result
    }
}

/// What a check that was started comes to.
package final class PendingResult<Value: Sendable>: Sendable {
    private let outcome = Mutex<Result<Value, any Error>?>(nil)
    private let done = DispatchSemaphore(value: 0)

    package func set(_ result: Result<Value, any Error>) {
        outcome.withLock { $0 = result }
        done.signal()
    }

    /// Waits for it; to be called once.
    package func get() throws -> Value {
        done.wait()
        guard let result = outcome.withLock({ $0 }) else { throw CheckProblem("a check ended without a result") }
        return try result.get()
    }
}

/// The checks of one plugin, as they are made.
package struct PendingValidation {
    private let process: CheckProcess
    private let checks: [PluginCheck]
    private let load: PendingResult<(message: CheckMessage, seconds: Double)>
    private let pool: CheckPool

    package var path: String { process.path }

    /// Starts the first one: what does not load is not checked further.
    package init(_ process: CheckProcess, checks: [PluginCheck], pool: CheckPool) {
        self.process = process
        self.checks = PluginCheck.allCases.filter { $0 != .load && checks.contains($0) }
        self.pool = pool
        load = pool.start { try Self.timed(.load, process) }
    }

    /// Waits for the checks in turn. Throws ``CheckProblem`` when the file is not a plugin.
    package func report(_ progress: (CheckReport) -> Void) throws -> ValidationReport {
        var report = ValidationReport(process)
        let first = try load.get()
        if first.message.isNoPlugin, let problem = first.message.problem { throw CheckProblem(problem) }
        progress(report.add(.load, first.message, seconds: first.seconds))
        guard report.passed else {
            for check in checks { progress(report.add(check, nil, seconds: 0)) }
            return report
        }
        let process = process
        let started = checks.map { check in (check, pool.start { try Self.timed(check, process) }) }
        for (check, pending) in started {
            let (message, seconds) = try pending.get()
            progress(report.add(check, message, seconds: seconds))
        }
        return report
    }

    private static func timed(_ check: PluginCheck, _ process: CheckProcess) throws -> (
        message: CheckMessage, seconds: Double
    ) {
        let start = ContinuousClock.now
        let message = try run(check, process)
        return (message, Double((ContinuousClock.now - start) / .milliseconds(1)) / 1000)
    }

    private static func run(_ check: PluginCheck, _ process: CheckProcess) throws -> CheckMessage {
        func once() throws -> CheckMessage {
            switch try process.run(check) {
            case .finished(let message): message
            case .died(let how): CheckMessage(problem: how)
            }
        }
        var message = try once()
        switch check {
        case .scan:
            // A busy machine is not the plugin's fault: the best of three counts.
            for _ in 0..<2 where message.problem != nil { message = try once() }
        case .determinism where message.problem == nil:
            let other = try once()
            if other.problem != nil { return other }
            if other.digest != message.digest {
                message.problem =
                    "two processes with the same input and seed get different results: "
                    + "no process id, no addresses, no environment"
            }
        default: break
        }
        return message
    }
}
