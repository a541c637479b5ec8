import ArgumentParser
import Collectives
import Formats
import Foundation
import Training

extension Model {
    struct Trace: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write hidden states, actions, losses and gradients for a given batch, to compare with PyTorch.",
            discussion: """
                The inputs are a safetensors file with pixel_values, input_ids, attention_mask, proprio and actions, and \
                policy_noise if wanted. --anchor gives the initial values of trainable tensors; without it there is no \
                retention loss. scripts/reference does the same in PyTorch.
                """)

        @Argument(help: "Model folder or run folder; an adapter in it takes part.")
        var folder: String

        @Option(
            help: ArgumentHelp(
                "Folder of the base model of an adapter. Default: the one that training began with.",
                valueName: "folder"))
        var base: String?

        @Option(help: ArgumentHelp("The batch.", valueName: "file"))
        var inputs: String

        @Option(help: ArgumentHelp("Initial values of trainable tensors.", valueName: "file"))
        var anchor: String?

        @Option(name: .customLong("lambda"), help: "Multiplier of the retention gradient in the combined one.")
        var multiplier: Double = 0.3

        @Option(help: ArgumentHelp("Where to write the results.", valueName: "file"))
        var out: String

        @Option(help: "Threads. Default: the processors of the machine.")
        var threads: Int?

        func run() throws {
            guard multiplier.isFinite, multiplier >= 0 else {
                throw CommandError(.usage, "--lambda is \(multiplier); expected a number that is not negative")
            }
            guard (threads ?? 1) > 0 else {
                throw CommandError(.usage, "--threads is \(threads ?? 0); expected at least 1")
            }
            let trace = try ModelTrace(
                folder: CheckpointFolders.model(in: folder), base: base,
                threads: threads ?? ProcessorMask.count)
            let summary = try trace.write(inputs: inputs, anchor: anchor, multiplier: multiplier, to: out)
            var parts = ["\(out): \(summary.tensors) tensors", String(format: "action loss %.6f", summary.actionLoss)]
            if let loss = summary.retentionLoss { parts.append(String(format: "retention loss %.6f", loss)) }
            if let ratio = summary.conflictRatio { parts.append(String(format: "conflict ratio %.4f", ratio)) }
            print(parts.joined(separator: ", "))
        }
    }
}
