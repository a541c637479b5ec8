/// What a connection speaks.
package enum ServedProtocol: String, CaseIterable, Sendable {
    /// Either, told by the client's first message.
    ///
    /// openpi clients wait for a map with whatever the server says about itself; vla-eval clients say hello and wait for
    /// a hello. One map serves both: the server sends it at once, with openpi's metadata and the fields of a hello, so
    /// that a vla-eval client finds the answer to its hello there already.
    case auto
    case openPI = "openpi"
    case vlaEval = "vla-eval"

    /// The protocol that a request's path names, `/openpi` or `/vla-eval`; `fallback` for `/`, nil for other paths.
    static func named(byPath path: String, fallback: ServedProtocol) -> ServedProtocol? {
        let name = path.prefix { $0 != "?" }.split(separator: "/")
        if name.isEmpty { return fallback }
        return name.count == 1 ? ServedProtocol(rawValue: String(name[0])) : nil
    }
}
