import ArgumentParser
import Formats
import Foundation
import PluginRuntime
import Processes
import Training

extension Plugins {
    /// What a plugin says about itself.
    struct Inspect: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a plugin's formula, settings, hooks, state and where it comes from.",
            discussion: """
                craft plugins inspect CRaFTDual
                craft plugins inspect second=CRaFTDual:objective=answer

                With settings or another instance name, hooks are shown with the names that follow from them.
                """)

        @Argument(help: ArgumentHelp("Plugin name or .so file, with settings: NAME:key=value.", valueName: "plugin"))
        var plugin: String

        @Flag(help: "Print it as JSON.")
        var json = false

        @OptionGroup var assignments: SettingAssignments

        @OptionGroup var folders: PluginFolders

        func run() throws {
            let requests = try PluginRequest.parseList(plugin)
            guard requests.count == 1 else {
                throw CommandError(.usage, "'\(plugin)' names \(requests.count) plugins; inspect takes one")
            }
            let request = try assignments.apply(to: [requests])[0][0]
            let path = try folders.search.locate(request.name)
            let report = try PluginReport(PluginLibrary(path: path), request)
            guard json else { return print(report.text) }
            print(try JSONText.document(report))
        }
    }
}

/// Everything that is to be known of a plugin without running it in training.
struct PluginReport: Encodable {
    struct Setting: Encodable {
        var name: String
        var type: String
        var value: String
        var minimum: Double?
        var maximum: Double?
        var choices: [String]
        var doc: String

        /// "at least 0.0", "0.0 to 1.0", "one of a, b"; empty without limits.
        var range: String {
            if !choices.isEmpty { return "one of \(choices.joined(separator: ", "))" }
            return switch (minimum, maximum) {
            case (let low?, let high?): "\(low) to \(high)"
            case (let low?, nil): "at least \(low)"
            case (nil, let high?): "at most \(high)"
            case (nil, nil): ""
            }
        }
    }

    struct Hook: Encodable {
        var point: String
        /// "native" or "frame".
        var call: String
        /// As declared.
        var signature: String
        var reads: [String]
        var gives: [String]
    }

    struct State: Encodable {
        var version: UInt32
        /// Bytes that it saves right after it was made.
        var bytes: Int
    }

    var id: String
    var version: String
    var summary: String
    var formula: String
    var reference: String
    var file: String
    var sha256: String
    /// SHA-256 of the libraries that the plugin brings along, by soname.
    var libraries: [String: String]
    var abi: String
    var settings: [Setting]
    var hooks: [Hook]
    /// Nil for a plugin without state of its own.
    var state: State?

    /// Creates an instance. Throws when it refuses its settings.
    init(_ library: PluginLibrary, _ request: PluginRequest) throws {
        let instance = try PluginInstance(library: library, request: request)
        (id, version, summary) = (library.id, library.version, library.summary)
        (formula, reference) = (library.formula, library.reference)
        (file, sha256, libraries) = (library.path, library.sha256, library.libraries)
        abi = "\(library.abi.major).\(library.abi.minimumMinor)"
        settings = library.parameters.map { parameter in
            Setting(
                name: parameter.name, type: parameter.kind.rawValue,
                value: instance.loaded.settings[parameter.name] ?? parameter.defaultText, minimum: parameter.minimum,
                maximum: parameter.maximum, choices: parameter.choices, doc: parameter.doc)
        }
        hooks = HookPoint.allCases.flatMap { point in
            zip(library.hooks.filter { $0.point == point }, instance.arguments(at: point)).map { hook, arguments in
                Hook(
                    point: point.rawValue, call: hook.isFrame ? "frame" : "native", signature: hook.signatureText,
                    reads: arguments.inputs.map(\.description), gives: arguments.results.map(\.description))
            }
        }
        if instance.isStateful {
            state = State(
                version: library.stateVersion, bytes: try instance.saveState().count - instance.stateHeaderSize)
        }
    }

    /// What a terminal shows.
    var text: String {
        func indented(_ text: String) -> [String] { text.split(separator: "\n").map { "  \($0)" } }
        var lines = ["\(id) \(version): \(summary)"]
        if !formula.isEmpty { lines += ["formula"] + indented(formula) }
        if !reference.isEmpty { lines += ["reference", "  \(reference)"] }
        lines += [settings.isEmpty ? "settings: none" : "settings"]
        for setting in settings {
            let type = [setting.type, setting.range].filter { !$0.isEmpty }.joined(separator: ", ")
            let value = setting.value.isEmpty ? "(empty)" : setting.value
            lines.append("  \(setting.name) = \(value)  (\(type)) \(setting.doc)")
        }
        lines.append("hooks")
        for hook in hooks {
            lines.append("  \(hook.point) (\(hook.call) call)")
            for (verb, values) in [("reads", hook.reads), ("gives", hook.gives)] where !values.isEmpty {
                lines.append("    \(verb) \(values.joined(separator: ", "))")
            }
        }
        lines.append(
            state.map { "state: version \($0.version), \($0.bytes) bytes before the first step" }
                ?? "state: none of its own (multipliers are the run's)")
        lines += ["file: \(file)", "SHA-256: \(sha256)"]
        lines += libraries.sorted { $0.key < $1.key }.map { "brings \($0.key), SHA-256: \($0.value)" }
        lines += ["needs ABI \(abi); this craft has \(PluginLibrary.hostABI)"]
        return lines.joined(separator: "\n")
    }
}
