import ArgumentParser
import Formats
import Foundation
import Models
import Tensors
import Training

extension Model {
    struct Init: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write a model folder of an architecture with random weights.",
            discussion: "craft model init config.json --out models/random --dtype bf16")

        @Argument(help: "A config.json.")
        var config: String

        @Option(help: ArgumentHelp("The new folder.", valueName: "folder"))
        var out: String

        @Option(help: "Type of the vision-language model's weights.")
        var dtype = StorageArgument.bf16

        @Option(help: "Seed of the weights.")
        var seed: UInt64 = 0

        @Option(help: "Action head, when the configuration leaves it open.")
        var policy = ActionHead.pro

        @Flag(inversion: .prefixedNo, help: "Write an action head and a proprioception projector too.")
        var head = true

        func run() throws {
            let count = try RandomModel.write(
                config: config, proPolicy: policy == .pro, to: out, storage: dtype.storage, seed: seed,
                withHead: head)
            print("\(out): \(count.tensors) tensors, \(count.parameters) parameters")
        }
    }

    struct Merge: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Fold an adapter into the weights, in float32, and check that the model stays the same.",
            discussion: """
                The trained action queries are always part of the result. Base and merged model are run on the same random \
                batch before the folder gets its name.
                """)

        @Argument(help: "Model folder with lora_adapter/ in it, or a run folder.")
        var folder: String

        @Option(help: ArgumentHelp("The new folder.", valueName: "folder"))
        var out: String

        @Option(help: "Type of the merged weights.")
        var dtype = StorageArgument.f32

        @OptionGroup var options: FolderOptions

        func run() throws {
            var settings = ModelExporter.Options()
            settings.storage = dtype.storage
            settings.merges = true
            try Model.export(folder, to: out, settings, options)
        }
    }

    struct Export: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write a model folder anew, as VLA-Adapter's code reads it.",
            discussion: """
                The source may be a run: its latest checkpoint is taken. An adapter stays beside the weights unless --merge \
                is given.
                """)

        @Argument(help: "Model folder, checkpoint or run folder.")
        var folder: String

        @Option(help: ArgumentHelp("The new folder.", valueName: "folder"))
        var out: String

        @Option(help: "Type of the vision-language model's weights. Default: as they are.")
        var dtype: StorageArgument?

        @Flag(help: "Fold the adapter into the weights.")
        var merge = false

        @Option(help: ArgumentHelp("Largest size of a file of weights, in bytes.", valueName: "bytes"))
        var maxShardSize = 5_000_000_000

        @OptionGroup var options: FolderOptions

        func run() throws {
            guard maxShardSize > 0 else {
                throw CommandError(.usage, "--max-shard-size is \(maxShardSize); expected a number of bytes")
            }
            var settings = ModelExporter.Options()
            settings.storage = dtype?.storage
            settings.merges = merge
            settings.shardBytes = maxShardSize
            try Model.export(folder, to: out, settings, options)
        }
    }

    fileprivate static func export(
        _ path: String, to out: String, _ settings: ModelExporter.Options, _ options: FolderOptions
    ) throws {
        let exporter = try ModelExporter(
            options.open(path), options: settings, parallel: Parallel(threads: options.checkedThreads()))
        let report = try exporter.write(to: out)
        var parts = ["\(out): \(report.tensors) tensors"]
        if let difference = report.difference {
            parts.append("\(report.mergedModules) modules merged")
            parts.append(String(format: "largest difference to the unmerged model %.1e", difference))
        }
        print(parts.joined(separator: ", "))
        for note in report.notes { print("note: \(note)") }
    }
}
