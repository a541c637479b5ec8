package import Formats

/// What kind of thing went wrong in training.
package enum TrainingErrorCode: String, ErrorCode {
    /// A setting, or several together, that no run can have.
    case settings
    /// A file, a tensor or a checkpoint that is needed and not there.
    case missing
    /// Something that is there and is not what it should be.
    case malformed
    /// Model, data, checkpoint and settings that do not fit one another.
    case mismatch
    /// A run that cannot go on, as what it began with is no longer the same.
    case changed
    /// More memory than the process can have.
    case memory
    /// Weights that no longer give finite numbers.
    case diverged
}

package typealias TrainingError = CodedError<TrainingErrorCode>

extension CodedError<TrainingErrorCode> {
    /// Of what a user asked for.
    package init(_ sentence: String) { self.init(.settings, sentence) }
}
