/// One plugin as the user asks for it: which file, under which instance name, with which settings.
package struct PluginRequest: Sendable, Codable, Equatable {
    /// A name to look up in the search folders, or a path that ends in `.so`.
    package var name: String
    /// The name of this use of the plugin; unique in a list. The plugin's name unless the user gives another.
    package var instance: String
    /// Settings as typed; those not given keep the plugin's defaults.
    package var settings: [String: String]

    package init(name: String, instance: String? = nil, settings: [String: String] = [:]) {
        self.name = name
        self.instance = instance ?? Self.defaultInstance(name)
        self.settings = settings
    }

    /// The request as an entry of a plugin list; ``parseList(_:)`` reads it back.
    package var listText: String {
        func escaped(_ text: String) -> String {
            text.map { "\\,:".contains($0) ? "\\\($0)" : String($0) }.joined()
        }
        let fields = settings.sorted { $0.key < $1.key }.map { ":\(escaped($0.key))=\(escaped($0.value))" }
        // A path gives the same instance name when it is read again.
        let prefix = instance == Self.defaultInstance(name) ? "" : "\(instance)="
        return prefix + escaped(name) + fields.joined()
    }

    /// Reads a plugin list: `A,B:key=value:key2=value,second=A:key=value,/path/libX.so:key=value`.
    ///
    /// `second=A` uses plugin `A` under the instance name `second`. A backslash takes the next character literally, for
    /// values that contain `,`, `:` or `\`. An empty text is an empty list. Throws ``PluginListError``.
    package static func parseList(_ text: String) throws -> [PluginRequest] {
        guard !text.trimmed.isEmpty else { return [] }
        return try split(text, at: ",").map { item in
            guard !item.trimmed.isEmpty else {
                throw PluginListError(
                    "the plugin list '\(text)' has an empty entry: write names separated by single commas")
            }
            return try parse(String(item.trimmed))
        }
    }

    private static func parse(_ item: String) throws -> PluginRequest {
        let fields = split(item, at: ":")
        var name = unescaped(fields[0]).trimmed
        var instance: String?
        // A path may contain "=": only an "=" before any "/" separates an instance name.
        if let equals = name.firstIndex(of: "="), !name[..<equals].contains("/") {
            let given = String(name[..<equals].trimmed)
            guard NameTemplate.isName(given), !given.contains(".") else {
                throw PluginListError(
                    "'\(item)': '\(given)' cannot be an instance name; use letters, digits, '_' and '-'")
            }
            instance = given
            name = name[name.index(after: equals)...].trimmed
        }
        guard !name.isEmpty else { throw PluginListError("'\(item)' names no plugin") }

        var settings: [String: String] = [:]
        for field in fields.dropFirst() {
            guard let equals = field.firstIndex(of: "="), !field[..<equals].trimmed.isEmpty else {
                throw PluginListError("'\(item)': '\(field)' is not a setting; write key=value")
            }
            let key = unescaped(String(field[..<equals].trimmed))
            guard settings[key] == nil else { throw PluginListError("'\(item)' sets '\(key)' twice") }
            settings[key] = unescaped(String(field[field.index(after: equals)...].trimmed))
        }
        return PluginRequest(name: String(name), instance: instance, settings: settings)
    }

    /// `X` for `X`, `libX.so` and `/folder/libX.so`.
    private static func defaultInstance(_ name: String) -> String {
        guard name.hasSuffix(".so") else { return name }
        let file = name.split(separator: "/").last.map(String.init) ?? name
        return PluginSearch.pluginName(ofFile: file) ?? file
    }

    /// Splits at `separator` unless a backslash stands before it; keeps the backslashes.
    private static func split(_ text: String, at separator: Character) -> [String] {
        var parts = [""]
        var isEscaped = false
        for character in text {
            if character == separator && !isEscaped {
                parts.append("")
            } else {
                parts[parts.count - 1].append(character)
            }
            isEscaped = character == "\\" && !isEscaped
        }
        return parts
    }

    private static func unescaped(_ text: String) -> String {
        var result = ""
        var isEscaped = false
        for character in text {
            if character == "\\" && !isEscaped {
                isEscaped = true
            } else {
                result.append(character)
                isEscaped = false
            }
        }
        return result
    }
}

/// A plugin list that cannot be read.
package struct PluginListError: Error, Equatable, CustomStringConvertible {
    package let description: String
    init(_ description: String) { self.description = description }
}
