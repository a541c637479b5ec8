/// Numbers that a run reports at one moment: those of a step, or what was measured after it.
package struct MetricRow: Sendable {
    /// Steps done.
    package let step: Int
    /// Seconds since 1970.
    package let time: Double
    /// Values under the names of the logs; see ``MetricNames``.
    package let values: [(name: String, value: Double)]
    /// What the step took; nil for measures.
    package let milliseconds: Double?

    package init(step: Int, time: Double, values: [(name: String, value: Double)], milliseconds: Double? = nil) {
        (self.step, self.time, self.values, self.milliseconds) = (step, time, values, milliseconds)
    }

    /// The values, and the milliseconds among them as `ms`.
    var allValues: [(name: String, value: Double)] { values + (milliseconds.map { [("ms", $0)] } ?? []) }
}

/// Where a run's numbers go: files in its folder that grow row by row, in the format of one program that shows them.
///
/// Opening one for a run that goes on from step N takes back what it says of later steps, as far as its format allows: those
/// steps are about to be taken again. A sink may keep rows in memory until it is synchronised; ``MetricsLog`` does not, so that
/// what a killed run did is never lost. One thread at a time.
package protocol MetricSink: AnyObject {
    /// Appends a row; steps never go back.
    func append(_ row: MetricRow) throws
    /// Brings what was appended to the disk; done at checkpoints, so that a checkpoint never lacks its metrics.
    func synchronize() throws
    /// Ends the file: the process takes no further step of the run, which may still be resumed.
    func finish() throws
}

extension MetricSink {
    package func finish() throws { try synchronize() }
}

/// A program that a run is reported to, beside the `metrics.jsonl` that every run has.
package enum ReportTarget: String, Codable, Sendable, CaseIterable {
    case tensorboard
    case wandb
    case trackio

    /// Opens the sink in a run's folder, whose `metrics.jsonl` holds the rows up to step `earlier`.
    ///
    /// - Parameter earlier: steps that the run has done; nil: it is new.
    package func open(
        _ run: RunDirectory, _ settings: RunSettings, goingOnAfter earlier: Int?
    ) throws -> any MetricSink {
        switch self {
        case .tensorboard: try TensorBoardWriter(folder: run.tensorboardPath, resumingAt: earlier.map { $0 + 1 })
        case .wandb: try WandbLog(of: run, WandbRun(entity: settings.entity, project: settings.project))
        case .trackio: try TrackioInbox(of: run, project: settings.project, goingOnAfter: earlier)
        }
    }
}
