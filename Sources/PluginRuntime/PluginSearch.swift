import FoundationEssentials
import Glibc
internal import Spelling

/// The folders in which plugins are looked up by name.
package struct PluginSearch: Sendable {
    /// In order of preference.
    package let paths: [String]

    package init(paths: [String]) { self.paths = paths }

    /// A plugin that could not be found: what was asked for, where, and what is there instead.
    package struct NotFound: Error, Equatable, CustomStringConvertible {
        package let description: String
        package let hint: String
    }

    /// The file of plugin `name`: `libX.so` or `X.so` in each folder, in order. A name that ends in `.so` is a path.
    package func locate(_ name: String) throws(NotFound) -> String {
        let files = FileManager.default
        if name.hasSuffix(".so") {
            guard files.fileExists(atPath: name) else {
                throw NotFound(
                    description: "there is no file '\(name)'",
                    hint: "a name that ends in .so is taken as a path; give the path from the current folder")
            }
            return name
        }
        guard NameTemplate.isName(name) else {
            throw NotFound(
                description: "'\(name)' is neither a plugin name nor a path that ends in .so",
                hint: "a name has letters, digits, '_' and '-'")
        }
        for folder in paths {
            for file in ["lib\(name).so", "\(name).so"] {
                let path = folder.hasSuffix("/") ? folder + file : "\(folder)/\(file)"
                if files.fileExists(atPath: path) { return path }
            }
        }
        let searched = paths.isEmpty ? "no folder was given to search" : "searched: \(paths.joined(separator: ", "))"
        let names = available().map(\.name)
        let there = names.isEmpty ? "no plugin is there" : "available: \(names.joined(separator: ", "))"
        throw NotFound(
            description: "there is no plugin '\(name)' (\(searched))",
            hint: Suggestion.hint(for: name, among: names, otherwise: there))
    }

    /// Every plugin in the folders, by name; the first folder that has a name wins. Files are recognised by the entry
    /// symbol in their bytes and are not opened as libraries.
    package func available() -> [(name: String, path: String)] {
        var found: [String: String] = [:]
        for folder in paths {
            let files = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
            // "libX.so" before "X.so", as in `locate`.
            for file in files.sorted(by: { ($0.hasPrefix("lib") ? 0 : 1, $0) < ($1.hasPrefix("lib") ? 0 : 1, $1) }) {
                guard let name = Self.pluginName(ofFile: file), found[name] == nil else { continue }
                let path = folder.hasSuffix("/") ? folder + file : "\(folder)/\(file)"
                if Self.looksLikePlugin(path) { found[name] = path }
            }
        }
        return found.sorted { $0.key < $1.key }.map { (name: $0.key, path: $0.value) }
    }

    /// `X` for `libX.so` and `X.so`; `nil` for other files.
    static func pluginName(ofFile file: String) -> String? {
        guard file.hasSuffix(".so") else { return nil }
        let stem = file.dropLast(3)
        let name = stem.hasPrefix("lib") && stem.count > 3 ? stem.dropFirst(3) : stem
        return name.isEmpty ? nil : String(name)
    }

    private static func looksLikePlugin(_ path: String) -> Bool {
        guard let bytes = try? Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe) else {
            return false
        }
        guard bytes.starts(with: [0x7f, 0x45, 0x4c, 0x46]), contains(bytes, "craft_plugin_entry") else { return false }
        // A host has the name in it too, to ask plugins for it.
        return (try? SharedLibraryFile(bytes))?.exported.contains("craft_plugin_entry") ?? false
    }

    private static func contains(_ data: Data, _ text: StaticString) -> Bool {
        data.withUnsafeBytes { bytes in
            guard var at = bytes.baseAddress, bytes.count >= text.utf8CodeUnitCount else { return false }
            let end = at + bytes.count - text.utf8CodeUnitCount
            while at <= end, let found = memchr(at, Int32(text.utf8Start[0]), end - at + 1) {
                if memcmp(found, text.utf8Start, text.utf8CodeUnitCount) == 0 { return true }
                at = UnsafeRawPointer(found) + 1
            }
            return false
        }
    }
}
