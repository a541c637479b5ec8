import Formats
import Foundation
import PluginRuntime
import Tensors

/// Saving, restoring and resetting.
package enum StateChecks {
    private static let cases = TrialCase.all(.random).filter { $0.variation % 3 == 0 }

    /// What is saved after three steps has to take a new instance to the same place, however little a read gives.
    package static func roundTrip(_ plugin: TrialPlugin) throws -> String? {
        for (index, trial) in cases.enumerated() {
            let original = try plugin.makeInstance()
            _ = try plugin.run(original, trial, steps: 0..<3)
            let state = try original.saveState()
            guard try original.saveState() == state else {
                throw CheckProblem("saving twice gives different bytes")
            }
            let restored = try plugin.makeInstance()
            // A resumed run plans first, as a new one does.
            _ = try plugin.run(restored, trial, steps: 0..<0)
            do {
                try restored.loadState(state, readLimit: [Int.max, 1, 7][index % 3])
            } catch {
                let limit = ["", ", one byte at a time", ", seven bytes at a time"][index % 3]
                throw CheckProblem("it does not load what it saved\(limit): \(error)")
            }
            guard try restored.saveState() == state else {
                throw CheckProblem("saving, loading into a new instance and saving again gives other bytes")
            }
            let further = zip(
                try plugin.run(original, trial, steps: 3..<6), try plugin.run(restored, trial, steps: 3..<6))
            for (one, other) in further {
                if let difference = one.difference(from: other) {
                    let reason =
                        original.isStateful
                        ? "its saved state is incomplete" : "it has state but no save function"
                    throw CheckProblem(
                        "\(one.place): a restored instance differs from the original in \(difference): \(reason)")
                }
            }
            let ends = [try original.saveState(), try restored.saveState()]
            guard ends[0] == ends[1] else {
                throw CheckProblem("after loading, three further steps lead to other saved bytes than in the original")
            }
        }
        return try plugin.makeInstance().isStateful ? nil : "stateless"
    }

    package static func damaged(_ plugin: TrialPlugin) throws -> String? {
        let trial = cases[cases.count - 1]
        let instance = try plugin.makeInstance()
        guard instance.isStateful else { return "stateless" }
        _ = try plugin.run(instance, trial, steps: 0..<3)
        let state = try instance.saveState()
        let header = state.prefix(instance.stateHeaderSize)
        let body = [UInt8](state.dropFirst(instance.stateHeaderSize))
        for length in Set((0..<min(body.count, 64)) + [body.count / 2, body.count - 1]).sorted()
        where length >= 0 && length < body.count {
            guard try !loads(header + body[..<length], into: plugin, trial) else {
                throw CheckProblem("it accepts its state cut from \(body.count) to \(length) bytes as if it were whole")
            }
        }
        guard try !loads(header + body + [0], into: plugin, trial) else {
            throw CheckProblem("it accepts its state with a byte too many")
        }
        var random = RandomGenerator(seed: plugin.seed, stream: RandomGenerator.stream("state"))
        // Random bytes of the right length can be a state: they may be accepted, but not end the process.
        for length in [body.count, body.count, body.count, 1, 1 << 20] {
            _ = try loads(
                header + (0..<length).map { _ in UInt8(truncatingIfNeeded: random.next()) }, into: plugin, trial)
        }
        for bit in 0..<min(8 * body.count, 256) {
            var changed = body
            changed[bit / 8] ^= 1 << UInt8(bit % 8)
            _ = try loads(header + changed, into: plugin, trial)
        }
        return nil
    }

    /// Whether the plugin takes the bytes. An instance that refuses must be as before; one that takes them must go on
    /// without ending the process.
    private static func loads(_ state: Data, into plugin: TrialPlugin, _ trial: TrialCase) throws -> Bool {
        let instance = try plugin.makeInstance()
        _ = try plugin.run(instance, trial, steps: 0..<1)
        let before = try instance.saveState()
        do {
            try instance.loadState(state)
        } catch let error {
            if error.message.hasSuffix("no message") { throw CheckProblem("load: \(error.message)") }
            // Bytes left over are found by the host, after the plugin took the others.
            let isHosts = error.message.contains("longer than what the plugin reads")
            let after = try instance.saveState()
            guard isHosts || after == before else {
                throw CheckProblem("a load that fails changes the instance; it has to stay as before")
            }
            return false
        }
        _ = try plugin.run(instance, trial, steps: 1..<3)
        return true
    }

    package static func reset(_ plugin: TrialPlugin) throws -> String? {
        guard plugin.library.canReset else { return "it has no reset function" }
        for trial in cases {
            let instance = try plugin.makeInstance()
            let fresh = try instance.saveState()
            let first = try plugin.run(instance, trial, steps: 0..<3)
            try instance.reset()
            guard try instance.saveState() == fresh else {
                throw CheckProblem("after reset it saves other bytes than right after create")
            }
            for (one, other) in zip(first, try plugin.run(instance, trial, steps: 0..<3)) {
                if let difference = one.difference(from: other) {
                    throw CheckProblem("\(one.place): after reset, the same input differs in \(difference)")
                }
            }
        }
        return nil
    }
}
