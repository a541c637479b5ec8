/// What is wrong with a request, a checkpoint or the server's settings: the key, what was expected, what was found.
public struct ServingError: Error, CustomStringConvertible, Equatable, Sendable {
    public let description: String

    public init(_ description: String) { self.description = description }
}
