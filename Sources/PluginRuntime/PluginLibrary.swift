import CFloatingPoint
import FoundationEssentials
import Glibc
import PluginAPI
import Synchronization

/// Why a file cannot be used as a plugin.
package struct PluginLoadError: Error, Equatable, CustomStringConvertible {
    /// One case per distinct cause.
    package enum Cause: String, Sendable {
        case missingFile, notALibrary, openFailed, changed, missingEntry, abiMajor, abiMinor, structSize, table
        case signature, signatureHash
        /// It would share with another plugin what is its own.
        case clash
        /// Opening it changed what belongs to the host.
        case process
    }

    package let cause: Cause
    package let path: String
    package let problem: String
    package let hint: String

    package var description: String { hint.isEmpty ? "\(path): \(problem)" : "\(path): \(problem); \(hint)" }

    init(_ cause: Cause, _ path: String, _ problem: String, hint: String = "") {
        self.cause = cause
        self.path = path
        self.problem = problem
        self.hint = hint
    }
}

/// A plugin file, opened and checked. Creating instances is ``PluginInstance``'s part.
///
/// The library stays loaded until the process ends: unloading Swift code leaves the runtime with dangling metadata. What
/// becomes of its file meanwhile does not matter (``DetachedMapping``).
package final class PluginLibrary {
    /// A hook as declared, before names are filled in.
    package struct Hook: Sendable {
        package let point: HookPoint
        /// The text in the plugin.
        package let signatureText: String
        package let signature: Signature
        /// Whether the host calls it with native arguments or hands over an array of slots.
        package let isFrame: Bool
        let function: Function
    }

    /// The address of a hook and its context: static in the plugin, hence safe to share.
    struct Function: @unchecked Sendable {
        let address: craft_function
        let context: UnsafeMutableRawPointer?
    }

    package let path: String
    /// SHA-256 of the file as it was opened, in hexadecimal.
    package let sha256: String
    package let id: String
    package let version: String
    package let summary: String
    /// ABI major the plugin was built for and the lowest minor it accepts.
    package let abi: (major: UInt32, minimumMinor: UInt32)
    package let stateVersion: UInt32
    package let parameters: [Parameter]
    package let hooks: [Hook]
    /// SHA-256 of the libraries that the plugin brings along in its own folder, by soname.
    package let libraries: [String: String]
    /// Whether opening it changed the floating-point environment, as -ffast-math does; it was put back.
    package let changedArithmetic: Bool
    /// The rule and where it comes from, as the plugin's card has them; empty when it says nothing.
    package let formula: String
    package let reference: String

    let table: craft_plugin
    private let entry: @convention(c) () -> UnsafePointer<craft_plugin>?

    /// Whether the plugin can go back to the state after creation.
    package var canReset: Bool { table.reset != nil }

    /// A version of the ABI, as a host speaks it.
    package struct ABIVersion: Sendable, CustomStringConvertible {
        package var major: UInt32
        package var minor: UInt32

        package init(major: UInt32, minor: UInt32) {
            self.major = major
            self.minor = minor
        }

        /// What this host speaks.
        package static let current = ABIVersion(major: CRAFT_ABI_MAJOR, minor: CRAFT_ABI_MINOR)

        package var description: String { "\(major).\(minor)" }
    }

    /// The ABI this host speaks, "1.0".
    package static var hostABI: String { ABIVersion.current.description }

    /// Opens and checks a file. Throws ``PluginLoadError``.
    package convenience init(path: String) throws(PluginLoadError) { try self.init(path: path, host: .current) }

    /// The same for a host that speaks another version of the ABI, as an older or a newer one would.
    package init(path: String, host: ABIVersion) throws(PluginLoadError) {
        self.path = path
        let content: SharedLibraryFile
        (sha256, content) = try Self.checkFile(path)
        libraries = try BroughtLibraries.hashes(of: content, at: path)
        try BroughtLibraries.checkUnique(content, path, sha256)
        // A name without a slash would make dlopen search the system's library folders.
        let openPath = path.contains("/") ? path : "./\(path)"
        let opening = try Self.call("opening it", path) {
            let control = craft_fp_control()
            let handle = dlopen(openPath, RTLD_NOW | RTLD_LOCAL | Int32(RTLD_NODELETE))
            return (handle: handle, changedArithmetic: craft_fp_control() != control)
        }
        changedArithmetic = opening.changedArithmetic
        guard let handle = opening.handle else {
            let reason = dlerror().map { String(cString: $0) } ?? "no reason given"
            throw PluginLoadError(
                .openFailed, path, "the dynamic linker refused it: \(reason)",
                hint: "a missing symbol or library: build it for this machine, with every library it needs beside it")
        }
        guard let symbol = dlsym(handle, "craft_plugin_entry") else {
            throw PluginLoadError(
                .missingEntry, path, "it is a shared library but not a craft plugin: no symbol 'craft_plugin_entry'",
                hint: "export it, in C with CRAFT_PLUGIN_ENTRY, in Swift with @c(craft_plugin_entry) package func")
        }
        DetachedMapping.detach(libraryOf: symbol, from: openPath)
        try Self.checkUnchanged(path, sha256, handle)
        typealias Entry = @convention(c) () -> UnsafePointer<craft_plugin>?
        entry = unsafeBitCast(symbol, to: Entry.self)
        let entry = entry
        guard let pointer = try Self.call("craft_plugin_entry", path, { entry() }) else {
            throw PluginLoadError(.table, path, "craft_plugin_entry returned NULL instead of the plugin's table")
        }
        table = try Self.readTable(pointer, path, host: host)
        abi = (table.abi_major, table.abi_min_minor)
        stateVersion = table.state_version
        id = try Self.text(table.id, "id", path)
        version = try Self.text(table.version, "version", path)
        summary = try Self.text(table.summary, "summary", path)
        parameters = try Self.readParameters(table, path)
        hooks = try Self.readHooks(table, path)
        (formula, reference) = try Self.readCard(table, path)
    }

    /// Checks what holds only over several calls: the entry always returns the same table, and an extension nobody knows
    /// is `NULL`. Throws ``PluginLoadError``.
    package func checkEntry() throws(PluginLoadError) {
        guard let first = entry(), entry() == first else {
            throw PluginLoadError(.table, path, "craft_plugin_entry does not always return the same table")
        }
        if let extensions = table.extension, extensions("org.craft.no-such-extension/1") != nil {
            throw PluginLoadError(
                .table, path, "its extension function gives a table for an id that nobody knows",
                hint: "return NULL for every id but your own")
        }
    }

    /// Runs code of the plugin before it has a name in the run.
    static func call<Result>(
        _ what: String, _ path: String, _ body: () -> Result
    ) throws(PluginLoadError) -> Result {
        var result: Result?
        let changes = ProcessState.changes { result = CrashReport.during("plugin \(path), \(what)", body) }
        guard changes.isEmpty, let result else {
            throw PluginLoadError(.process, path, "\(what): \(ProcessState.sentence(changes))")
        }
        return result
    }

    /// SHA-256 of the libraries of this process by their handle.
    private static let opened = Mutex<[UInt: String]>([:])

    /// The hash has to be that of the code in memory: the file may have been written to between hashing and opening it, and
    /// a library that is already open is not read again.
    private static func checkUnchanged(
        _ path: String, _ hash: String, _ handle: UnsafeMutableRawPointer
    ) throws(PluginLoadError) {
        let known = opened.withLock { $0[UInt(bitPattern: handle)] }
        var now = known
        if now == nil { now = try checkFile(path).hash }
        guard now == hash else {
            throw PluginLoadError(
                .changed, path, "the file changed \(known == nil ? "while" : "after") this process opened it",
                hint: "start again when it is complete")
        }
        opened.withLock { $0[UInt(bitPattern: handle)] = hash }
    }

    /// Hashes the file after checking that it can be a shared library at all.
    private static func checkFile(
        _ path: String
    ) throws(PluginLoadError) -> (hash: String, content: SharedLibraryFile) {
        guard let data = try? Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe) else {
            throw PluginLoadError(.missingFile, path, "there is no readable file of that name")
        }
        guard data.starts(with: [0x7f, 0x45, 0x4c, 0x46]) else {
            throw PluginLoadError(
                .notALibrary, path, "it is not a shared library (it does not begin with an ELF header)",
                hint: "give the .so that the plugin's build produced")
        }
        // Opening a truncated library can kill the process with SIGBUS. Its section table comes last: check that it is
        // there (64-bit ELF: offset at 40, entry size at 58, count at 60).
        let header = [UInt8](data.prefix(64))
        guard header.count == 64, header[4] == 2 else {
            throw PluginLoadError(.notALibrary, path, "it is not a 64-bit shared library, or it is truncated")
        }
        func field(_ offset: Int, _ size: Int) -> UInt64 {
            (0..<size).reduce(0) { $0 | UInt64(header[offset + $1]) << (8 * UInt64($1)) }
        }
        let (end, isOverflow) = field(40, 8).addingReportingOverflow(field(58, 2) * field(60, 2))
        guard !isOverflow, end <= UInt64(data.count) else {
            throw PluginLoadError(
                .notALibrary, path, "it is truncated: \(data.count) bytes where its header promises \(end)",
                hint: "build or copy it again")
        }
        do {
            return (SHA256.hexDigest(of: data), try SharedLibraryFile(data))
        } catch {
            throw PluginLoadError(.notALibrary, path, "\(error)", hint: "build or copy it again")
        }
    }

    static func text(
        _ pointer: UnsafePointer<CChar>?, _ what: String, _ path: String
    ) throws(PluginLoadError) -> String {
        guard let pointer else { throw PluginLoadError(.table, path, "its table lacks '\(what)' (NULL)") }
        let text = String(cString: pointer)
        guard !text.isEmpty else { throw PluginLoadError(.table, path, "its table has an empty '\(what)'") }
        return text
    }
}
