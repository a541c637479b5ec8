/// What is wrong with a request, a checkpoint or the server's settings: the key, what was expected, what was found.
package struct ServingError: Error, CustomStringConvertible, Equatable, Sendable {
    package let description: String

    package init(_ description: String) { self.description = description }
}
