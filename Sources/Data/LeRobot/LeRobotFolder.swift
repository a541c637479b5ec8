internal import Formats
import Foundation

/// Finds a LeRobot data set at or below what a user passed as root.
enum LeRobotFolder {
    /// LeRobot's cache keeps sets at most this deep: `owner/set`.
    private static let maximumDepth = 2
    private static let maximumFolders = 10_000

    private static func isSet(_ folder: String) -> Bool {
        [LeRobotInfo.place, LeRobotInfo.oldPlace].contains { FileManager.default.fileExists(atPath: "\(folder)/\($0)") }
    }

    static func isAt(root: String, name: String?) -> Bool {
        if isSet(root) { return true }
        if let name { return isSet("\(root)/\(name)") }
        return !sets(below: root).isEmpty
    }

    static func locate(root: String, name: String?) throws(DataError) -> (name: String, path: String) {
        if isSet(root) {
            let parts = URL(fileURLWithPath: root).standardizedFileURL.resolvingSymlinksInPath().pathComponents
            let given = URL(fileURLWithPath: root).standardizedFileURL.lastPathComponent
            let known = [given, parts.suffix(1).joined(), parts.suffix(2).joined(separator: "/")]
            guard let name else { return (given, root) }
            guard known.contains(name) else {
                throw DataError(
                    .missing,
                    "\(root): is the LeRobot data set '\(given)', not '\(name)'. Ask for '\(given)', or leave the name out."
                )
            }
            return (name, root)
        }
        if let name { return (name, "\(root)/\(name)") }
        let sets = sets(below: root)
        guard sets.count == 1, let set = sets.first else {
            throw DataError(
                .ambiguous,
                "\(root): holds \(sets.count) LeRobot data sets: \(sets.joined(separator: ", ")). Choose one by its name (--dataset) "
                    + "or pass its folder.")
        }
        return (set, "\(root)/\(set)")
    }

    /// Paths below `root`, sorted.
    private static func sets(below root: String) -> [String] {
        var (found, level, seen): ([String], [String], Int) = ([], [""], 0)
        for _ in 0..<maximumDepth {
            var next: [String] = []
            for folder in level {
                let children = (try? FileManager.default.contentsOfDirectory(atPath: "\(root)/\(folder)")) ?? []
                for child in children where !child.hasPrefix(".") && seen < maximumFolders {
                    seen += 1
                    let path = folder.isEmpty ? child : "\(folder)/\(child)"
                    if isSet("\(root)/\(path)") { found.append(path) } else { next.append(path) }
                }
            }
            level = next
        }
        return found.sorted()
    }
}
