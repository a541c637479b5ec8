package import Formats

/// What kept an original command from being translated.
package enum CompatibilityErrorCode: String, ErrorCode {
    /// Flags that no script has, that cannot be honoured, or whose values cannot be read; all of them in one sentence each.
    case arguments
    case missingFile, malformedFile
    /// There is no run to go on with.
    case noRun
    /// Two flags, or a flag and the run that goes on, say different things.
    case conflict
}

package typealias CompatibilityError = CodedError<CompatibilityErrorCode>
