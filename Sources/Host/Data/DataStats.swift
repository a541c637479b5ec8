import ArgumentParser
import Data
import Foundation

struct DataStats: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stats",
        abstract: "Write dataset_statistics.json: what actions and states are normalised by.",
        discussion: """
            Layout, text and numbers are those of the reference pipeline (OpenVLA, VLA-Adapter with numpy 1.26): float32 \
            means and deviations in stored order, 1 % and 99 % quantiles, over all splits. With --shots, of the selected \
            episodes of split train only.
            """)

    @OptionGroup var options: DatasetOptions
    @OptionGroup var shots: ShotOptions

    @Option(help: ArgumentHelp("File to write. Default: standard output.", valueName: "file"))
    var out: String?

    func run() throws {
        let dataset = try options.open()
        let statistics = try shots.statistics(dataset)
        if let out {
            try statistics.save(to: out, dataset: dataset.name)
            print(
                "\(out): \(statistics.trajectoryCount) episodes, \(statistics.transitionCount) steps of \(dataset.name)"
            )
        } else {
            print(DatasetStatistics.json([dataset.name: statistics]))
        }
    }
}
