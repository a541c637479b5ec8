import Foundation
import Synchronization

/// A file that appears complete or not at all.
///
/// Bytes go to a temporary file in the destination's folder. ``commit()`` flushes it to the disk, renames it over the
/// destination and flushes the folder, so after a crash or a power cut the destination holds either its old content or
/// all of the new one. Dropping the object without committing removes the temporary file.
///
/// Temporary files end in `.partial`; readers of a folder may ignore that suffix. Not safe to use from two threads.
package final class AtomicFile {
    package let path: String
    private let temporaryPath: String
    private var descriptor: Int32
    private var committed = false

    private static let counter = Atomic<Int>(0)

    /// Creates the temporary file beside `path`. The folder must exist.
    package init(path: String) throws(FileError) {
        self.path = path
        let serial = Self.counter.wrappingAdd(1, ordering: .relaxed).newValue
        temporaryPath = "\(path).\(getpid())-\(serial).partial"
        descriptor = -1
        // A leftover of a killed process with the same id is overwritten.
        descriptor = open(temporaryPath, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        if descriptor < 0 { throw FileError(path: path, couldNot: "create the file", code: errno) }
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
        if !committed { unlink(temporaryPath) }
    }

    /// Appends bytes.
    package func write(_ bytes: UnsafeRawBufferPointer) throws(FileError) {
        try FileDescriptors.write(bytes, to: descriptor, path: path)
    }

    package func write(_ text: String) throws(FileError) {
        try write(Array(text.utf8))
    }

    package func write(_ bytes: [UInt8]) throws(FileError) {
        try FileDescriptors.write(bytes, to: descriptor, path: path)
    }

    /// Makes the content durable and gives the file its name.
    ///
    /// - Parameter replacing: false leaves a file of that name as it is.
    /// - Returns: whether the content is there; of several processes that do not replace, one gets true.
    @discardableResult
    package func commit(replacing: Bool = true) throws(FileError) -> Bool {
        precondition(descriptor >= 0, "commit() called twice on \(path)")
        guard fsync(descriptor) == 0 else { throw FileError(path: path, couldNot: "flush the file", code: errno) }
        let closed = close(descriptor)
        descriptor = -1
        // Some file systems report a full disk only here.
        guard closed == 0 else { throw FileError(path: path, couldNot: "finish the file", code: errno) }
        if replacing {
            guard rename(temporaryPath, path) == 0 else {
                throw FileError(path: path, couldNot: "give the file its name", code: errno)
            }
            committed = true
        } else if link(temporaryPath, path) != 0 {
            if errno == EEXIST { return false }
            throw FileError(path: path, couldNot: "give the file its name", code: errno)
        }
        try FileDescriptors.synchronizeFolder(of: path)
        return true
    }

    /// Writes a whole file at once.
    package static func write(_ text: String, to path: String) throws(FileError) {
        try write(Array(text.utf8), to: path)
    }

    package static func write(_ bytes: [UInt8], to path: String) throws(FileError) {
        let file = try AtomicFile(path: path)
        try file.write(bytes)
        try file.commit()
    }
}

/// System calls on files, each retried when a signal interrupts it and turned into a sentence when it fails.
package enum FileDescriptors {
    package static func write(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32, path: String) throws(FileError) {
        var rest = bytes
        while let base = rest.baseAddress, rest.count > 0 {
            #if canImport(Darwin)
                let written = Darwin.write(descriptor, base, rest.count)
            #else
                let written = Glibc.write(descriptor, base, rest.count)
            #endif
            if written < 0 {
                if errno == EINTR { continue }
                throw FileError(path: path, couldNot: "write to the file", code: errno)
            }
            rest = UnsafeRawBufferPointer(rebasing: rest[written...])
        }
    }

    package static func write(_ bytes: [UInt8], to descriptor: Int32, path: String) throws(FileError) {
        // withUnsafeBytes rethrows an untyped error, so the typed one travels in a result.
        let result = bytes.withUnsafeBytes { buffer -> Result<Void, FileError> in
            do throws(FileError) {
                return .success(try write(buffer, to: descriptor, path: path))
            } catch { return .failure(error) }
        }
        try result.get()
    }

    /// Flushes the folder that holds `path`, which makes a new name in it durable.
    package static func synchronizeFolder(of path: String) throws(FileError) {
        try synchronize(folderOf(path))
    }

    /// Flushes a file or a folder to the disk.
    package static func synchronize(_ path: String) throws(FileError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError(path: path, couldNot: "open it", code: errno) }
        defer { close(descriptor) }
        // EINVAL: a file system that cannot flush folders, which has nothing to flush then.
        guard fsync(descriptor) == 0 || errno == EINVAL else {
            throw FileError(path: path, couldNot: "flush it to the disk", code: errno)
        }
    }

    private static func folderOf(_ path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
