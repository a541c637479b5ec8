import Foundation

/// Finds the version folder of a TFDS / RLDS data set below what a user passed as root.
///
/// Accepted roots: the folder that holds the data set's folder, a mirror of `openvla/modified_libero_rlds` (with or
/// without that folder in between), the data set's own folder, or one of its version folders.
enum DatasetFolder {
    static let infoFile = "dataset_info.json"
    private static let mirror = "modified_libero_rlds"

    static func locate(root: String, name: String) throws(DataError) -> String {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: root, isDirectory: &isFolder), isFolder.boolValue else {
            throw DataError("\(root): there is no such folder. Pass the folder that holds the data set '\(name)'.")
        }
        for folder in ["\(root)/\(name)", "\(root)/\(mirror)/\(name)"] {
            if let version = newestVersion(in: folder) { return version }
        }
        let url = URL(fileURLWithPath: root).standardizedFileURL
        if hasInfo(root), url.deletingLastPathComponent().lastPathComponent == name || storedName(in: root) == name {
            return root
        }
        if let version = newestVersion(in: root), url.lastPathComponent == name || storedName(in: version) == name {
            return version
        }
        throw notFound(root: root, name: name)
    }

    /// The newest `major.minor.patch` folder with a `dataset_info.json`.
    private static func newestVersion(in folder: String) -> String? {
        let versions = subfolders(folder).compactMap { child -> (name: String, numbers: [Int])? in
            let numbers = child.split(separator: ".", omittingEmptySubsequences: false).map { Int($0) ?? -1 }
            guard numbers.count == 3, !numbers.contains(-1), hasInfo("\(folder)/\(child)") else { return nil }
            return (child, numbers)
        }
        return versions.max { $0.numbers.lexicographicallyPrecedes($1.numbers) }.map { "\(folder)/\($0.name)" }
    }

    private static func notFound(root: String, name: String) -> DataError {
        let present =
            (subfolders(root).filter { newestVersion(in: "\(root)/\($0)") != nil }
            + subfolders("\(root)/\(mirror)").filter { newestVersion(in: "\(root)/\(mirror)/\($0)") != nil }).sorted()
        if let closest = present.min(by: { editDistance($0, name) < editDistance($1, name) }) {
            return DataError(
                "\(root): there is no data set '\(name)'. Did you mean '\(closest)'? "
                    + "Present: \(present.joined(separator: ", ")).")
        }
        if hasInfo(root) || newestVersion(in: root) != nil {
            let version = hasInfo(root) ? root : newestVersion(in: root)!
            let folder = URL(fileURLWithPath: version).standardizedFileURL.deletingLastPathComponent().lastPathComponent
            return DataError("\(root): holds the data set '\(folder)', not '\(name)'. Ask for '\(folder)'.")
        }
        return DataError(
            "\(root): holds no RLDS data set. Expected \(name)/<version>/\(infoFile) below it "
                + "(for LIBERO, download openvla/modified_libero_rlds).")
    }

    private static func hasInfo(_ folder: String) -> Bool {
        FileManager.default.fileExists(atPath: "\(folder)/\(infoFile)")
    }

    private static func storedName(in folder: String) -> String? {
        try? DatasetInfo(contentsOf: "\(folder)/\(infoFile)").name
    }

    private static func subfolders(_ folder: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
    }
}

/// Levenshtein distance over UTF-8 bytes, for "did you mean".
func editDistance(_ a: String, _ b: String) -> Int {
    let b = Array(b.utf8)
    var row = Array(0...b.count)
    for (i, x) in a.utf8.enumerated() {
        var diagonal = row[0]
        row[0] = i + 1
        for (j, y) in b.enumerated() {
            let substituted = diagonal + (x == y ? 0 : 1)
            diagonal = row[j + 1]
            row[j + 1] = min(substituted, diagonal + 1, row[j] + 1)
        }
    }
    return row[b.count]
}
