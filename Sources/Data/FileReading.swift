package import Formats

/// Runs a reader of files, and says what it found wrong as an error of this room.
func reading<Value>(_ body: () throws(FileError) -> Value) throws(DataError) -> Value {
    do { return try body() } catch { throw DataError(error) }
}

extension DataError {
    /// A file that cannot be read, or not as what it should be.
    package init(_ error: FileError) { self.init(.unreadable, "\(error).") }
}
