import Foundation
import Processes
import Training

/// Checkpoints under the names that the original gives them: `RUN--10000_chkpt` beside the run's folder.
package struct FinetuneCheckpoints {
    let run: String
    /// Writes the merged weights of a checkpoint to a folder; nil where the folder is a link to the checkpoint instead.
    let merge: ((_ checkpoint: String, _ target: String) throws -> Void)?

    /// Takes the lines that a user is to see.
    private let say: (String) -> Void

    package init(
        run: String, merge: ((_ checkpoint: String, _ target: String) throws -> Void)?,
        say: @escaping (String) -> Void
    ) {
        self.run = run
        self.merge = merge
        self.say = say
    }

    private var manager: FileManager { .default }

    /// Makes room for a run of a name that is taken: the original goes on in the same folder and overwrites what is there; here it
    /// and its checkpoints get another name, RUN.earlier-1.
    package func setAsideEarlierRun() throws {
        guard manager.fileExists(atPath: run + "/run.json") else { return }
        // A run that is being trained keeps its folder.
        _ = try RunDirectory.resume(at: run)
        var count = 1
        while manager.fileExists(atPath: "\(run).earlier-\(count)") { count += 1 }
        let earlier = "\(run).earlier-\(count)"
        try manager.moveItem(atPath: run, toPath: earlier)
        let folder = URL(fileURLWithPath: run).deletingLastPathComponent().path
        for name in try manager.contentsOfDirectory(atPath: folder) {
            let path = "\(folder)/\(name)"
            guard let checkpoint = FinetuneRunName.checkpoint(path),
                checkpoint.run == "\(folder)/\(FinetuneRunName.last(run))"
            else { continue }
            let target = "\(folder)/\(FinetuneRunName.last(earlier))--\(checkpoint.step)_chkpt"
            if let old = try? manager.destinationOfSymbolicLink(atPath: path) {
                let rest = old.drop { $0 != "/" }
                try manager.removeItem(atPath: path)
                try manager.createSymbolicLink(
                    atPath: target, withDestinationPath: FinetuneRunName.last(earlier) + rest)
            } else {
                try manager.moveItem(atPath: path, toPath: target)
            }
        }
        say("an earlier run had this name; it is \(earlier) now")
    }

    /// Makes the name of a checkpoint that was just saved; a merged folder takes its place at the end.
    package func link(_ step: Int) throws {
        let folders = CheckpointFolders(path: RunDirectory.checkpointsPath(of: run))
        try link(folders.checkpoint(atStep: step), as: "\(run)--\(step)_chkpt")
        removeDanglingLinks()
    }

    /// Of checkpoints that were pruned.
    private func removeDanglingLinks() {
        let folder = URL(fileURLWithPath: run).deletingLastPathComponent().path
        for name in (try? manager.contentsOfDirectory(atPath: folder)) ?? [] {
            let path = "\(folder)/\(name)"
            guard name.hasPrefix(FinetuneRunName.last(run) + "--"), name.hasSuffix("_chkpt"),
                let old = try? manager.destinationOfSymbolicLink(atPath: path),
                old.hasPrefix(FinetuneRunName.last(run) + "/"), !manager.fileExists(atPath: path)
            else { continue }
            try? manager.removeItem(atPath: path)
        }
    }

    private func link(_ checkpoint: CheckpointFolders.Checkpoint, as target: String) throws {
        if (try? manager.destinationOfSymbolicLink(atPath: target)) != nil { try manager.removeItem(atPath: target) }
        guard !manager.fileExists(atPath: target) else { return }
        let below = "\(FinetuneRunName.last(run))/checkpoints/\(FinetuneRunName.last(checkpoint.path))"
        try manager.createSymbolicLink(atPath: target, withDestinationPath: below)
        say("\(target) -> \(below)")
    }

    /// Makes those that are not there yet. Merging waits for the end of training, whose memory it would need.
    package func publish(isStopped: Bool) throws {
        for checkpoint in CheckpointFolders(path: RunDirectory.checkpointsPath(of: run)).list() {
            let target = "\(run)--\(checkpoint.step)_chkpt"
            let old = try? manager.destinationOfSymbolicLink(atPath: target)
            if let old, merge != nil || !manager.fileExists(atPath: target) {
                // A link of ours, to be replaced by merged weights or to a checkpoint that is gone.
                guard old.hasPrefix(FinetuneRunName.last(run) + "/") else { continue }
                try manager.removeItem(atPath: target)
            }
            if manager.fileExists(atPath: target) { continue }
            if let merge {
                say(
                    ShellText.command(["craft", "model", "merge", checkpoint.path, "--out", target, "--dtype", "bf16"]))
                if isStopped { continue }
                try merge(checkpoint.path, target)
            } else {
                try link(checkpoint, as: target)
            }
        }
    }
}
