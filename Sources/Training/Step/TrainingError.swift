/// What went wrong in training, in a sentence.
package struct TrainingError: Error, CustomStringConvertible, Sendable {
    package let description: String

    package init(_ description: String) { self.description = description }
}
