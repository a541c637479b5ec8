/// What went wrong: a code for programs and tests, a sentence for people.
///
/// The sentence names the file, key or plugin, what was expected, what was found and what to do; it is shown to users as it
/// stands. Each room declares its codes, and a name for its error: `typealias DataError = CodedError<DataErrorCode>`.
package struct CodedError<Code: ErrorCode>: Error, CustomStringConvertible, Equatable {
    package let code: Code
    package let description: String

    package init(_ code: Code, _ sentence: String) {
        self.code = code
        self.description = sentence
    }
}

/// The codes of one room: an enum whose cases say what a caller could act on, not where in the code it happened.
package protocol ErrorCode: RawRepresentable<String>, Equatable, Sendable {}
