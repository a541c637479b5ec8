internal import Formats
package import PluginRuntime

/// The data streams that a run was given, and how batches of them are had.
package struct StreamSources {
    /// By name.
    package var kinds: [String: StreamKind]
    /// The stream of questions whose answers hooks get under the names of the run's own batch, where that has none.
    package var answers: String?
    /// Opens a stream's batches: its name, what its draws are keyed by, and the samples in a batch.
    package var open: (_ name: String, _ key: String, _ batchSize: Int) throws -> any BatchSource

    package init(
        kinds: [String: StreamKind], answers: String? = nil,
        open: @escaping (_ name: String, _ key: String, _ batchSize: Int) throws -> any BatchSource
    ) {
        (self.kinds, self.answers, self.open) = (kinds, answers, open)
    }

    /// A run without any.
    package static var none: StreamSources {
        StreamSources(kinds: [:]) { name, _, _ in throw TrainingError(.missing, "there is no data stream '\(name)'") }
    }
}
