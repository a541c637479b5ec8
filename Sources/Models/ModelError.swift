package import Formats

/// What is wrong with a model folder, or with what is asked of one.
package enum ModelErrorCode: String, ErrorCode {
    /// A folder, a file or a tensor that is needed is not there.
    case missing
    /// A file is not JSON, or a key has a value of another type.
    case malformed
    /// A value is out of range, or two of them contradict each other.
    case invalid
    /// A kind of model, or a key, that craft does not compute.
    case unsupported
    /// Weights that belong to another model.
    case mismatched
    /// Several files could be what is looked for.
    case ambiguous
    /// What is to be written is there already.
    case exists
    /// What the caller chose does not suit the model.
    case unsuitable
    /// What was computed is not what it should be, by a check of its own.
    case inexact
}

/// The sentence names the file and key, what was expected and what was found.
package typealias ModelError = CodedError<ModelErrorCode>
