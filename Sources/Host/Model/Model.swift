import ArgumentParser
import Collectives
import Formats
import Foundation
import Models
import Training

struct Model: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Look into model folders, compare them with PyTorch, and convert them.",
        subcommands: [
            Info.self, Trace.self, Init.self, Merge.self, Blend.self, Export.self, Import.self, Tokenize.self,
        ])

    /// Settings that a released configuration leaves open.
    struct FolderOptions: ParsableArguments {
        @Option(help: ArgumentHelp("Folder of the base model, for an adapter without it.", valueName: "folder"))
        var base: String?

        @Option(help: "Threads. Default: the processors of the machine.")
        var threads: Int?

        func open(_ path: String) throws -> ModelFolder {
            var choices = ModelFolder.Choices()
            choices.base = base
            return try ModelFolder(path: CheckpointFolders.model(in: path), choices: choices)
        }

        func checkedThreads() throws -> Int {
            let count = threads ?? ProcessorMask.count
            guard count > 0 else { throw CommandError(.usage, "--threads is \(count); expected at least 1") }
            return count
        }
    }
}

extension Model {
    struct Info: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a model's architecture, its tensors and parameters by part, and what is missing.",
            discussion: """
                craft model info DIR                what the folder holds, compared with its configuration
                craft model info CONFIG --counts    what a configuration amounts to, without weights
                """)

        @Argument(help: "Model folder, run folder, or a config.json.")
        var path: String

        @Flag(help: "Counts of the architecture, from the configuration alone.")
        var counts = false

        @Option(help: "Rank of the adapters that --counts counts.")
        var rank = 64

        @Flag(help: "Print JSON.")
        var json = false

        func run() throws {
            guard (1...65_536).contains(rank) else {
                throw CommandError(.usage, "--rank is \(rank); expected a number from 1 to 65536")
            }
            var isDirectory: ObjCBool = false
            let exists = FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory)
            if counts || (exists && !isDirectory.boolValue) {
                let folder = isDirectory.boolValue ? CheckpointFolders.model(in: path) + "/config.json" : path
                let config = try ModelConfig(file: folder)
                let counts = ModelCounts(config, rank: rank)
                return try show(counts, [folder] + config.summary.map { "  " + $0 } + [""] + counts.lines)
            }
            let info = ModelInfo(try ModelFolder(path: CheckpointFolders.model(in: path)))
            try show(info, info.lines)
        }

        private func show(_ value: some Encodable, _ lines: [String]) throws {
            guard json else { return print(lines.joined(separator: "\n")) }
            print(try JSONText.document(value))
        }
    }
}
