public import PluginAPI

/// The table of a plugin class, made on the first call and kept permanently. Return it from `craft_plugin_entry`.
///
/// A library holds one plugin: later calls return the first table.
public func pluginTable<P: Plugin>(of type: P.Type) -> UnsafePointer<craft_plugin>? {
    if let made = PluginLibraryState.table { return made }
    let declared = P.hooks
    PluginLibraryState.make = { settings in
        let plugin = try P(settings: settings)
        let bodies = declared.map { $0.makeBody() }
        return Instance(plugin) { index, slots in try bodies[index](plugin, slots) }
    }
    let hooks = declared.enumerated().map { index, hook in
        var row = craft_hook()
        row.point = cString(copying: hook.point.rawValue)
        row.signature = cString(copying: hook.signature)
        row.codes = cString(copying: hook.codes)
        row.signature_hash = craft_signature_hash(row.signature, row.codes)
        row.call = Int32(CRAFT_CALL_FRAME)
        row.function = unsafeBitCast(runHook as craft_frame_function, to: craft_function.self)
        // The hook's number, one up: 0 would be NULL.
        row.context = UnsafeMutableRawPointer(bitPattern: index + 1)
        return row
    }
    let parameters = P.parameters.map { $0.makeRow() }
    var table = craft_plugin()
    table.struct_size = UInt32(MemoryLayout<craft_plugin>.size)
    table.abi_major = CRAFT_ABI_MAJOR
    table.abi_min_minor = P.description.needsABIMinor
    table.state_version = P.stateVersion
    table.id = cString(P.description.id)
    table.version = cString(P.description.version)
    table.summary = cString(P.description.summary)
    table.parameters = permanent(parameters)
    table.parameter_count = UInt32(parameters.count)
    table.parameter_size = UInt32(MemoryLayout<craft_parameter>.stride)
    table.hooks = permanent(hooks)
    table.hook_count = UInt32(hooks.count)
    table.hook_size = UInt32(MemoryLayout<craft_hook>.stride)
    table.create = create
    table.destroy = destroy
    if P.stateVersion > 0 {
        table.save = save
        table.load = load
        table.reset = reset
    }
    var card = craft_card()
    card.struct_size = UInt32(MemoryLayout<craft_card>.size)
    card.formula = cString(P.description.formula)
    card.reference = cString(P.description.reference)
    PluginLibraryState.card = permanent([card])
    table.extension = pluginExtension
    PluginLibraryState.table = permanent([table])
    return PluginLibraryState.table
}

/// The library's one plugin. Set by the host's first call of the entry function, before any other thread knows of the
/// library, and only read afterwards.
private enum PluginLibraryState {
    nonisolated(unsafe) static var table: UnsafePointer<craft_plugin>?
    nonisolated(unsafe) static var card: UnsafePointer<craft_card>?
    nonisolated(unsafe) static var make: ((Settings) throws -> Instance)?
}

/// What `self` points at.
private final class Instance {
    let plugin: any Plugin
    /// Runs the hook of this number.
    let run: (Int, UnsafePointer<craft_slot>) throws -> Void

    init(_ plugin: any Plugin, run: @escaping (Int, UnsafePointer<craft_slot>) throws -> Void) {
        self.plugin = plugin
        self.run = run
    }

    static func at(_ pointer: UnsafeMutableRawPointer?) throws -> Instance {
        guard let pointer else { throw PluginError("the host passed no instance") }
        return Unmanaged<Instance>.fromOpaque(pointer).takeUnretainedValue()
    }
}

// MARK: - The C functions of the table. No Swift error leaves them.

private let runHook: craft_frame_function = { pointer, context, slots, error in
    reporting(error) {
        guard let context, let slots else { throw PluginError("the host passed no arguments") }
        try Instance.at(pointer).run(Int(bitPattern: context) - 1, slots)
    }
}

private func pluginExtension(_ id: UnsafePointer<CChar>?) -> UnsafeRawPointer? {
    guard let id else { return nil }
    let name = Array(CRAFT_CARD_ID.utf8) + [0]
    for (index, byte) in name.enumerated() where UInt8(bitPattern: id[index]) != byte { return nil }
    return UnsafeRawPointer(PluginLibraryState.card)
}

private func create(
    _ host: UnsafePointer<craft_host>?, _ settings: UnsafePointer<craft_settings>?,
    _ result: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ error: UnsafeMutablePointer<craft_error>?
) -> Int32 {
    reporting(error) {
        guard let settings, let result, let make = PluginLibraryState.make else {
            throw PluginError("the host passed no settings")
        }
        result.pointee = Unmanaged.passRetained(try make(Settings(settings))).toOpaque()
    }
}

private func destroy(_ pointer: UnsafeMutableRawPointer?) {
    if let pointer { Unmanaged<Instance>.fromOpaque(pointer).release() }
}

private func save(
    _ pointer: UnsafeMutableRawPointer?, _ output: UnsafePointer<craft_output>?,
    _ error: UnsafeMutablePointer<craft_error>?
) -> Int32 {
    reporting(error) {
        guard let output else { throw PluginError("the host passed no output") }
        var writer = StateWriter(output)
        try Instance.at(pointer).plugin.save(to: &writer)
    }
}

private func load(
    _ pointer: UnsafeMutableRawPointer?, _ input: UnsafePointer<craft_input>?, _ version: UInt32,
    _ error: UnsafeMutablePointer<craft_error>?
) -> Int32 {
    reporting(error) {
        guard let input else { throw PluginError("the host passed no input") }
        var reader = StateReader(input)
        try Instance.at(pointer).plugin.load(from: &reader, version: version)
    }
}

private func reset(_ pointer: UnsafeMutableRawPointer?, _ error: UnsafeMutablePointer<craft_error>?) -> Int32 {
    reporting(error) { try Instance.at(pointer).plugin.reset() }
}

/// Turns a Swift error into a status and a message in the host's buffer, cut to fit it.
private func reporting(_ error: UnsafeMutablePointer<craft_error>?, _ body: () throws -> Void) -> Int32 {
    do {
        try body()
        return CRAFT_OK
    } catch let failure {
        guard let error else { return CRAFT_FAILED }
        withUnsafeMutableBytes(of: &error.pointee.message) { buffer in
            // Cut between characters, not inside one.
            var end = 0
            for character in "\(failure)" {
                let bytes = String(character).utf8
                guard end + bytes.count < buffer.count else { break }
                for byte in bytes {
                    buffer[end] = byte
                    end += 1
                }
            }
            buffer[end] = 0
        }
        return CRAFT_FAILED
    }
}
