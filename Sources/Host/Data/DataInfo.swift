import ArgumentParser
import Data
import Formats
import Foundation

struct DataInfo: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "info",
        abstract: "Print what a data set holds.",
        discussion: """
            Every checksum is verified on the way, and one image of each camera decoded; a damaged set is an error (craft \
            data verify lists it all).
            """)

    @OptionGroup var options: DatasetOptions
    @OptionGroup var shots: ShotOptions

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let dataset = try options.open()
        for camera in dataset.cameras.indices { _ = try dataset.image(episode: 0, step: 0, camera: camera) }
        let summary = try Summary(dataset, try shots.select(dataset))
        print(json ? try JSONText.document(summary) : summary.text)
    }
}

private struct Summary: Encodable {
    struct Instruction: Encodable {
        var text: String
        var episodes: Int
        var steps: Int
    }

    struct Range: Encodable {
        var min: [Double]
        var max: [Double]
        var q01: [Double]
        var q99: [Double]

        init(_ statistics: FeatureStatistics) {
            (min, max) = (statistics.min, statistics.max)
            (q01, q99) = (statistics.q01, statistics.q99)
        }
    }

    var name: String
    var storedName: String
    var version: String?
    var path: String
    var shards: Int
    var bytes: Int
    var episodes: Int
    var steps: Int
    var shortestEpisode: Int
    var longestEpisode: Int
    var instructions: [Instruction]
    var images: [Camera]
    var stateWidth: Int
    var actionWidth: Int
    /// How the last number of an action is treated.
    var gripper: Embodiment.Gripper
    var action: Range
    var state: Range

    init(_ dataset: any DemonstrationStore, _ episodes: [Episode]) throws {
        let statistics = try DatasetStatistics(episodes: episodes)
        name = dataset.name
        storedName = dataset.files.name
        version = dataset.files.version
        path = dataset.path
        shards = dataset.files.count
        bytes = dataset.files.bytes
        self.episodes = episodes.count
        steps = statistics.transitionCount
        shortestEpisode = episodes.map(\.length).min() ?? 0
        longestEpisode = episodes.map(\.length).max() ?? 0
        var counts: [String: (episodes: Int, steps: Int)] = [:]
        for episode in episodes {
            counts[episode.instruction, default: (0, 0)].episodes += 1
            counts[episode.instruction, default: (0, 0)].steps += episode.length
        }
        instructions = counts.sorted { $0.key < $1.key }.map {
            Instruction(text: $0.key, episodes: $0.value.episodes, steps: $0.value.steps)
        }
        images = dataset.cameras
        stateWidth = dataset.embodiment.stateWidth
        actionWidth = dataset.embodiment.actionWidth
        gripper = dataset.embodiment.gripper
        action = Range(statistics.action)
        state = Range(statistics.proprio)
    }

    private static func text(_ camera: Camera) -> String {
        guard let width = camera.width, let height = camera.height else { return "\(camera.name) of any size" }
        return "\(camera.name) \(width)x\(height)"
    }

    var text: String {
        let dimensions =
            actionWidth == 7
            ? ["x", "y", "z", "roll", "pitch", "yaw", "gripper"] : (0..<actionWidth).map { "\($0)" }
        var lines = [
            "\(name)\(storedName == name ? "" : " (files: \(storedName))")\(version.map { " \($0)" } ?? "")",
            "  folder        \(path)",
            "  files         \(shards) shards, \(String(format: "%.1f", Double(bytes) / 1e6)) MB",
            "  episodes      \(episodes), of \(shortestEpisode) to \(longestEpisode) steps",
            "  steps         \(steps)",
            "  images        " + images.map(Self.text).joined(separator: ", "),
            "  state         \(stateWidth) values",
            "  action        \(actionWidth) values ("
                + (gripper == .libero ? "gripper: 1 open, 0 closed" : "as stored; not LIBERO's 7 and 8 numbers") + ")",
            "                         min       1 %      99 %       max",
        ]
        for (index, dimension) in dimensions.enumerated() {
            let values = [action.min, action.q01, action.q99, action.max].map {
                let text = String(format: "%.4f", $0[index])
                return String(repeating: " ", count: max(1, 10 - text.count)) + text
            }
            lines.append("    " + dimension.padding(toLength: 14, withPad: " ", startingAt: 0) + values.joined())
        }
        lines.append("  instructions  \(instructions.count)")
        lines += instructions.map {
            "    \($0.episodes) episodes, \($0.steps) steps: \($0.text.isEmpty ? "(none: not trained on)" : $0.text)"
        }
        return lines.joined(separator: "\n")
    }
}
