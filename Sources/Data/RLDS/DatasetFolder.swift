internal import Formats
import Foundation
internal import Spelling

/// Finds the version folder of a TFDS / RLDS data set below what a user passed as root.
///
/// Accepted roots: the folder that holds the data set's folder, a mirror of `openvla/modified_libero_rlds` (with or
/// without that folder in between), the data set's own folder, one of its version folders, or anything a few levels above
/// in which the answer is unambiguous. A data set that lost its `dataset_info.json` is found where there is no whole one;
/// reading that file then says that it is missing.
enum DatasetFolder {
    static let infoFile = "dataset_info.json"
    private static let mirror = "modified_libero_rlds"

    /// One version of a data set.
    struct Version {
        /// The name of the folder around the version folder.
        var name: String
        var path: String
    }

    /// - Parameter name: the data set's folder or stored name; nil takes the only one below `root`.
    static func locate(root: String, name: String?) throws(DataError) -> Version {
        var isFolder: ObjCBool = false
        let isThere = FileManager.default.fileExists(atPath: root, isDirectory: &isFolder)
        guard isThere, isFolder.boolValue else {
            throw DataError(
                .missing,
                "\(root): \(isThere ? "is a file, not a folder" : "there is no such folder"). "
                    + "Pass the folder that holds the data set" + (name.map { " '\($0)'." } ?? "."))
        }
        guard let name else { return try only(in: root) }
        for folder in ["\(root)/\(name)", "\(root)/\(mirror)/\(name)"] {
            if let version = newestVersion(in: folder) { return Version(name: name, path: version) }
        }
        let url = URL(fileURLWithPath: root).standardizedFileURL
        if hasInfo(root), url.deletingLastPathComponent().lastPathComponent == name || storedName(in: root) == name {
            return Version(name: name, path: root)
        }
        if let version = newestVersion(in: root), url.lastPathComponent == name || storedName(in: version) == name {
            return Version(name: name, path: version)
        }
        var matching = versions(below: root).filter { $0.name == name || storedName(in: $0.path) == name }
        if matching.isEmpty { matching = versions(below: root, where: lacksInfo).filter { $0.name == name } }
        if matching.count > 1 {
            throw DataError(
                .ambiguous,
                "\(root): holds '\(name)' \(matching.count) times: \(matching.map(\.path).joined(separator: ", ")). "
                    + "Pass one of these folders.")
        }
        guard let found = matching.first else { throw notFound(root: root, name: name) }
        return Version(name: name, path: found.path)
    }

    private static func only(in root: String) throws(DataError) -> Version {
        var found = versions(below: root)
        if found.isEmpty { found = versions(below: root, where: lacksInfo) }
        if found.count > 1 {
            throw DataError(
                .ambiguous,
                "\(root): holds \(found.count) data sets: "
                    + "\(found.map { "\($0.name) (\($0.path))" }.joined(separator: ", ")). "
                    + "Choose one by its name (--dataset) or pass its folder.")
        }
        guard let found = found.first else { throw notFound(root: root, name: "NAME") }
        return found
    }

    /// Mirrors nest data sets at most this deep: DIR/modified_libero_rlds/NAME/NAME/1.0.0.
    private static let maximumDepth = 5
    private static let maximumFolders = 20_000

    /// The newest version of every data set at or below `root`, sorted by path.
    private static func versions(below root: String, where isVersion: (String) -> Bool = hasInfo) -> [Version] {
        var newest: [String: (numbers: [Int], version: Version)] = [:]
        var level = [URL(fileURLWithPath: root).standardizedFileURL.path]
        var seen = 0
        for _ in 0...maximumDepth {
            var next: [String] = []
            for folder in level {
                if isVersion(folder) {
                    let url = URL(fileURLWithPath: folder)
                    let numbers = versionNumbers(url.lastPathComponent)
                    let owner = numbers == nil ? url : url.deletingLastPathComponent()
                    let version = Version(name: owner.lastPathComponent, path: folder)
                    if let known = newest[owner.path], !known.numbers.lexicographicallyPrecedes(numbers ?? []) {
                        continue
                    }
                    newest[owner.path] = (numbers ?? [], version)
                    continue
                }
                for child in names(in: folder) where !child.hasPrefix(".") && seen < maximumFolders {
                    seen += 1
                    var isFolder: ObjCBool = false
                    let path = "\(folder)/\(child)"
                    if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue {
                        next.append(path)
                    }
                }
            }
            level = next
        }
        return newest.values.map(\.version).sorted { $0.path < $1.path }
    }

    private static func versionNumbers(_ name: String) -> [Int]? {
        let numbers = name.split(separator: ".", omittingEmptySubsequences: false).map { Int($0) ?? -1 }
        return numbers.count == 3 && !numbers.contains { $0 < 0 } ? numbers : nil
    }

    /// The newest `major.minor.patch` folder with a `dataset_info.json`.
    private static func newestVersion(in folder: String) -> String? {
        let versions = names(in: folder).compactMap { child -> (name: String, numbers: [Int])? in
            guard let numbers = versionNumbers(child), hasInfo("\(folder)/\(child)") else { return nil }
            return (child, numbers)
        }
        return versions.max { $0.numbers.lexicographicallyPrecedes($1.numbers) }.map { "\(folder)/\($0.name)" }
    }

    private static func notFound(root: String, name: String) -> DataError {
        let present =
            (names(in: root).filter { newestVersion(in: "\(root)/\($0)") != nil }
            + names(in: "\(root)/\(mirror)").filter { newestVersion(in: "\(root)/\(mirror)/\($0)") != nil }).sorted()
        if let closest = Suggestion.closest(to: name, among: present) {
            return DataError(
                .missing,
                "\(root): there is no data set '\(name)'. Did you mean '\(closest)'? "
                    + "Present: \(present.joined(separator: ", ")).")
        }
        if hasInfo(root) || newestVersion(in: root) != nil {
            let version = hasInfo(root) ? root : newestVersion(in: root)!
            let folder = URL(fileURLWithPath: version).standardizedFileURL.deletingLastPathComponent().lastPathComponent
            return DataError(.missing, "\(root): holds the data set '\(folder)', not '\(name)'. Ask for '\(folder)'.")
        }
        return DataError(
            .missing,
            "\(root): holds no RLDS data set. Expected \(name)/<version>/\(infoFile) below it, <version> at most "
                + "\(maximumDepth) folders deep (for LIBERO, download openvla/modified_libero_rlds).")
    }

    private static func hasInfo(_ folder: String) -> Bool {
        FileManager.default.fileExists(atPath: "\(folder)/\(infoFile)")
    }

    private static func lacksInfo(_ folder: String) -> Bool {
        let hasFeatures = FileManager.default.fileExists(atPath: "\(folder)/features.json")
        return hasFeatures && !hasInfo(folder) && !shards(in: folder).isEmpty
    }

    /// The shard files of a version folder, sorted.
    static func shards(in folder: String) -> [String] { names(in: folder).filter { $0.contains(".tfrecord") } }

    private static func storedName(in folder: String) -> String? {
        try? DatasetInfo(contentsOf: "\(folder)/\(infoFile)").name
    }

    /// What a folder holds, sorted; nothing when it cannot be read.
    private static func names(in folder: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
    }
}
