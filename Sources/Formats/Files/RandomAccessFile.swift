import Foundation

/// A read-only file that any number of threads read by position (`pread`), open for as long as the value lives.
package final class RandomAccessFile: Sendable {
    package let path: String
    /// Size in bytes when the file was opened.
    package let size: Int
    private let descriptor: Int32

    package init(path: String) throws(FileError) {
        self.path = path
        // Opening a pipe would otherwise wait for a writer, before anything could be said about it.
        descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw FileError(path: path, couldNot: "open the file", code: errno)
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw FileError(path: path, .wrongKind, "is not a regular file")
        }
        size = Int(status.st_size)
    }

    deinit { close(descriptor) }

    /// Fills `buffer` with the bytes from `offset`; a file too short to do so is an error.
    package func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws(FileError) {
        var done = 0
        while done < buffer.count {
            // One call may move at most 2^31 - 4096 bytes on Linux, so large records take several.
            let count = pread(descriptor, buffer.baseAddress! + done, buffer.count - done, off_t(offset + done))
            if count > 0 {
                done += count
            } else if count < 0, errno == EINTR {
                continue
            } else {
                let reason = count == 0 ? "the file ends there" : String(cString: strerror(errno))
                throw FileError(
                    path: path, .failed,
                    "reading \(buffer.count) bytes at offset \(offset) failed after \(done): \(reason). "
                        + "The file changed while in use, or the disk is failing")
            }
        }
    }

    package func bytes(at offset: Int, count: Int) throws(FileError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var failure: FileError?
        bytes.withUnsafeMutableBytes { buffer in
            do throws(FileError) { try read(at: offset, into: buffer) } catch { failure = error }
        }
        if let failure { throw failure }
        return bytes
    }

    /// The whole of a small file.
    package static func contents(of path: String) throws(FileError) -> [UInt8] {
        let file = try RandomAccessFile(path: path)
        return try file.bytes(at: 0, count: file.size)
    }
}
