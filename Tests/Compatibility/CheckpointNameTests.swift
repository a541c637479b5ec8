import Compatibility
import Foundation
import TestSupport
import Testing
import Training

/// Checkpoints beside the run, under the names that the original gives them.
@Suite struct CheckpointNameTests {
    private let folder: TemporaryFolder
    private var run: String { folder.path("a") }
    private var files: FileManager { .default }

    init() throws { folder = try TemporaryFolder() }

    private func save(_ step: Int) throws {
        try CheckpointFolders(path: RunDirectory.checkpointsPath(of: run)).write(step: step) {
            try Data("\(step)".utf8).write(to: URL(fileURLWithPath: $0 + "/weights"))
        }
    }

    private func target(_ step: Int) -> String? {
        try? files.destinationOfSymbolicLink(atPath: "\(run)--\(step)_chkpt")
    }

    @Test func namesOfCheckpointsAreRead() {
        #expect(FinetuneRunName.checkpoint("runs/a--5_chkpt/")?.run == "runs/a")
        #expect(FinetuneRunName.checkpoint("runs/a--5_chkpt/")?.step == 5)
        #expect(FinetuneRunName.checkpoint("runs/a") == nil && FinetuneRunName.checkpoint("a--x_chkpt") == nil)
    }

    /// Every checkpoint gets its name when it is saved, and loses it when it is pruned.
    @Test func checkpointsAreLinks() throws {
        var said: [String] = []
        let names = FinetuneCheckpoints(run: run, merge: nil) { said.append($0) }
        try save(5)
        try names.link(5)
        #expect(target(5) == "a/checkpoints/step-000005" && said.count == 1)
        #expect(try String(contentsOfFile: "\(run)--5_chkpt/weights", encoding: .utf8) == "5")
        try save(6)
        try files.removeItem(atPath: run + "/checkpoints/step-000005")
        try names.link(6)
        #expect(target(5) == nil && target(6) == "a/checkpoints/step-000006")
    }

    /// Merged weights take the place of the links at the end; a run that is stopped is told how to make them.
    @Test func mergedWeightsTakeTheLinksPlaces() throws {
        var said: [String] = []
        var merged: [String] = []
        let names = FinetuneCheckpoints(run: run) { checkpoint, target in
            merged.append(checkpoint)
            try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
        } say: {
            said.append($0)
        }
        try save(5)
        try names.link(5)
        try names.publish(isStopped: true)
        #expect(merged.isEmpty && said.last?.hasPrefix("craft model merge ") == true, "\(said)")
        try names.publish(isStopped: false)
        #expect(merged == [run + "/checkpoints/step-000005"] && files.fileExists(atPath: "\(run)--5_chkpt"))
        // What is there stays.
        try names.publish(isStopped: false)
        #expect(merged.count == 1)
    }
}
