package import Formats

/// What is wrong with a data set, an image, a tokenizer or statistics, or with what is asked of one.
package enum DataErrorCode: String, ErrorCode {
    /// A data set, a file, a camera, a column or a text that is needed is not there.
    case missing
    /// Several data sets could be what is looked for.
    case ambiguous
    /// A file cannot be opened or read.
    case unreadable
    /// A file cannot be written.
    case unwritable
    /// Data that are damaged, or not of the form that their format asks for.
    case malformed
    /// A form that craft does not read.
    case unsupported
    /// Parts that must agree and do not: rows and their list, data sets of one run, a cursor and its data.
    case mismatched
    /// Nothing to train on.
    case empty
    /// A value that the caller gave is out of range, or two of them contradict each other.
    case invalid
}

/// The sentence names the file and, where there is one, the record, byte offset, feature or step; then what was expected, what was
/// found and what to do.
package typealias DataError = CodedError<DataErrorCode>
