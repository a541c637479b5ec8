internal import Spelling

/// One setting of one plugin of a list, as `--set` takes it: `CRaFTDual.budget=0.05`.
package struct PluginAssignment: Sendable, Equatable {
    /// The name of the plugin's use in the list.
    package let instance: String
    package let key: String
    /// As typed.
    package let value: String

    package init(instance: String, key: String, value: String) {
        self.instance = instance
        self.key = key
        self.value = value
    }

    /// Reads `instance.key=value`; the value may be empty and hold anything. Throws ``PluginListError``.
    package init(parsing text: String) throws {
        let sides = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        // An instance name may have dots, a setting's has none.
        guard sides.count == 2, let dot = sides[0].lastIndex(of: ".") else {
            throw PluginListError("'\(text)' is not a setting of a plugin; write PLUGIN.key=value")
        }
        instance = String(sides[0][..<dot].trimmed)
        key = String(sides[0][sides[0].index(after: dot)...].trimmed)
        value = String(sides[1].trimmed)
        guard !instance.isEmpty, !key.isEmpty else {
            throw PluginListError("'\(text)' is not a setting of a plugin; write PLUGIN.key=value")
        }
    }

    /// Puts the value into every list that has the instance. Throws ``PluginListError`` when none has it.
    package func apply(to lists: inout [[PluginRequest]]) throws {
        var isFound = false
        for list in lists.indices {
            for index in lists[list].indices where lists[list][index].instance == instance {
                lists[list][index].settings[key] = value
                isFound = true
            }
        }
        guard isFound else { throw PluginListError(missing(in: lists.flatMap(\.self))) }
    }

    private func missing(in requests: [PluginRequest]) -> String {
        var instances: [String] = []
        for request in requests where !instances.contains(request.instance) { instances.append(request.instance) }
        let others = requests.filter { PluginRequest(name: $0.name).instance == instance }.map(\.instance)
        let hint =
            others.isEmpty
            ? Suggestion.hint(
                for: instance, among: instances,
                otherwise: instances.isEmpty ? "the list is empty" : "in the list: \(instances.joined(separator: ", "))"
            )
            : "it is there under the name \(others.joined(separator: ", "))"
        return "'\(instance).\(key)': there is no plugin '\(instance)' in the list; \(hint)"
    }
}

extension PluginRequest {
    /// The lists with what `--set` gives: `PLUGIN.key=value`, later ones over earlier ones. Throws ``PluginListError``.
    package static func lists(_ lists: [[PluginRequest]], setting assignments: [String]) throws -> [[PluginRequest]] {
        var lists = lists
        for text in assignments { try PluginAssignment(parsing: text).apply(to: &lists) }
        return lists
    }
}
