import ArgumentParser
import Data
import Formats
import Foundation

/// `craft data`: demonstrations, without a model.
struct DataCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "data",
        abstract: "Record, look at, check and measure demonstrations.",
        subcommands: [DataRecord.self, DataInfo.self, DataVerify.self, DataStats.self, DataBench.self])
}

/// Which data set a subcommand is about.
struct DatasetOptions: ParsableArguments {
    @Argument(
        help: ArgumentHelp(
            "Folder of the data set, of one of its versions, or any folder above that holds just one.", valueName: "dir"
        ))
    var folder: String

    @Option(help: "Which data set, where the folder holds several. Default: the only one.")
    var dataset: String?

    func open() throws -> any DemonstrationStore { try Demonstrations.open(root: folder, name: dataset) }
}

/// Few-shot selection.
struct ShotOptions: ParsableArguments {
    @Option(help: "Only N episodes of each instruction. Default: all.")
    var shots: Int?

    @Option(help: "Draw the episodes of --shots from this seed. Default: the first ones in stored order.")
    var shotsSeed: UInt64?

    /// Of the selected episodes; without a selection of all splits, as the reference takes them.
    func statistics(_ dataset: any DemonstrationStore) throws -> DatasetStatistics {
        let selected = try select(dataset)
        return shots == nil ? try dataset.statistics() : try DatasetStatistics(episodes: selected)
    }

    func select(_ dataset: any DemonstrationStore) throws -> [Episode] {
        if let shots, shots < 1 { throw DataError(.invalid, "--shots is \(shots); expected at least 1.") }
        if shots == nil, shotsSeed != nil {
            throw DataError(
                .invalid, "--shots-seed is given without --shots; say how many episodes of each instruction to draw.")
        }
        guard shots != nil else { return dataset.episodes }
        let selection = EpisodeSelection(dataset.episodes, shots: shots, shotsSeed: shotsSeed)
        return selection.training.map { dataset.episodes[$0] }
    }
}
