package import Formats

/// What is wrong with a request, a checkpoint or the server's settings.
package enum ServingErrorCode: String, ErrorCode {
    /// A checkpoint, a file or a key of a message is not there.
    case missing
    /// A message is not MessagePack, or not of the protocol.
    case malformed
    /// An observation is not what the policy takes.
    case unsuitable
    /// A message or an image is larger than the server takes.
    case tooLarge
    /// Too many observations wait already; the same one can be sent again.
    case busy
    /// The server is about to end.
    case stopping
    /// A checkpoint that is not a policy's.
    case unservable
    /// A setting of the server is out of range.
    case invalid
    /// The address cannot be listened at.
    case unavailable
    /// The policy gave no actions.
    case failed
}

/// The sentence names the key, what was expected and what was found.
package typealias ServingError = CodedError<ServingErrorCode>
