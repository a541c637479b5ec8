import ArgumentParser
import Formats
import Foundation
import Models
import Training

extension Model {
    struct Blend: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Blend the weights of models: between a base and a fine-tuned one, or of several.",
            discussion: """
                craft model blend Assets/small-vlm runs/plain --alpha 0.5 --out models/half
                craft model blend Assets/small-vlm runs/plain --alpha vision=0.3,decoder=0.5,policy=1 --out models/wise
                craft model blend runs/a runs/b runs/c --method soup --out models/soup
                craft model blend BASE runs/a runs/b --method ties --density 0.2 --out models/ties

                wise              (1 - alpha) BASE + alpha TUNED (WiSE-FT)
                soup              the mean of all models, by --weights
                task-arithmetic   BASE + alpha sum w_i (TUNED_i - BASE)
                ties              the same with differences trimmed to their --density largest elements per tensor, and per \
                                  element the mean of those whose sign wins

                What BASE lacks (an action head, action queries) is the tuned model's, or the mean of several.
                """)

        @Argument(help: "Model folders, checkpoints or runs (their last checkpoint): BASE TUNED [MORE ...].")
        var models: [String]

        @Option(help: ArgumentHelp("The new folder.", valueName: "folder"))
        var out: String

        @Option(help: "What the blend is, as above.")
        var method = ModelBlend.Method.wise

        @Option(
            help: ArgumentHelp(
                "How far from BASE towards TUNED: one number, numbers by parameter group (vision, projector, decoder, queries, policy, proprio), or both: 0.5,policy=1. Default: 0.5 for wise, else 1; 1 for groups that are not named.",
                valueName: "alpha"))
        var alpha: String?

        @Option(
            help: ArgumentHelp(
                "One number per tuned model, in a soup per model. Default: 1 for each. A soup's are divided by their sum.",
                valueName: "list"))
        var weights: String?

        @Option(help: "Share of each difference that ties keeps. Default: 0.2.")
        var density: Double?

        @Option(help: "Type of the vision-language model's weights. Default: that of TUNED.")
        var dtype: StorageArgument?

        @Option(help: ArgumentHelp("Largest size of a file of weights, in bytes.", valueName: "bytes"))
        var maxShardSize = 5_000_000_000

        func run() throws {
            guard models.count >= 2 else { throw CommandError(.usage, "give at least two models: BASE TUNED") }
            guard maxShardSize > 0 else {
                throw CommandError(.usage, "--max-shard-size is \(maxShardSize); expected a number of bytes")
            }
            let folders = try models.map { try ModelFolder(path: CheckpointFolders.model(in: $0)) }
            let blend = try ModelBlend(folders, options: try options())
            let report = try blend.write(to: out)
            print("\(out): \(report.tensors) tensors")
            if report.withoutBase > 0 {
                print(
                    "note: \(models[0]) has none of \(report.withoutBase) of them, which are "
                        + (models.count == 2 ? "as in \(models[1])" : "the mean of the others'"))
            }
            for note in report.notes { print("note: \(note)") }
        }

        private func options() throws -> ModelBlend.Options {
            var options = ModelBlend.Options()
            options.method = method
            options.group = { ParameterGroup(of: $0)?.rawValue }
            options.storage = dtype?.storage
            options.shardBytes = maxShardSize
            if let alpha {
                guard method != .soup else {
                    throw CommandError(.usage, "--alpha is not for --method soup, which has no base; give --weights")
                }
                let factors = try BlendFactors(parsing: alpha, range: method == .wise ? 0...1 : -10...10)
                (options.alpha, options.alphas) = (factors.all ?? 1, factors.byGroup)
            } else {
                options.alpha = method == .wise ? 0.5 : 1
            }
            if let weights { options.weights = try Self.weights(weights, for: method) }
            if let density {
                guard method == .ties else { throw CommandError(.usage, "--density is for --method ties") }
                guard density > 0, density <= 1 else {
                    throw CommandError(.usage, "--density is \(density); expected a share above 0 and at most 1")
                }
                options.density = density
            }
            return options
        }

        private static func weights(_ text: String, for method: ModelBlend.Method) throws -> [Double] {
            guard method != .wise else {
                throw CommandError(.usage, "--weights is not for --method wise; give --alpha")
            }
            // Task arithmetic also takes away: a negative weight unlearns.
            let smallest = method == .taskArithmetic ? -10.0 : 0
            let weights = try text.split(separator: ",", omittingEmptySubsequences: false).map { item in
                guard let weight = Double(item), weight >= smallest, weight <= 10 else {
                    throw CommandError(.usage, "--weights has '\(item)'; expected numbers from \(Int(smallest)) to 10")
                }
                return weight
            }
            guard method == .taskArithmetic || weights.contains(where: { $0 > 0 }) else {
                throw CommandError(.usage, "--weights is \(text); at least one must be above 0")
            }
            return weights
        }
    }
}

/// `0.5`, `vision=0.3,policy=1`, or both: `0.5,policy=1`.
struct BlendFactors {
    /// For groups that are not named.
    var all: Double?
    var byGroup: [String: Double] = [:]

    init(parsing text: String, range: ClosedRange<Double>) throws {
        for item in text.split(separator: ",", omittingEmptySubsequences: false) {
            let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                .map { $0.trimmingCharacters(in: .whitespaces) }
            guard let last = parts.last, let factor = Double(last) else {
                throw CommandError(
                    .usage, "--alpha has '\(item)'; expected a number or group=number, such as 0.5,policy=1")
            }
            guard range.contains(factor) else {
                throw CommandError(
                    .usage,
                    "--alpha has '\(item)'; expected a number from \(Int(range.lowerBound)) to \(Int(range.upperBound))"
                )
            }
            guard parts.count == 2 else {
                guard all == nil else { throw CommandError(.usage, "--alpha has two numbers for all groups: \(text)") }
                all = factor
                continue
            }
            guard ParameterGroup(rawValue: parts[0]) != nil else {
                throw CommandError(
                    .usage,
                    "--alpha names '\(parts[0])'; the groups are "
                        + ParameterGroup.allCases.map(\.rawValue).joined(separator: ", "))
            }
            guard byGroup.updateValue(factor, forKey: parts[0]) == nil else {
                throw CommandError(.usage, "--alpha names \(parts[0]) twice")
            }
        }
    }
}
