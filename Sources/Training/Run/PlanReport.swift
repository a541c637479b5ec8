internal import Foundation
internal import PluginRuntime

/// What a plugin list would do, in words, without training: order, providers, readers and what it costs.
package struct PlanReport {
    package let text: String
    /// The data flow for graphviz.
    package let dot: String

    /// - Throws: with every problem of the settings in one error, else of the composition in one table.
    package init(settings: RunSettings) throws {
        try settings.check()
        let composition = try Composition(
            settings.plugins, search: PluginSearch(paths: settings.pluginPath), registry: .training)
        dot = composition.plan.dot
        var lines = [composition.planText]
        if FileManager.default.fileExists(atPath: settings.model + "/config.json") {
            let memory = try MemoryPlan(settings: settings, composition: composition)
            lines +=
                memory.blocks + RequestCost.lines(memory.requests, forwardFlops: memory.forwardFlops) + [""]
                + memory.learningRates
                + memory.lines(
                    model: settings.model, objectives: composition.objectives.count,
                    checkpoints: settings.checkpointsActivations)
        }
        text = lines.joined(separator: "\n")
    }
}
