package import Formats

/// What kept a hook from being called with the values of a file.
package enum ConformanceErrorCode: String, ErrorCode {
    case missingFile, malformedFile
    /// The hook does not read the name.
    case unknownName
    /// It is not of the type, the shape or the number that the hook reads.
    case wrongValue
}

package typealias ConformanceError = CodedError<ConformanceErrorCode>
