package import Formats
import Foundation

/// The checkpoints of a run: one folder per saved step, `step-000200`, each complete or not there at all.
///
/// A checkpoint is written into `step-000200.partial`. Once every file in it is on the disk and listed with its size in
/// `manifest.json`, the folder is renamed. What ends in `.partial` is a leftover of an interrupted save and is ignored;
/// a folder whose files do not match its manifest (a copy that was cut short) is ignored as well.
package struct CheckpointFolders: Sendable {
    /// A complete checkpoint.
    package struct Checkpoint: Sendable, Equatable {
        package let step: Int
        /// The folder.
        package let path: String

        /// The path of one of its files.
        package func file(_ name: String) -> String { "\(path)/\(name)" }
    }

    static let manifestName = "manifest.json"

    /// The folder that holds the checkpoints.
    package let path: String

    package init(path: String) { self.path = path }

    /// The folder of a step's checkpoint, whether it exists or not.
    package func path(ofStep step: Int) -> String {
        let digits = String(step)
        return "\(path)/step-\(String(repeating: "0", count: max(0, 6 - digits.count)))\(digits)"
    }

    // MARK: - Writing

    /// Saves the checkpoint of `step`, replacing one that is there.
    ///
    /// - Parameter fill: writes the checkpoint's files into the folder it is given.
    /// - Throws: what `fill` throws, or ``FileError``. The folder is removed then, and an older checkpoint of the same
    ///   step stays as it was.
    @discardableResult
    package func write(step: Int, _ fill: (String) throws -> Void) throws -> Checkpoint {
        let final = path(ofStep: step)
        let partial = "\(final).partial"
        let manager = FileManager.default
        try? manager.removeItem(atPath: partial)
        do {
            try manager.createDirectory(atPath: partial, withIntermediateDirectories: true)
        } catch {
            throw FileError(path: partial, .failed, "could not create the folder: \(error.localizedDescription)")
        }
        do {
            try fill(partial)
            try finish(partial)
            try replace(final, with: partial)
        } catch {
            try? manager.removeItem(atPath: partial)
            throw error
        }
        return Checkpoint(step: step, path: final)
    }

    /// Flushes all files of a folder and lists them in its manifest.
    private func finish(_ folder: String) throws {
        var manifest = Manifest(files: [:])
        for name in try Self.files(in: folder) {
            let file = "\(folder)/\(name)"
            try FileDescriptors.synchronize(file)
            manifest.files[name] = try Self.size(of: file)
        }
        try AtomicFile.write(json: manifest, to: "\(folder)/\(Self.manifestName)")
    }

    private func replace(_ final: String, with partial: String) throws {
        // rename() cannot replace a folder that is not empty. The old one gets a name that readers ignore first, so
        // that no moment exists at which a mixture of both could be taken for a checkpoint.
        let replaced = "\(final).replaced.partial"
        try? FileManager.default.removeItem(atPath: replaced)
        let existed = rename(final, replaced) == 0
        guard rename(partial, final) == 0 else {
            let code = errno
            if existed { _ = rename(replaced, final) }
            throw FileError(path: final, couldNot: "give the checkpoint its name", code: code)
        }
        try FileDescriptors.synchronize(path)
        if existed { try? FileManager.default.removeItem(atPath: replaced) }
    }

    // MARK: - Reading

    /// The complete checkpoints, oldest first.
    package func list() -> [Checkpoint] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
        return names.compactMap { name -> Checkpoint? in
            guard name.hasPrefix("step-"), let step = Int(name.dropFirst(5)), step >= 0 else { return nil }
            let checkpoint = Checkpoint(step: step, path: "\(path)/\(name)")
            return problem(with: checkpoint.path) == nil ? checkpoint : nil
        }.sorted { $0.step < $1.step }
    }

    /// The complete checkpoint of the highest step.
    package func latest() -> Checkpoint? { list().last }

    /// The checkpoint of a step.
    ///
    /// - Throws: ``FileError`` that says which ones there are, or what is missing from this one.
    package func checkpoint(atStep step: Int) throws(FileError) -> Checkpoint {
        let folder = path(ofStep: step)
        if let problem = problem(with: folder) {
            let steps = list().map { String($0.step) }.joined(separator: ", ")
            throw FileError(
                path: folder,
                "\(problem); complete checkpoints of this run: \(steps.isEmpty ? "none" : "steps \(steps)")")
        }
        return Checkpoint(step: step, path: folder)
    }

    /// The model folder that `path` stands for: the latest checkpoint of a run, or the folder itself.
    package static func model(in path: String) -> String {
        let folder = path + "/checkpoints"
        guard FileManager.default.fileExists(atPath: folder) else { return path }
        return CheckpointFolders(path: folder).latest()?.path ?? path
    }

    /// Why a folder is not a complete checkpoint, or nil when it is one.
    private func problem(with folder: String) -> String? {
        guard FileManager.default.fileExists(atPath: folder) else { return "there is no such checkpoint" }
        guard let data = FileManager.default.contents(atPath: "\(folder)/\(Self.manifestName)"),
            let manifest = try? JSONDecoder().decode(Manifest.self, from: data)
        else { return "the checkpoint is incomplete: it has no readable \(Self.manifestName)" }
        for (name, size) in manifest.files.sorted(by: { $0.key < $1.key }) {
            guard let found = try? Self.size(of: "\(folder)/\(name)") else {
                return "the checkpoint is incomplete: '\(name)' is missing"
            }
            guard found == size else {
                return "the checkpoint is incomplete: '\(name)' has \(found) bytes, expected \(size)"
            }
        }
        return nil
    }

    // MARK: - Pruning

    /// Removes all complete checkpoints but the `count` latest, and the leftovers of interrupted saves.
    package func prune(keepingLatest count: Int) throws(FileError) {
        precondition(count >= 1, "prune(keepingLatest:) would remove every checkpoint")
        var doomed = list().dropLast(count).map(\.path)
        let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
        doomed += names.filter { $0.hasPrefix("step-") && $0.hasSuffix(".partial") }.map { "\(path)/\($0)" }
        for folder in doomed {
            // Without its manifest a half-removed folder is no checkpoint any more.
            unlink("\(folder)/\(Self.manifestName)")
            do { try FileManager.default.removeItem(atPath: folder) } catch {
                throw FileError(path: folder, .failed, "could not remove the checkpoint: \(error.localizedDescription)")
            }
        }
    }

    /// Renames the checkpoints after `step`, so that they are none any more: `step-000400.set-aside`.
    func setAside(after step: Int) throws(FileError) {
        for checkpoint in list() where checkpoint.step > step {
            var target = "\(checkpoint.path).set-aside"
            var count = 1
            while FileManager.default.fileExists(atPath: target) {
                count += 1
                target = "\(checkpoint.path).set-aside-\(count)"
            }
            guard rename(checkpoint.path, target) == 0 else {
                throw FileError(path: checkpoint.path, couldNot: "set the checkpoint aside", code: errno)
            }
        }
    }

    // MARK: - Pieces

    private struct Manifest: Codable {
        /// Sizes in bytes by path below the checkpoint's folder.
        var files: [String: Int]
    }

    private static func files(in folder: String) throws(FileError) -> [String] {
        let names: [String]
        do { names = try FileManager.default.subpathsOfDirectory(atPath: folder) } catch {
            throw FileError(path: folder, .failed, "could not read the folder: \(error.localizedDescription)")
        }
        var files: [String] = []
        for name in names {
            var status = stat()
            guard stat("\(folder)/\(name)", &status) == 0 else {
                throw FileError(path: "\(folder)/\(name)", couldNot: "read it", code: errno)
            }
            if status.st_mode & S_IFMT == S_IFDIR {
                try FileDescriptors.synchronize("\(folder)/\(name)")
            } else {
                files.append(name)
            }
        }
        return files.sorted()
    }

    private static func size(of path: String) throws(FileError) -> Int {
        var status = stat()
        guard stat(path, &status) == 0 else { throw FileError(path: path, couldNot: "read it", code: errno) }
        return Int(status.st_size)
    }
}
