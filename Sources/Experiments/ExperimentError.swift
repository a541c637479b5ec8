package import Formats

/// What kept experiments from being run.
package enum ExperimentErrorCode: String, ErrorCode {
    case missingFile, malformedFile
    /// What the grid says cannot be run.
    case invalidGrid
    /// The folder of the experiments cannot be written, or another process writes there.
    case folder
}

package typealias ExperimentError = CodedError<ExperimentErrorCode>
