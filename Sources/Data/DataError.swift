/// What is wrong with a data set, image, tokenizer or statistics file.
///
/// One sentence that names the file and, where there is one, the record, byte offset, feature or step; then what was
/// expected, what was found and what to do.
package struct DataError: Error, CustomStringConvertible, Equatable, Sendable {
    package let description: String

    package init(_ description: String) { self.description = description }
}
