import ArgumentParser
import Foundation
import PluginRuntime
import Training

struct Finetune: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Fine-tune with the flags of the original VLA-Adapter, CRaFT or OpenVLA-OFT script.",
        usage: "craft finetune [--flag value ...] [--print-only] [-- <flags of craft train>]",
        discussion: """
            craft finetune --vlm_path models/prism --use_minivlm True --data_root_dir data --dataset_name \
            libero_spatial_no_noops --num_images_in_input 2 --use_proprio True --use_lora True --lora_rank 64 --use_craft True

            Takes what follows finetune.py verbatim, prints the craft train line that means the same, and runs it. What cannot \
            be honoured is refused with the reason. docs/FINETUNE.md is the guide.

            --print-only    print the line and end
            --flags         print the table below in Markdown
            --config_path   a YAML file with values by flag name; flags override it
            -- ...          flags of craft train that the originals do not have: -- --seed 7 --threads 8

            FLAGS (type, the original's default)

            \(FinetuneFlags.help)
            """)

    @Argument(parsing: .captureForPassthrough, help: .hidden)
    var arguments: [String] = []

    func run() throws {
        let given = try FinetuneArguments(arguments)
        if arguments.isEmpty || given.asksForHelp { throw CleanExit.helpRequest(self) }
        if given.printsFlags { return print(FinetuneFlags.markdown) }
        let translation = try FinetuneTranslation(given)
        let train = try Self.parsed(translation.line)
        for note in translation.notes { FileHandle.standardError.write(Data("note: \(note)\n".utf8)) }
        print(translation.line.shellText)
        if given.printsOnly { return }
        let checkpoints = FinetuneCheckpoints(run: translation.run, merges: translation.merges)
        if train.resume == nil { try checkpoints.setAsideEarlierRun() }
        do { try train.run { _, step in try checkpoints.link(step) } } catch let code as ExitCode {
            try translation.wandb?.publish(translation.run)
            try checkpoints.publish(isStopped: true)
            throw code
        }
        try translation.wandb?.publish(translation.run)
        try checkpoints.publish(isStopped: false)
    }

    /// The command that the line stands for, checked as far as that goes without reading weights.
    private static func parsed(_ line: TrainLine) throws -> Train {
        let train: Train
        do { train = try Train.parse(line.arguments) } catch {
            throw TrainingError("after --: \(Train.message(for: error))")
        }
        if train.resume == nil {
            let settings = try train.options.settings(over: TrainingOptions.trainDefaults)
            try settings.check()
            _ = try Composition(
                settings.plugins, search: PluginSearch(paths: settings.pluginPath), registry: .training)
        }
        return train
    }
}

/// Checkpoints under the names that the original gives them: `RUN--10000_chkpt` beside the run's folder.
struct FinetuneCheckpoints {
    let run: String
    /// Whether the folder holds merged weights; a link to the checkpoint otherwise.
    let merges: Bool

    private var manager: FileManager { .default }

    /// Makes room for a run of a name that is taken: the original goes on in the same folder and overwrites what is there; here it
    /// and its checkpoints get another name, RUN.earlier-1.
    func setAsideEarlierRun() throws {
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
        print("an earlier run had this name; it is \(earlier) now")
    }

    /// Makes the name of a checkpoint that was just saved; a merged folder takes its place at the end.
    func link(_ step: Int) throws {
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
        print("\(target) -> \(below)")
    }

    /// Makes those that are not there yet. Merging waits for the end of training, whose memory it would need.
    func publish(isStopped: Bool) throws {
        for checkpoint in CheckpointFolders(path: RunDirectory.checkpointsPath(of: run)).list() {
            let target = "\(run)--\(checkpoint.step)_chkpt"
            let old = try? manager.destinationOfSymbolicLink(atPath: target)
            if let old, merges || !manager.fileExists(atPath: target) {
                // A link of ours, to be replaced by merged weights or to a checkpoint that is gone.
                guard old.hasPrefix(FinetuneRunName.last(run) + "/") else { continue }
                try manager.removeItem(atPath: target)
            }
            if manager.fileExists(atPath: target) { continue }
            if merges {
                let words = ["merge", checkpoint.path, "--out", target, "--dtype", "bf16"]
                print(ShellText.command(["craft", "model"] + words))
                if isStopped { continue }
                let merge = try Model.Merge.parse(Array(words.dropFirst()))
                try merge.run()
            } else {
                try link(checkpoint, as: target)
            }
        }
    }
}
