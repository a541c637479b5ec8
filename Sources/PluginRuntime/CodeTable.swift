/// Integers that stand for a choice in the plugin interface: what each means.
public struct CodeTable: Sendable, Encodable, Equatable {
    public struct Value: Sendable, Encodable, Equatable {
        public let name: String
        public let code: Int64
        public let doc: String
    }

    /// As entries of the registry refer to it.
    public let name: String
    public let doc: String
    /// Whether other integers have a meaning too: an index.
    public let isOpen: Bool
    public let values: [Value]

    /// The table of this name.
    public static func named(_ name: String) -> CodeTable? { all.first { $0.name == name } }

    /// Whether `code` means something.
    public func contains(_ code: Int64) -> Bool { isOpen || values.contains { $0.code == code } }

    /// `0 (tensor), 1 (layer), 2 (module) and 3 (global)`.
    public var valuesText: String {
        let all = values.map { "\($0.code) (\($0.name))" } + (isOpen ? ["indices"] : [])
        return all.count < 2 ? all.joined() : "\(all.dropLast().joined(separator: ", ")) and \(all[all.count - 1])"
    }
}

/// A choice that an integer of the plugin interface stands for.
public protocol HookCode: RawRepresentable<Int64>, CaseIterable, Sendable {
    static var table: CodeTable { get }
}

/// An integer that stands for nothing.
public struct UnknownCode: Error, Equatable, CustomStringConvertible {
    public let name: String
    public let code: Int64
    public let table: CodeTable

    public var description: String { "'\(name)' is \(code); there are \(table.valuesText)" }
}

extension ValueStore {
    /// What the integer `name` stands for; nil when there is none. Throws ``UnknownCode``.
    public func code<Code: HookCode>(_ name: String, as type: Code.Type = Code.self) throws(UnknownCode) -> Code? {
        guard let code = integer(name) else { return nil }
        guard let value = Code(rawValue: code) else { throw UnknownCode(name: name, code: code, table: Code.table) }
        return value
    }
}
