import Formats
import Foundation
import PluginRuntime
import Training
import Yams

/// `GRID.yaml`: what `craft ablate` runs.
///
///     settings: {steps: 200}                # flags of craft train, and CRaFTDual.lr: 0.05, for every run
///     seeds: [0, 1, 2]
///     combinations:                         # name: plugins, as craft train takes them
///       plain: BaselineL1
///       craft: [BaselineL1, AnchorVariants, CRaFTDual: {budget: 0.05}]
///       slow:  {plugins: BaselineL1, settings: {lr: 0.0001}}
///     sweep:                                # every combination with every value
///       batch-size: [4, 8]
///       CRaFTDual.budget: [0.05, 0.1]       # only where the plugin is
package enum AblationFile {
    private static let keys = ["settings", "seeds", "combinations", "sweep"]

    package static func read(_ path: String) throws -> AblationGrid {
        let expected = "`combinations:` with a name and a plugin list on each line"
        let mapping = try RunFile.mapping(
            path, takes: "craft ablate takes a YAML file, or paper for the paper's grid", expected: expected)
        for (key, _) in mapping where !keys.contains(key.string ?? "") {
            throw ExperimentError(
                .malformedFile,
                "\(path): there is no '\(key.string ?? "?")' in a grid; there are \(keys.joined(separator: ", "))")
        }
        guard let combinations = mapping["combinations"]?.mapping else {
            throw ExperimentError(
                .malformedFile, "\(path): expected \(expected)")
        }
        var grid = AblationGrid(combinations: try combinations.map { try combination($0, $1, path) })
        if let settings = mapping["settings"] { grid.flags = try flags(settings, "settings", path) }
        if let seeds = mapping["seeds"] {
            guard let items = seeds.sequence else {
                throw ExperimentError(.malformedFile, "\(path): seeds is not a list of numbers")
            }
            grid.seeds = try items.map { item in
                guard let seed = item.scalar.flatMap({ UInt64($0.string) }) else {
                    throw ExperimentError(
                        .malformedFile, "\(path): a seed is a whole number from 0, not '\(item.string ?? "?")'")
                }
                return seed
            }
        }
        if let sweep = mapping["sweep"] {
            guard let axes = sweep.mapping else {
                throw ExperimentError(
                    .malformedFile, "\(path): sweep is not a list of settings with their values, `lr: [0.001, 0.0005]`")
            }
            grid.axes = try axes.map { key, values in
                guard let name = key.string, let items = values.sequence, !items.isEmpty else {
                    throw ExperimentError(
                        .malformedFile, "\(path): sweep: '\(key.string ?? "?")' needs a list of values")
                }
                return AblationGrid.Axis(values: try items.map { try flag(name, $0, path) })
            }
        }
        return grid
    }

    private static func combination(_ key: Node, _ value: Node, _ path: String) throws -> AblationGrid.Combination {
        guard let name = key.string, !name.isEmpty else {
            throw ExperimentError(.malformedFile, "\(path): a combination has no name")
        }
        if let mapping = value.mapping {
            for (key, _) in mapping where !["plugins", "settings"].contains(key.string ?? "") {
                throw ExperimentError(
                    .malformedFile,
                    "\(path): \(name): there is no '\(key.string ?? "?")' here; there are plugins and settings")
            }
            guard let plugins = mapping["plugins"] else {
                throw ExperimentError(.malformedFile, "\(path): \(name) has no plugins")
            }
            return AblationGrid.Combination(
                name: name, plugins: try PluginRequest.parseList(RunFile.plugins(plugins, path: path)),
                flags: try mapping["settings"].map { try flags($0, name, path) } ?? [])
        }
        return AblationGrid.Combination(
            name: name, plugins: try PluginRequest.parseList(RunFile.plugins(value, path: path)))
    }

    /// - Parameter plugin: of whose settings these are, with a dot; empty for flags.
    private static func flags(
        _ node: Node, _ place: String, _ path: String, plugin: String = ""
    ) throws -> [AblationGrid.Flag] {
        guard let mapping = node.mapping else {
            throw ExperimentError(.malformedFile, "\(path): \(place): expected settings as `name: value` lines")
        }
        return try mapping.flatMap { key, value -> [AblationGrid.Flag] in
            guard let name = key.string else {
                throw ExperimentError(.malformedFile, "\(path): \(place): a setting's name is not a text")
            }
            if name == "set", let items = value.sequence {
                return try items.map { item in
                    let assignment = try PluginAssignment(parsing: item.string ?? "")
                    return .init("\(assignment.instance).\(assignment.key)", assignment.value)
                }
            }
            // `CRaFTDual: {budget: 0.05}` is `CRaFTDual.budget: 0.05`; both may stand below `set`.
            guard value.mapping == nil || !plugin.isEmpty else {
                return try flags(value, name, path, plugin: name == "set" ? "" : name + ".")
            }
            return [try flag(plugin + name, value, path)]
        }
    }

    private static func flag(_ name: String, _ value: Node, _ path: String) throws -> AblationGrid.Flag {
        if let list = RunFile.list(value) { return AblationGrid.Flag(name, list) }
        guard let text = value.scalar?.string else {
            throw ExperimentError(
                .malformedFile, "\(path): the value of \(name) is neither a text, a number nor a list")
        }
        let isPlain = value.scalar?.style == .plain || value.scalar?.style == .any
        // A plugin's switch takes its value; a flag's is the flag or its --no- form.
        if let flag = value.bool, isPlain, !name.contains(".") {
            return AblationGrid.Flag(name, flag ? "true" : "false", isSwitch: true)
        }
        return AblationGrid.Flag(name, text)
    }
}
