/// What is wrong with a model folder, in a sentence for the user: the file and key, what was expected, what was found.
package struct ModelError: Error, CustomStringConvertible, Sendable {
    package let description: String

    package init(_ description: String) { self.description = description }
}
