import Foundation
package import PluginRuntime

/// One call of a hook and what came of it.
package struct TrialCall: Equatable {
    package var point: HookPoint
    /// "gradient_combine hook, step 2".
    package var place: String
    package var outcome: TrialOutcome
}

/// What a check found.
package struct CheckProblem: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}

/// The plugin that a check process works on.
package struct TrialPlugin {
    package let library: PluginLibrary
    package let request: PluginRequest
    package let seed: UInt64

    package func makeInstance(_ settings: [String: String] = [:]) throws -> PluginInstance {
        var request = request
        request.settings.merge(settings) { _, new in new }
        do {
            return try PluginInstance(library: library, request: request)
        } catch let error as PluginStateError {
            throw CheckProblem("create refused: \(error.message)")
        }
    }

    /// Calls the hooks of `steps` as a run would: `plan` before step 0, then each step's points in order.
    package func run(
        _ instance: PluginInstance, _ trial: TrialCase, steps: Range<Int>, stream: UInt64 = 0,
        layout: TrialLayout = .roomy, watchesProcess: Bool = false
    ) throws -> [TrialCall] {
        let hooks = HookTrial.all(of: instance)
        let inputs = TrialInputs(seed: seed &+ stream, trial: trial, hooks: hooks, of: instance)
        var calls: [TrialCall] = []
        func call(_ point: HookPoint, _ step: Int) throws {
            for hook in hooks where hook.point == point {
                guard let values = inputs.values(of: hook, step: step) else { continue }
                let outcome = try hook.call(
                    values, step: step, layout: layout, context: "\(trial)", watchesProcess: watchesProcess)
                calls.append(
                    TrialCall(point: point, place: "\(point.rawValue) hook, step \(step), \(trial)", outcome: outcome))
            }
        }
        if steps.lowerBound == 0 { try call(.plan, 0) }
        if let first = steps.first, first > 0 { try inputs.skip(first - 1) }
        for step in steps {
            for point in TrialInputs.stepPoints {
                try inputs.offer(point, step: step)
                try call(point, step)
            }
            inputs.endStep()
        }
        return calls
    }
}

extension TrialCall {
    /// A failure has to say why.
    package func checkMessage() throws {
        if outcome.status != 0 && outcome.message.isEmpty {
            throw CheckProblem(
                "\(place): it failed with status \(outcome.status) and no message; say why with craft_fail")
        }
    }

    /// Results of a call that succeeded are numbers.
    package func checkFinite() throws {
        try checkMessage()
        guard outcome.status == 0 else { return }
        for result in outcome.results {
            if let element = result.nonFinite.first {
                let location = result.type.isArray ? " at element \(element) of shape \(result.shape)" : ""
                throw CheckProblem(
                    "\(place): it succeeded, but result '\(result.name)' is not finite\(location); "
                        + "return an error instead")
            }
        }
    }

    /// A call that succeeded has written every element of every required result, and of an optional one every element or none.
    package func checkWritten() throws {
        guard outcome.status == 0 else { return }
        for result in outcome.results {
            guard let element = result.unwritten.first, let count = result.bytes?.count else { continue }
            if result.isOptional, result.unwritten.count == count / result.type.element.size { continue }
            if !result.type.isArray {
                throw CheckProblem("\(place): it did not write its result '\(result.name)'")
            }
            throw CheckProblem(
                "\(place): it did not write element \(element) of \(count / result.type.element.size) of its result "
                    + "'\(result.name)' (shape \(result.shape))")
        }
    }

    package func checkBounds() throws {
        if let name = outcome.overrun.first { throw CheckProblem("\(place): it wrote beyond the bounds of \(name)") }
    }

    package func checkConstants() throws {
        if let name = outcome.changed.first { throw CheckProblem("\(place): it changed the read-only \(name)") }
    }

    /// The first thing in which two calls differ; `nil` when they are the same to the byte.
    package func difference(from other: TrialCall) -> String? {
        if outcome.status != other.outcome.status {
            return "status \(outcome.status) and \(other.outcome.status)"
        }
        if outcome.message != other.outcome.message {
            return "the messages \"\(outcome.message)\" and \"\(other.outcome.message)\""
        }
        for (mine, theirs) in zip(outcome.results, other.outcome.results) where mine.bytes != theirs.bytes {
            return "result '\(mine.name)'"
        }
        return nil
    }
}
