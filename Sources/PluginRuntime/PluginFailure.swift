/// A hook that failed while training ran.
public struct PluginFailure: Error, Equatable, CustomStringConvertible {
    public enum Kind: Sendable, Equatable {
        /// The plugin returned an error, or the call could not be made.
        case error
        /// The plugin produced a value that is not a finite number, under this name.
        case nonFinite(String)
    }

    /// Instance name.
    public let plugin: String
    public let point: HookPoint
    public let step: Int
    public let message: String
    public let kind: Kind

    public init(plugin: String, point: HookPoint, step: Int, message: String, kind: Kind) {
        self.plugin = plugin
        self.point = point
        self.step = step
        self.message = message
        self.kind = kind
    }

    public var description: String {
        // What is planned belongs to no step.
        "plugin \(plugin), \(point.rawValue) hook\(point == .plan ? "" : ", step \(step)"): \(message)"
    }
}

/// An instance whose state could not be created, saved, loaded or reset.
public struct PluginStateError: Error, Equatable, CustomStringConvertible {
    /// Instance name.
    public let plugin: String
    public let message: String
    public var description: String { "plugin \(plugin): \(message)" }
}
