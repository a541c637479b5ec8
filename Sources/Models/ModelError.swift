/// What is wrong with a model folder, in a sentence for the user: the file and key, what was expected, what was found.
public struct ModelError: Error, CustomStringConvertible, Sendable {
    public let description: String

    public init(_ description: String) { self.description = description }
}
