// PluginKit: writing a craft plugin in Swift.
//
// A plugin is one class that conforms to `Plugin`, and one exported function:
//
//     @c @implementation public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: MyRule.self) }
//
// The kit is linked into each plugin and shares no Swift type with the host. It needs no Foundation, and a plugin should
// not either: it is the difference between a 50 KB and a 60 MB library when the runtime is linked statically.

/// A plugin: what it takes, what it does at which point, and its state.
///
/// The host makes one instance per use in a plugin list and calls it from one thread.
public protocol Plugin: AnyObject, SendableMetatype {
    /// Who the plugin is.
    static var description: PluginDescription { get }
    /// The settings it takes, in the order tools list them.
    static var parameters: [any AnyParameter] { get }
    /// What it does, and when.
    static var hooks: [Hook<Self>] { get }

    /// Makes an instance. Throw ``PluginError`` when settings that are each valid do not go together.
    init(settings: Settings) throws

    /// Version of what ``save(to:)`` writes. 0 for a plugin without state.
    static var stateVersion: UInt32 { get }
    /// Writes the whole state; the same state must give the same bytes.
    func save(to output: inout StateWriter) throws
    /// Reads what `save` of `version` wrote, at most ``stateVersion``. Assign only after everything was read.
    func load(from input: inout StateReader, version: UInt32) throws
    /// Back to the state right after `init`.
    func reset() throws
}

extension Plugin {
    /// No settings.
    public static var parameters: [any AnyParameter] { [] }
    /// No state.
    public static var stateVersion: UInt32 { 0 }
    /// Writes nothing.
    public func save(to output: inout StateWriter) throws {}
    /// Reads nothing.
    public func load(from input: inout StateReader, version: UInt32) throws {}
    /// Does nothing.
    public func reset() throws {}
}

/// A plugin's identity.
public struct PluginDescription: Sendable {
    let id: StaticString
    let version: StaticString
    let summary: StaticString
    let formula: StaticString
    let reference: StaticString
    let needsABIMinor: UInt32

    /// - Parameters:
    ///   - id: unique and never changed: `org.example.my-rule`.
    ///   - version: of the plugin.
    ///   - summary: one sentence.
    ///   - formula: the rule, in lines.
    ///   - reference: where it comes from.
    ///   - needsABIMinor: the lowest minor of ABI 1 that has every name the plugin cannot do without: 1 for probes.
    public init(
        id: StaticString, version: StaticString, summary: StaticString, formula: StaticString = "",
        reference: StaticString = "", needsABIMinor: UInt32 = 0
    ) {
        self.id = id
        self.version = version
        self.summary = summary
        self.formula = formula
        self.reference = reference
        self.needsABIMinor = needsABIMinor
    }
}

/// An error with a sentence for the user: what was expected, what was found, what to do.
public struct PluginError: Error, CustomStringConvertible {
    /// The sentence.
    public let description: String
    /// Makes the error of a sentence.
    public init(_ description: String) { self.description = description }
}
