import Formats
import Foundation
import PluginRuntime
import Training
package import Yams

/// A run's settings in YAML, under the names of the flags of `craft train`.
package enum RunFile {
    package static func arguments(_ path: String) throws -> [String] {
        let mapping = try mapping(
            path, takes: "--config takes a YAML file with settings by flag name",
            expected: "settings as `name: value` lines, e.g. `steps: 200`")
        return try mapping.flatMap { key, value -> [String] in
            guard let name = key.string else {
                throw ExperimentError(.malformedFile, "\(path): a setting's name is not a text")
            }
            let option = "--" + name.replacingOccurrences(of: "_", with: "-")
            if name == "plugins" { return [option, try plugins(value, path: path)] }
            if name == "set" { return try assignments(value, path: path).flatMap { [option, $0] } }
            if let list = list(value) { return [option, list] }
            guard let text = value.scalar?.string else {
                throw ExperimentError(
                    .malformedFile, "\(path): the value of \(name) is neither a text, a number nor a list")
            }
            // Quoted "true" is a text like any other; plain true and false are switches.
            if let flag = value.bool, value.scalar?.style == .plain || value.scalar?.style == .any {
                return [flag ? option : "--no-" + option.dropFirst(2)]
            }
            return [option + "=" + text]
        }
    }

    /// The entries of a YAML file.
    ///
    /// - Parameters:
    ///   - takes: what to say where there is no such file.
    ///   - expected: what stands in it, for one that holds something else.
    static func mapping(_ path: String, takes: String, expected: String) throws -> Node.Mapping {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw ExperimentError(.missingFile, "\(path): no such file; \(takes)")
        }
        let node: Node?
        do { node = try Yams.compose(yaml: String(decoding: data, as: UTF8.self)) } catch {
            throw ExperimentError(.malformedFile, "\(path): not YAML: \(error)")
        }
        guard let mapping = node?.mapping else {
            throw ExperimentError(.malformedFile, "\(path): expected \(expected)")
        }
        return mapping
    }

    /// A list as `A,B`, or `key: value` entries as `key=value,...`; nil for anything else.
    package static func list(_ value: Node) -> String? {
        if let items = value.sequence { return items.compactMap(\.string).joined(separator: ",") }
        return value.mapping.map { entries in
            entries.map { "\($0.string ?? "")=\($1.string ?? "")" }.joined(separator: ",")
        }
    }

    /// A list of names, or of `Name: {setting: value}` entries, as the text that `--plugins` takes.
    package static func plugins(_ value: Node, path: String) throws -> String {
        if let text = value.string { return text }
        guard let items = value.sequence else {
            throw ExperimentError(.malformedFile, "\(path): plugins is neither a text nor a list")
        }
        return try items.map { item in
            if let name = item.string { return name }
            guard let entry = item.mapping?.first, item.mapping?.count == 1, let name = entry.key.string,
                let settings = entry.value.mapping, var request = try PluginRequest.parseList(name).first
            else {
                throw ExperimentError(
                    .malformedFile, "\(path): a plugin is a name, or a name with settings as `Name: {key: value}`")
            }
            for (key, value) in settings {
                let (key, value) = try setting(key, value, of: name, path: path)
                request.settings[key] = value
            }
            return request.listText
        }.joined(separator: ",")
    }

    /// `CRaFTDual.budget: 0.05` or `CRaFTDual: {budget: 0.05}` entries, or a list of texts, as `--set` takes them.
    private static func assignments(_ value: Node, path: String) throws -> [String] {
        if let items = value.sequence {
            return try items.map { item in
                guard let text = item.string else {
                    throw ExperimentError(
                        .malformedFile, "\(path): set is a list of texts such as CRaFTDual.budget=0.05")
                }
                return text
            }
        }
        guard let mapping = value.mapping else {
            throw ExperimentError(.malformedFile, "\(path): set takes entries such as `CRaFTDual.budget: 0.05`")
        }
        return try mapping.flatMap { key, value -> [String] in
            guard let settings = value.mapping else {
                let (key, value) = try setting(key, value, of: "set", path: path)
                return ["\(key)=\(value)"]
            }
            let plugin = key.string ?? ""
            return try settings.map { key, value in
                let (key, value) = try setting(key, value, of: plugin, path: path)
                return "\(plugin).\(key)=\(value)"
            }
        }
    }

    private static func setting(_ key: Node, _ value: Node, of owner: String, path: String) throws -> (String, String) {
        guard let key = key.string, let value = value.scalar?.string else {
            throw ExperimentError(
                .malformedFile, "\(path): \(owner): '\(key.string ?? "?")' needs one value, a text or a number")
        }
        return (key, value)
    }
}
