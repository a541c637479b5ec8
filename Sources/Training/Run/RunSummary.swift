internal import Foundation

/// How a run ended.
package struct RunSummary: Sendable {
    package var path: String
    /// Steps done in all, and whether the run was asked to stop before the last.
    package var steps: Int
    package var wasStopped: Bool
    /// Means over the last tenth of this process's steps (at least one, at most 50), by internal metric name.
    package var lastMetrics: [String: Double]
    /// Held-out action L1 and answer accuracy, before (`before.`) and after (`after.`) training.
    package var evaluations: [String: Double]
    /// Median milliseconds of a step, data included, after the first three.
    package var medianStepMilliseconds: Double
    /// Median milliseconds by phase.
    package var phases: [String: Double]
    /// Largest resident size of the process so far, in bytes.
    package var peakBytes: Int
}

/// What a run keeps of its steps while it goes on, to sum it up with.
struct RunRecord {
    /// Steps done when this process began.
    let first: Int
    private let began = Date()
    private let tail: Int
    private var reports: [StepReport] = []
    private var times: [Double] = []
    private var phases: [String: [Double]] = [:]

    init(first: Int, total: Int) {
        self.first = first
        tail = min(50, max(1, (total - first) / 10))
    }

    /// Seconds since the first step of this process.
    var elapsed: Double { Date().timeIntervalSince(began) }

    mutating func add(_ report: StepReport, milliseconds: Double) {
        times.append(milliseconds)
        for (phase, value) in report.milliseconds { phases[phase, default: []].append(value) }
        reports.append(report)
        if reports.count > tail { reports.removeFirst() }
    }

    func summary(path: String, steps: Int, wasStopped: Bool, evaluations: [String: Double]) -> RunSummary {
        var means: [String: (sum: Double, count: Int)] = [:]
        for (name, value) in reports.flatMap({ Array($0.metrics) }) {
            means[name, default: (0, 0)].sum += value
            means[name, default: (0, 0)].count += 1
        }
        return RunSummary(
            path: path, steps: steps, wasStopped: wasStopped,
            lastMetrics: means.mapValues { $0.sum / Double($0.count) }, evaluations: evaluations,
            medianStepMilliseconds: Self.median(times.count > 3 ? Array(times.dropFirst(3)) : times),
            phases: phases.mapValues(Self.median), peakBytes: ProcessMemory.peakBytes)
    }

    private static func median(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        guard !sorted.isEmpty else { return 0 }
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }
}
