/// A hook that failed while training ran.
package struct PluginFailure: Error, Equatable, CustomStringConvertible {
    package enum Kind: Sendable, Equatable {
        /// The plugin returned an error, or the call could not be made.
        case error
        /// The plugin produced a value that is not a finite number, under this name.
        case nonFinite(String)
    }

    /// Instance name.
    package let plugin: String
    package let point: HookPoint
    package let step: Int
    package let message: String
    package let kind: Kind

    package init(plugin: String, point: HookPoint, step: Int, message: String, kind: Kind) {
        self.plugin = plugin
        self.point = point
        self.step = step
        self.message = message
        self.kind = kind
    }

    package var description: String {
        // What is planned belongs to no step.
        "plugin \(plugin), \(point.rawValue) hook\(point == .plan ? "" : ", step \(step)"): \(message)"
    }
}

/// An instance whose state could not be created, saved, loaded or reset.
package struct PluginStateError: Error, Equatable, CustomStringConvertible {
    /// Instance name.
    package let plugin: String
    package let message: String
    package var description: String { "plugin \(plugin): \(message)" }
}
