import Formats
import Foundation
import TestSupport
import Testing
import Training

@Suite("outputs: run folder, checkpoints, atomic files")
struct OutputsFolderTests {
    private let folder: TemporaryFolder
    private let manager = FileManager.default

    init() throws { folder = try TemporaryFolder() }

    private func write(_ text: String, to path: String) throws {
        try text.write(toFile: path, atomically: false, encoding: .utf8)
    }

    private func read(_ path: String) throws -> String { try String(contentsOfFile: path, encoding: .utf8) }

    // MARK: - Atomic files

    @Test("an atomic file replaces the old one on commit and leaves no trace otherwise")
    func atomicFile() throws {
        let path = folder.path("file")
        try AtomicFile.write("old", to: path)
        do {
            let file = try AtomicFile(path: path)
            try file.write("half of the n")
        }
        #expect(try read(path) == "old")
        #expect(try manager.contentsOfDirectory(atPath: folder.url.path) == ["file"])
        try AtomicFile.write("new", to: path)
        #expect(try read(path) == "new")
    }

    @Test("a full disk is a sentence and keeps the old file")
    func fullDisk() throws {
        // /dev/full takes no byte; the error must be the disk's, not a trap.
        let error = #expect(throws: FileError.self) {
            let descriptor = open("/dev/full", O_WRONLY)
            defer { close(descriptor) }
            try FileDescriptors.write([1, 2, 3], to: descriptor, path: "/dev/full")
        }
        #expect(
            error?.description == "/dev/full: could not write to the file: "
                + "the disk is full; free some space or choose a folder on another disk")
        #expect(throws: FileError.self) { try AtomicFile(path: self.folder.path("none/file")) }
    }

    // MARK: - Run folder

    @Test("a new run needs an empty folder; resuming needs a run")
    func runFolder() throws {
        let path = folder.path("deep/run")
        let identity: RunDirectory.Identity
        do {
            let run = try RunDirectory.create(at: path)
            identity = run.identity
            #expect(manager.fileExists(atPath: run.checkpointsPath) && manager.fileExists(atPath: run.tensorboardPath))

            let busy = #expect(throws: FileError.self) { try RunDirectory.resume(at: path) }
            #expect(busy?.description.contains("in use by another process") == true)
        }
        #expect(try RunDirectory.resume(at: path).identity == identity)
        #expect(identity.craft == craftVersion && identity.host != nil && identity.processor?.isEmpty == false)
        let again = #expect(throws: FileError.self) { try RunDirectory.create(at: path) }
        #expect(again?.description.contains("already holds a run") == true)

        try manager.createDirectory(atPath: folder.path("photos"), withIntermediateDirectories: false)
        let absent = #expect(throws: FileError.self) { try RunDirectory.resume(at: self.folder.path("photos")) }
        #expect(absent?.description.contains("no run.json") == true)
        try write("", to: folder.path("photos/cat.jpg"))
        let full = #expect(throws: FileError.self) { try RunDirectory.create(at: self.folder.path("photos")) }
        #expect(full?.description.contains("is not empty (it holds 'cat.jpg')") == true)
        #expect(throws: FileError.self) { try RunDirectory.create(at: self.folder.path("photos/cat.jpg")) }
    }

    @Test("a run of a newer layout, or a damaged one, is refused")
    func runFormat() throws {
        let path = folder.path("run")
        try manager.createDirectory(atPath: path, withIntermediateDirectories: false)
        try write(#"{"format": 99, "id": "x", "created": "y"}"#, to: "\(path)/run.json")
        let newer = #expect(throws: FileError.self) { try RunDirectory.resume(at: path) }
        #expect(newer?.description.contains("has format 99") == true)
        try write(#"{"format": 1, "id": "x", "created": "y"}"#, to: "\(path)/run.json")
        #expect(try RunDirectory.resume(at: path).identity.craft == nil, "a run from before these were written")
        try write("{", to: "\(path)/run.json")
        #expect(throws: FileError.self) { try RunDirectory.resume(at: path) }
    }

    // MARK: - Checkpoints

    @Test("checkpoints are listed by step and replaced whole")
    func checkpoints() throws {
        let folders = CheckpointFolders(path: folder.path("checkpoints"))
        #expect(folders.latest() == nil)
        for step in [1_000_000, 200, 400] {
            try folders.write(step: step) { try write("weights \(step)", to: "\($0)/model") }
        }
        #expect(folders.list().map(\.step) == [200, 400, 1_000_000])
        #expect(folders.latest()?.path.hasSuffix("/step-1000000") == true)
        #expect(try folders.checkpoint(atStep: 200).path.hasSuffix("/step-000200"))

        try folders.write(step: 200) { folder in
            try manager.createDirectory(atPath: "\(folder)/lora_adapter", withIntermediateDirectories: false)
            try write("new", to: "\(folder)/lora_adapter/weights")
        }
        let replaced = try folders.checkpoint(atStep: 200)
        #expect(try read(replaced.file("lora_adapter/weights")) == "new")
        #expect(!manager.fileExists(atPath: replaced.file("model")))
        #expect(try manager.contentsOfDirectory(atPath: folders.path).count == 3)
    }

    @Test("a save that fails keeps the older checkpoint and removes its own folder")
    func failedSave() throws {
        struct Stop: Error {}
        let folders = CheckpointFolders(path: folder.path("checkpoints"))
        try folders.write(step: 5) { try write("old", to: "\($0)/model") }
        #expect(throws: Stop.self) {
            try folders.write(step: 5) {
                try self.write("half", to: "\($0)/model")
                throw Stop()
            }
        }
        #expect(try read(folders.checkpoint(atStep: 5).file("model")) == "old")
        #expect(try manager.contentsOfDirectory(atPath: folders.path) == ["step-000005"])
    }

    @Test("leftovers of killed saves and damaged copies are no checkpoints")
    func incomplete() throws {
        let folders = CheckpointFolders(path: folder.path("checkpoints"))
        for step in [1, 2, 3, 4] { try folders.write(step: step) { try write("12345", to: "\($0)/model") } }
        try manager.createDirectory(atPath: "\(folders.path)/step-000009.partial", withIntermediateDirectories: false)
        try manager.createDirectory(atPath: "\(folders.path)/step-000008", withIntermediateDirectories: false)
        try write("123", to: "\(folders.path(ofStep: 4))/model")
        try manager.removeItem(atPath: "\(folders.path(ofStep: 3))/model")
        #expect(folders.latest()?.step == 2)

        let short = #expect(throws: FileError.self) { try folders.checkpoint(atStep: 4) }
        #expect(short?.description.contains("'model' has 3 bytes, expected 5") == true)
        let gone = #expect(throws: FileError.self) { try folders.checkpoint(atStep: 3) }
        #expect(gone?.description.contains("'model' is missing") == true)
        let never = #expect(throws: FileError.self) { try folders.checkpoint(atStep: 7) }
        #expect(never?.description.contains("complete checkpoints of this run: steps 1, 2") == true)
    }

    @Test("pruning keeps the latest ones")
    func pruning() throws {
        let folders = CheckpointFolders(path: folder.path("checkpoints"))
        for step in 1...6 { try folders.write(step: step) { try write("x", to: "\($0)/model") } }
        try manager.createDirectory(atPath: "\(folders.path)/step-000007.partial", withIntermediateDirectories: false)
        try folders.prune(keepingLatest: 2)
        #expect(folders.list().map(\.step) == [5, 6])
        #expect(try manager.contentsOfDirectory(atPath: folders.path).count == 2)
    }
}
