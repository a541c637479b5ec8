/// What is wrong with a data set, image, tokenizer or statistics file.
///
/// One sentence that names the file and, where there is one, the record, byte offset, feature or step; then what was
/// expected, what was found and what to do.
public struct DataError: Error, CustomStringConvertible, Equatable, Sendable {
    public let description: String

    public init(_ description: String) { self.description = description }
}
