internal import Foundation
internal import Models
internal import PluginRuntime
internal import Tensors

/// What a plugin list would do, in words, without training: order, providers, readers and what it costs.
public struct PlanReport {
    public let text: String

    /// - Throws: with every problem of the composition in one table.
    public init(settings: RunSettings) throws {
        let composition = try Composition(
            settings.plugins, search: PluginSearch(paths: settings.pluginPath), registry: .training)
        var lines = [composition.planText]
        if FileManager.default.fileExists(atPath: settings.model + "/config.json") {
            let config = try ModelConfig(folder: settings.model)
            let model = VLAModel(config: config, fineTuning: settings.adapter.map(FineTuning.lowRank) ?? .full)
            let trainable = model.parameters.trainableCount
            let accumulators = composition.objectives.count
            let mebibyte = Double(1 << 20)
            func size(_ values: Int) -> String { String(format: "%.1f MiB", Double(values) * 4 / mebibyte) }
            lines += [
                "", "Memory for \(settings.model)",
                "  parameters   \(size(trainable + model.parameters.frozenCount)), of them trainable \(size(trainable))",
                "  gradients    \(size(accumulators * trainable)): one accumulator for each of "
                    + "\(accumulators) objective\(accumulators == 1 ? "" : "s")",
                "  moments      \(size(2 * trainable))",
            ]
        }
        text = lines.joined(separator: "\n")
    }
}
