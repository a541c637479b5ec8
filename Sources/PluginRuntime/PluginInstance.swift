package import FoundationEssentials
import PluginAPI

/// One instance of a plugin: its resolved settings, its state, its hooks with concrete names.
package final class PluginInstance {
    package let library: PluginLibrary
    /// The instance's name.
    package let name: String
    /// File, settings and concrete names.
    package let loaded: LoadedPlugin
    let hooks: [BoundHook]
    let pointer: UnsafeMutableRawPointer?

    /// An instance outside any composition: no registry, no other plugins, names and shapes as the caller gives them.
    /// For tools that inspect or call a single plugin. Throws ``CompositionError`` for bad settings.
    package convenience init(library: PluginLibrary, request: PluginRequest) throws {
        try self.init(library: library, request: request, callForm: .declared)
    }

    /// The same, with every hook called in `callForm`.
    package convenience init(library: PluginLibrary, request: PluginRequest, callForm: CallForm) throws {
        var problems: [CompositionProblem] = []
        let draft = PluginDraft(request, library, problems: &problems)
        guard problems.isEmpty else { throw CompositionError(problems: problems) }
        try self.init(draft, callForm: callForm)
    }

    /// Creates the instance. Throws ``PluginStateError`` with the plugin's reason when it refuses its settings.
    init(_ draft: PluginDraft, callForm: CallForm = .declared) throws(PluginStateError) {
        library = draft.library
        name = draft.request.instance
        loaded = draft.loaded
        hooks = draft.boundHooks(callForm)
        var created: UnsafeMutableRawPointer?
        if let create = library.table.create {
            var error = Self.emptyError()
            let status = try Self.call(name, "create") {
                SettingTable(draft.settings, instance: draft.request.instance).withTable { table in
                    withUnsafePointer(to: table) { create(HostTable.pointer, $0, &created, &error) }
                }
            }
            guard status == CRAFT_OK else {
                throw PluginStateError(plugin: name, message: Self.message(status, &error, "creating it"))
            }
        }
        pointer = created
    }

    deinit {
        guard let destroy = library.table.destroy else { return }
        _ = ProcessState.changes { CrashReport.during("plugin \(name), destroy") { destroy(pointer) } }
    }

    /// Whether the plugin has state to save.
    package var isStateful: Bool { library.table.save != nil }

    func call(
        _ hook: BoundHook, values: ValueStore, step: Int, keepsNonFinite: Bool = false
    ) throws(PluginFailure) {
        try hook.call(pointer, values: values, step: step, keepsNonFinite: keepsNonFinite)
    }

    /// Calls the instance's hooks of `point` in declared order. Throws ``PluginFailure``.
    ///
    /// - Parameter keepsNonFinite: whether a result that is not finite is stored like any other. Training never allows
    ///   it; tools that show results do.
    package func run(_ point: HookPoint, values: ValueStore, step: Int, keepsNonFinite: Bool = false) throws {
        for hook in hooks where hook.point == point {
            try call(hook, values: values, step: step, keepsNonFinite: keepsNonFinite)
        }
    }

    /// What the instance's hooks of each point read and give, in declared order.
    package func arguments(at point: HookPoint) -> [(inputs: [HookArgument], results: [HookArgument])] {
        hooks.filter { $0.point == point }.map { ($0.inputs, $0.results) }
    }

    /// Back to the state right after creation.
    package func reset() throws(PluginStateError) {
        guard let reset = library.table.reset else { return }
        var error = Self.emptyError()
        let status = try Self.call(name, "reset") { reset(pointer, &error) }
        guard status == CRAFT_OK else {
            throw PluginStateError(plugin: name, message: Self.message(status, &error, "resetting it"))
        }
    }

    // MARK: - State

    /// Bytes before the plugin's own in what ``saveState()`` gives.
    package var stateHeaderSize: Int { 16 + library.id.utf8.count }

    /// First bytes of saved state, before the state version, the length of the plugin id, and the id.
    private static let magic = Data("CRAFTST1".utf8)

    /// The whole state as bytes; the same state gives the same bytes.
    package func saveState() throws(PluginStateError) -> Data {
        var data = Self.magic
        let id = Data(library.id.utf8)
        for number in [library.stateVersion, UInt32(id.count)] {
            withUnsafeBytes(of: number.littleEndian) { data.append(contentsOf: $0) }
        }
        data += id
        guard let save = library.table.save else { return data }
        let sink = ByteSink()
        var error = Self.emptyError()
        let status = try Self.call(name, "save") {
            var output = craft_output()
            output.struct_size = UInt32(MemoryLayout<craft_output>.size)
            output.context = Unmanaged.passUnretained(sink).toOpaque()
            output.write = { context, bytes, size in
                guard let context, let count = Int(exactly: size) else { return -1 }
                if count == 0 { return 0 }
                guard let bytes else { return -1 }
                Unmanaged<ByteSink>.fromOpaque(context).takeUnretainedValue()
                    .data.append(bytes.assumingMemoryBound(to: UInt8.self), count: count)
                return Int64(count)
            }
            return withExtendedLifetime(sink) { save(pointer, &output, &error) }
        }
        guard status == CRAFT_OK else {
            throw PluginStateError(plugin: name, message: Self.message(status, &error, "saving its state"))
        }
        return data + sink.data
    }

    /// Restores what ``saveState()`` gave, of this version of the plugin or an earlier one.
    ///
    /// - Parameter readLimit: most bytes that one read of the plugin gets; plugins have to cope with any.
    package func loadState(_ data: Data, readLimit: Int = .max) throws(PluginStateError) {
        let bytes = [UInt8](data)
        func number(at offset: Int) -> UInt32 {
            (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << (8 * UInt32($1)) }
        }
        guard bytes.count >= 16, Data(bytes[..<8]) == Self.magic, Int(number(at: 12)) <= bytes.count - 16 else {
            throw PluginStateError(plugin: name, message: "its saved state is damaged (\(bytes.count) bytes)")
        }
        let version = number(at: 8)
        let start = 16 + Int(number(at: 12))
        let id = String(decoding: bytes[16..<start], as: UTF8.self)
        guard id == library.id else {
            throw PluginStateError(
                plugin: name, message: "the saved state is of plugin '\(id)', this instance is of '\(library.id)'")
        }
        guard version <= library.stateVersion else {
            throw PluginStateError(
                plugin: name,
                message: "the saved state has version \(version), this plugin reads up to \(library.stateVersion): "
                    + "use a newer build of the plugin")
        }
        guard let load = library.table.load else {
            guard start == bytes.count else {
                throw PluginStateError(plugin: name, message: "there is saved state, but the plugin cannot load any")
            }
            return
        }
        let source = ByteSource(Array(bytes[start...]), readLimit: readLimit)
        var error = Self.emptyError()
        let status = try Self.call(name, "load") {
            var input = craft_input()
            input.struct_size = UInt32(MemoryLayout<craft_input>.size)
            input.context = Unmanaged.passUnretained(source).toOpaque()
            input.read = { context, destination, size in
                guard let context, let destination else { return size == 0 ? 0 : -1 }
                return Unmanaged<ByteSource>.fromOpaque(context).takeUnretainedValue().read(destination, size)
            }
            return withExtendedLifetime(source) { load(pointer, &input, version, &error) }
        }
        guard status == CRAFT_OK else {
            throw PluginStateError(plugin: name, message: Self.message(status, &error, "loading its state"))
        }
        guard source.isAtEnd else {
            throw PluginStateError(
                plugin: name, message: "its saved state is longer than what the plugin reads: it is damaged")
        }
    }

    /// Calls a function of the table that is not a hook, under the plugin's name.
    private static func call(
        _ name: String, _ function: String, _ body: () -> Int32
    ) throws(PluginStateError) -> Int32 {
        var status = CRAFT_OK
        let changes = ProcessState.changes { status = CrashReport.during("plugin \(name), \(function)", body) }
        guard changes.isEmpty else {
            throw PluginStateError(plugin: name, message: "\(function): \(ProcessState.sentence(changes))")
        }
        return status
    }

    // MARK: - Errors

    static func emptyError() -> craft_error {
        var error = craft_error()
        error.struct_size = UInt32(MemoryLayout<craft_error>.size)
        return error
    }

    /// The message a plugin left, up to its NUL or the end of the buffer.
    static func message(of error: inout craft_error) -> String {
        withUnsafeBytes(of: &error.message) { bytes in
            String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        }
    }

    private static func message(_ status: Int32, _ error: inout craft_error, _ action: String) -> String {
        let text = message(of: &error)
        return text.isEmpty ? "\(action) failed with status \(status) and no message" : text
    }
}

private final class ByteSink {
    var data = Data()
}

private final class ByteSource {
    private let bytes: [UInt8]
    private var position = 0

    private let readLimit: Int

    init(_ bytes: [UInt8], readLimit: Int) {
        self.bytes = bytes
        self.readLimit = readLimit
    }

    var isAtEnd: Bool { position == bytes.count }

    func read(_ destination: UnsafeMutableRawPointer, _ size: UInt64) -> Int64 {
        let count = min(Int(clamping: size), bytes.count - position, readLimit)
        bytes.withUnsafeBytes { all in
            destination.copyMemory(
                from: UnsafeRawBufferPointer(rebasing: all[position..<position + count]).baseAddress
                    ?? UnsafeRawPointer(destination), byteCount: count)
        }
        position += count
        return Int64(count)
    }
}
