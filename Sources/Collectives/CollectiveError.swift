package import Formats

package enum CollectiveErrorCode: String, ErrorCode {
    /// A launcher started several processes and there is no library to reach the others with.
    case missingLibrary
    /// The library is not craft's, of another version, or cannot be opened.
    case badLibrary
    /// The launcher and MPI do not agree on who is there.
    case launcher
    /// A rank hangs, is gone, or does something else.
    case failed
    /// Ranks have other files, another craft or another kind of processor.
    case unequal
    /// The ranks cannot divide the work.
    case indivisible
}

package typealias CollectiveError = CodedError<CollectiveErrorCode>
