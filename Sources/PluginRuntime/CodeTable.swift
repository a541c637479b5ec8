/// Integers that stand for a choice in the plugin interface: what each means.
package struct CodeTable: Sendable, Encodable, Equatable {
    package struct Value: Sendable, Encodable, Equatable {
        package let name: String
        package let code: Int64
        package let doc: String
    }

    /// As entries of the registry refer to it.
    package let name: String
    package let doc: String
    /// Whether other integers have a meaning too: an index.
    package let isOpen: Bool
    package let values: [Value]

    /// The table of this name.
    package static func named(_ name: String) -> CodeTable? { all.first { $0.name == name } }

    /// Whether `code` means something.
    package func contains(_ code: Int64) -> Bool { isOpen || values.contains { $0.code == code } }

    /// `0 (tensor), 1 (layer), 2 (module) and 3 (global)`.
    package var valuesText: String {
        let all = values.map { "\($0.code) (\($0.name))" } + (isOpen ? ["indices"] : [])
        return all.count < 2 ? all.joined() : "\(all.dropLast().joined(separator: ", ")) and \(all[all.count - 1])"
    }
}

/// A choice that an integer of the plugin interface stands for.
package protocol HookCode: RawRepresentable<Int64>, CaseIterable, Sendable {
    static var table: CodeTable { get }
}

/// An integer that stands for nothing.
package struct UnknownCode: Error, Equatable, CustomStringConvertible {
    package let name: String
    package let code: Int64
    package let table: CodeTable

    package var description: String { "'\(name)' is \(code); there are \(table.valuesText)" }
}

extension ValueStore {
    /// What the integer `name` stands for; nil when there is none. Throws ``UnknownCode``.
    package func code<Code: HookCode>(_ name: String, as type: Code.Type = Code.self) throws(UnknownCode) -> Code? {
        guard let code = integer(name) else { return nil }
        guard let value = Code(rawValue: code) else { throw UnknownCode(name: name, code: code, table: Code.table) }
        return value
    }
}
