import CMalloc
import Foundation
import Glibc
import PluginRuntime

/// Creating and destroying, once and a thousand times.
package enum LifetimeChecks {
    private static let lifetimes = 1000
    /// Bytes; the smallest block of the C library takes twice as many, and some hundred lifetimes' worth is noise.
    private static let leastLeak = 16

    private struct Usage {
        var heap: Int
        var resident: Int
        var files: Int

        static func now() -> Usage {
            let info = mallinfo2()
            let manager = FileManager.default
            let pages = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8))?.split(separator: " ")
            let resident = pages.flatMap { $0.count > 1 ? Int($0[1]) : nil } ?? 0
            return Usage(
                heap: Int(info.uordblks) + Int(info.hblkhd), resident: resident * sysconf(Int32(_SC_PAGESIZE)),
                files: (try? manager.contentsOfDirectory(atPath: "/proc/self/fd").count) ?? 0)
        }
    }

    package static func leaks(_ plugin: TrialPlugin) throws -> String? {
        let trial = TrialCase.all(.random)[14]
        func live() throws {
            let instance = try plugin.makeInstance()
            _ = try plugin.run(instance, trial, steps: 0..<1)
            try instance.loadState(instance.saveState())
        }
        let threads = Self.threads()
        // The first lifetimes fill caches, of the plugin's runtime too.
        for _ in 0..<100 { try live() }
        _ = Usage.now()
        let before = Usage.now()
        for _ in 0..<lifetimes { try live() }
        let after = Usage.now()
        let heap = after.heap - before.heap
        if heap >= leastLeak * lifetimes {
            throw CheckProblem(
                "it leaks: \(lifetimes) lifetimes (create, hooks, save, load, destroy) leave \(heap) bytes of heap, "
                    + "\(heap / lifetimes) each")
        }
        let resident = after.resident - before.resident
        if resident >= 4096 * lifetimes {
            throw CheckProblem(
                "it leaks: \(lifetimes) lifetimes take \(resident) bytes of memory, \(resident / lifetimes) each")
        }
        if after.files > before.files {
            throw CheckProblem("it leaks: \(lifetimes) lifetimes leave \(after.files - before.files) files open")
        }
        // Started once or each time: with the last instance the last thread has to end.
        var left = Self.threads().subtracting(threads)
        for _ in 0..<100 where !left.isEmpty {
            usleep(10_000)
            left = Self.threads().subtracting(threads)
        }
        if !left.isEmpty {
            let names = Set(left.map { Self.name(ofThread: $0) }).sorted().map { "'\($0)'" }.joined(separator: ", ")
            throw CheckProblem(
                "it leaves \(left.count == 1 ? "a thread" : "\(left.count) threads") running after destroy, by the name of \(names): "
                    + "end and join it there")
        }
        return nil
    }

    /// Numbers of this process's threads.
    private static func threads() -> Set<String> {
        Set((try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/task")) ?? [])
    }

    private static func name(ofThread thread: String) -> String {
        let text = try? String(contentsOfFile: "/proc/self/task/\(thread)/comm", encoding: .utf8)
        return text?.trimmingCharacters(in: .whitespacesAndNewlines) ?? thread
    }

    /// What a process has only one of.
    package static func process(_ plugin: TrialPlugin) throws -> String? {
        if plugin.library.changedArithmetic {
            throw CheckProblem(
                "opening it changes the floating-point environment of the host (put back): -ffast-math given to the linker adds a "
                    + "constructor that flushes small numbers to zero; give it to the compiler only")
        }
        for trial in TrialCase.all(.random).filter({ $0.variation % 3 == 0 }) {
            let instance = try plugin.makeInstance()
            for call in try plugin.run(instance, trial, steps: 0..<4, watchesProcess: true)
            where !call.outcome.process.isEmpty {
                throw CheckProblem("\(call.place): it changed \(call.outcome.process.joined(separator: ", "))")
            }
            try instance.loadState(instance.saveState())
            try instance.reset()
        }
        return nil
    }

    /// What an instance does when it is alone it has to do while another one works beside it.
    package static func instances(_ plugin: TrialPlugin) throws -> String? {
        for trial in TrialCase.all(.random).filter({ $0.variation % 3 == 0 }) {
            let steps = 0..<4
            let alone = try (0..<2).map { stream in
                try plugin.run(try plugin.makeInstance(), trial, steps: steps, stream: UInt64(stream))
            }
            let pair = try (0..<2).map { _ in try plugin.makeInstance() }
            var together: [[TrialCall]] = [[], []]
            for step in steps {
                for (stream, instance) in pair.enumerated() {
                    together[stream] += try plugin.run(
                        instance, trial, steps: step..<step + 1, stream: UInt64(stream))
                }
            }
            for (one, other) in zip(alone[0] + alone[1], together[0] + together[1]) {
                if let difference = one.difference(from: other) {
                    throw CheckProblem(
                        "\(one.place): an instance differs in \(difference) when another one is used between its calls: "
                            + "they share state")
                }
            }
        }
        return nil
    }
}
