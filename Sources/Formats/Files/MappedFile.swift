internal import Foundation

/// A regular file mapped read-only for as long as the object lives: what is touched is read from the disk, and any thread
/// may read.
///
/// The file must not be changed in place meanwhile: what is mapped would change with it, and a file cut short ends the process
/// when the missing part is read. Replacing it by a rename, as ``AtomicFile`` does, is safe.
final class MappedFile: Sendable {
    // Read-only memory that lives as long as the object.
    nonisolated(unsafe) let bytes: UnsafeRawBufferPointer

    init(path: String) throws(FileError) {
        // Opening a pipe would otherwise wait for a writer, before anything could be said about it.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw FileError(path: path, couldNot: "open the file", code: errno) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw FileError(path: path, couldNot: "read it", code: errno) }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw FileError(path: path, .wrongKind, "is not a regular file")
        }
        let size = Int(status.st_size)
        guard size > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        guard let address = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0), address != MAP_FAILED else {
            throw FileError(path: path, couldNot: "map it into memory", code: errno)
        }
        bytes = UnsafeRawBufferPointer(start: address, count: size)
    }

    deinit {
        if let address = bytes.baseAddress { munmap(UnsafeMutableRawPointer(mutating: address), bytes.count) }
    }
}
