import Formats

/// What kept a command from being carried out, where no room says so itself.
enum CommandErrorCode: String, ErrorCode {
    /// What was given: a value out of range, flags that do not go together, one that is missing.
    case usage
    case missingFile, malformedFile, unwritable
    /// Settings of a run that goes on are not the given ones.
    case otherSettings
    /// The plugin has no such hook, or gave what is not a number.
    case hook
}

typealias CommandError = CodedError<CommandErrorCode>
