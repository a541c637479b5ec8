package import struct PluginRuntime.StopRequest

/// What one step did.
package struct StepReport {
    package var step: Int
    /// Metrics under their internal names: `loss.action`, `lambda.retention`, `conflict_ratio`, `gradient_norm`, ...
    package var metrics: [String: Double]
    /// By name, a number for each block.
    package var blockMetrics: [String: [Double]] = [:]
    /// Why the run ends after this step; nil: it goes on.
    package var stop: StopRequest?
    /// Whether the user of some rank has asked for the end; of one process alone, its host knows.
    package var isInterrupted = false
    /// Non-finite value that made the step be skipped.
    package var skipped: String?
    /// Milliseconds by phase: data, anchor, forward, objectives, backward, combine, update.
    package var milliseconds: [String: Double]
    /// Heap allocations by phase; empty unless they are counted (``AllocationCounter``).
    package var allocations: [String: Int]

    init(step: Int, metrics: [String: Double], skipped: String? = nil, _ clock: PhaseClock) {
        self.step = step
        self.metrics = metrics
        self.skipped = skipped
        milliseconds = clock.milliseconds
        allocations = clock.allocations
    }
}
