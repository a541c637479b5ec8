import Foundation

/// Something is wrong with a file: unreadable, malformed, or impossible to write.
///
/// `description` is a sentence that names the file and says what was expected, what was found and, where there is one,
/// what to do. It is shown to users as it stands. As ``CodedError``, with the file's path.
package struct FileError: Error, Equatable, CustomStringConvertible {
    package let path: String
    package let code: FileErrorCode
    package let description: String

    /// What is most often wrong: the file is not in the format that was expected.
    package init(path: String, _ sentence: String) { self.init(path: path, .malformed, sentence) }

    package init(path: String, _ code: FileErrorCode, _ sentence: String) {
        self.path = path
        self.code = code
        self.description = "\(path): \(sentence)"
    }

    /// The error of a failed system call: `action` completes "could not ...", for example "write to the file".
    package init(path: String, couldNot action: String, code: Int32) {
        self.init(path: path, FileErrorCode(errno: code), "could not \(action): \(Self.reason(code))")
    }

    private static func reason(_ code: Int32) -> String {
        switch code {
        case ENOSPC: "the disk is full; free some space or choose a folder on another disk"
        case EDQUOT: "the disk quota is used up; free some space or choose a folder on another disk"
        case ENOENT: "there is no such file or folder"
        case EACCES, EPERM: "permission denied; check the owner and the mode of the file and its folder"
        case EROFS: "the file system is read-only; choose another folder"
        case ENOTDIR: "a part of the path is a file, not a folder"
        case EISDIR: "it is a folder, not a file"
        default: String(cString: strerror(code)).lowercased()
        }
    }
}
