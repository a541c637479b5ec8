internal import Glibc

/// What can be wrong with a file.
package enum FileErrorCode: String, ErrorCode {
    /// There is no such file or folder.
    case missing
    /// The system does not let this user read or write it.
    case denied
    /// No room on the disk, or in the quota.
    case full
    /// Something else than a regular file.
    case wrongKind
    /// Not in the format that was expected.
    case malformed
    /// It ends early, or is a pointer to what was never downloaded.
    case incomplete
    /// A checksum is wrong.
    case damaged
    /// In the format, but in a way that is not read.
    case unsupported
    /// Read, but without the tensor, or of another shape or type, than was asked for.
    case mismatched
    /// What was to be written does not fit the format, or is not finite.
    case unwritable
    /// Another process has it, or it is there already.
    case taken
    /// Any other failure of the system.
    case failed

    /// The code of a failed system call.
    init(errno code: Int32) {
        self =
            switch code {
            case ENOENT, ENOTDIR: .missing
            case EACCES, EPERM, EROFS: .denied
            case ENOSPC, EDQUOT: .full
            case EISDIR: .wrongKind
            case EEXIST, EAGAIN: .taken
            default: .failed
            }
    }
}
