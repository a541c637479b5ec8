import ArgumentParser
import Compatibility
import Formats
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
        let given = try FinetuneArguments(arguments, trainFlags: TrainOptionNames.all)
        if arguments.isEmpty || given.asksForHelp { throw CleanExit.helpRequest(self) }
        if given.printsFlags { return print(FinetuneFlags.markdown) }
        let translation = try FinetuneTranslation(given)
        let train = try Self.parsed(translation.line)
        for note in translation.notes { FileHandle.standardError.write(Data("note: \(note)\n".utf8)) }
        print(translation.line.shellText)
        if given.printsOnly { return }
        let checkpoints = FinetuneCheckpoints(
            run: translation.run,
            merge: translation.merges ? { try Model.Merge.parse([$0, "--out", $1, "--dtype", "bf16"]).run() } : nil,
            say: { print($0) })
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
            throw CommandError(.usage, "after --: \(Train.message(for: error))")
        }
        if train.resume == nil {
            let settings = try train.options.settings()
            try settings.check()
            _ = try Composition(
                settings.plugins, search: PluginSearch(paths: settings.pluginPath), registry: .training)
        }
        return train
    }
}

/// The flags of `craft train`, as its help names them.
enum TrainOptionNames {
    static let all = Set(Train.helpMessage().matches(of: /--([a-z][a-z-]+)/).map { String($0.1) })
}
