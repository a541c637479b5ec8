import CMalloc
import Formats
import Foundation
import Glibc
package import PluginRuntime

/// What hooks do with ordinary and with extreme values, and with the memory the values are in.
package enum ValueChecks {
    package static func finite(_ plugin: TrialPlugin, _ kind: TrialKind) throws -> String? {
        try runAll(plugin, kind) { try $0.checkFinite() }
    }

    /// What is not a number may come out of `pre_backward` as such; other hooks have to refuse it. It may not stay: afterwards ordinary input has to give ordinary results again.
    package static func notANumber(_ plugin: TrialPlugin) throws -> String? {
        var ordinary = TrialCase.all(.random)
        for (index, trial) in TrialCase.all(.nan).enumerated() {
            let instance = try plugin.makeInstance()
            for call in try plugin.run(instance, trial, steps: 0..<2) {
                // A loss that is not a number is how the host learns of it: it names the plugin, and may skip the step.
                if call.point == .preBackward { try call.checkMessage() } else { try call.checkFinite() }
            }
            ordinary[index].variation = trial.variation
            for call in try plugin.run(instance, ordinary[index], steps: 2..<4) {
                do {
                    try call.checkFinite()
                } catch {
                    throw CheckProblem("after NaN input, with ordinary input again: \(error)")
                }
            }
        }
        return nil
    }

    package static func results(_ plugin: TrialPlugin) throws -> String? {
        try runAll(plugin, .random) { try $0.checkWritten() }
    }

    package static func memory(
        _ plugin: TrialPlugin, _ layouts: [TrialLayout], _ check: (TrialCall) throws -> Void
    ) throws -> String? {
        for layout in layouts {
            for kind in [TrialKind.random, .zero] {
                for trial in TrialCase.all(kind) {
                    let instance = try plugin.makeInstance()
                    for call in try plugin.run(instance, trial, steps: 0..<2, layout: layout) { try check(call) }
                }
            }
        }
        return nil
    }

    /// Two fresh instances in fresh memory of different contents, in different seconds.
    package static func determinism(_ plugin: TrialPlugin) throws -> String? {
        let cases = TrialCase.all(.random)
        func all() throws -> [TrialCall] {
            try cases.flatMap { try plugin.run(try plugin.makeInstance(), $0, steps: 0..<3) }
        }
        mallopt(M_PERTURB, 0x5a)
        let first = try all()
        let second = time(nil)
        while time(nil) == second { usleep(10_000) }
        mallopt(M_PERTURB, 0xa5)
        for (one, other) in zip(first, try all()) {
            if let difference = one.difference(from: other) {
                throw CheckProblem(
                    "\(one.place): two fresh instances with the same input differ in \(difference); no clock, no random "
                        + "device, no uninitialised memory")
            }
        }
        return nil
    }

    /// A fingerprint of every result, equal in every process that has the same plugin and seed.
    package static func digest(_ plugin: TrialPlugin) throws -> String {
        var hash = FNV1a()
        for trial in TrialCase.all(.random) {
            for call in try plugin.run(try plugin.makeInstance(), trial, steps: 0..<3) {
                hash.add(call.outcome.results.flatMap { $0.bytes ?? [] })
                hash.add(call.outcome.message.utf8)
            }
        }
        return String(hash.value, radix: 16)
    }

    private static func runAll(
        _ plugin: TrialPlugin, _ kind: TrialKind, _ check: (TrialCall) throws -> Void
    ) throws -> String? {
        var (count, refused) = (0, 0)
        var reason = ""
        for trial in TrialCase.all(kind) {
            for call in try plugin.run(try plugin.makeInstance(), trial, steps: 0..<3) {
                try check(call)
                count += 1
                if call.outcome.status != 0 {
                    refused += 1
                    if reason.isEmpty { reason = call.outcome.message }
                }
            }
        }
        return refused == 0 ? nil : "refused \(refused) of \(count) calls: \(reason)"
    }
}
