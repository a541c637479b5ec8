import CMemoryMap
import FoundationEssentials
import Glibc
import Synchronization

/// What a plugin brings into the process beside itself: libraries in its own folder, and variables of which a process has one.
///
/// The dynamic linker knows libraries by their sonames: a second plugin that brings another `libhelper.so.1` would silently be
/// given the first one's. Variables that bind uniquely are shared the same way. Neither is visible in a plugin's own hash, so
/// both are looked for before a plugin is opened.
enum BroughtLibraries {
    /// SHA-256 of the libraries that the plugin at `path` brings along, by soname. Throws ``PluginLoadError`` when the process has
    /// another one of the same name.
    static func hashes(of file: SharedLibraryFile, at path: String) throws(PluginLoadError) -> [String: String] {
        var found: [String: String] = [:]
        var waiting = [(file, path)]
        while let (library, place) = waiting.popLast() {
            for name in library.needed {
                guard let helper = self.path(of: name, for: library, at: place, below: folder(of: path)),
                    let bytes = try? Data(contentsOf: URL(fileURLWithPath: helper), options: .mappedIfSafe),
                    let content = try? SharedLibraryFile(bytes)
                else { continue }
                let soname = content.soname ?? name
                guard found[soname] == nil else { continue }
                let hash = SHA256.hexDigest(of: bytes)
                try checkOpen(soname, helper, hash, path)
                found[soname] = hash
                waiting.append((content, helper))
            }
        }
        return found
    }

    /// Where a library that is needed lies, if that is in the plugin's folder or below.
    private static func path(
        of name: String, for library: SharedLibraryFile, at place: String, below folder: String
    ) -> String? {
        for entry in library.searched {
            let origin = self.folder(of: place)
            let text = entry.replacing("${ORIGIN}", with: origin).replacing("$ORIGIN", with: origin)
            guard let searched = resolved(text), searched == folder || searched.hasPrefix(folder + "/") else {
                continue
            }
            let path = "\(searched)/\(name)"
            if access(path, R_OK) == 0 { return path }
        }
        return nil
    }

    private static func folder(of path: String) -> String {
        let whole = resolved(path) ?? path
        guard let slash = whole.lastIndex(of: "/") else { return "." }
        return String(whole[..<slash])
    }

    private static func resolved(_ path: String) -> String? {
        guard let text = realpath(path, nil) else { return nil }
        defer { free(text) }
        return String(cString: text)
    }

    private static func checkOpen(
        _ soname: String, _ helper: String, _ hash: String, _ plugin: String
    ) throws(PluginLoadError) {
        guard let handle = dlopen(soname, RTLD_LAZY | RTLD_NOLOAD) else { return }
        defer { dlclose(handle) }
        guard let name = craft_library_path(handle), let other = resolved(String(cString: name)), other != helper else {
            return
        }
        if let bytes = try? Data(contentsOf: URL(fileURLWithPath: other), options: .mappedIfSafe),
            SHA256.hexDigest(of: bytes) == hash
        {
            return
        }
        throw PluginLoadError(
            .clash, plugin,
            "it brings a library '\(soname)' (\(helper)), but the process has another one of that name already (\(other)) and would "
                + "use it in both places",
            hint: "link the library statically, or give it a soname of its own")
    }

    // MARK: - Unique variables

    private static let variables = Mutex<[String: (hash: String, path: String)]>([:])

    /// Throws ``PluginLoadError`` when another plugin of this process has one of the same name.
    static func checkUnique(_ file: SharedLibraryFile, _ path: String, _ hash: String) throws(PluginLoadError) {
        let clash = variables.withLock { known -> (name: String, other: String)? in
            for name in file.unique {
                if let other = known[name], other.hash != hash { return (name, other.path) }
            }
            for name in file.unique where known[name] == nil { known[name] = (hash, path) }
            return nil
        }
        guard let clash else { return }
        throw PluginLoadError(
            .clash, path,
            "it has the variable '\(clash.name)', and so has \(clash.other): a process has only one of it (STB_GNU_UNIQUE), so "
                + "that each would see the other's value",
            hint: "compile both with -fvisibility=hidden or -fno-gnu-unique")
    }
}
