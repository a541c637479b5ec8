import Formats
import Foundation
package import PluginRuntime
import Training

/// Values by name as JSON: numbers for scalars, nested lists for arrays. Infinite values and NaN are accepted as Python
/// writes them and as strings ("inf", "-inf", "nan"), and written as strings.
package enum NamedValues {
    package indirect enum Node: Decodable {
        case null
        case number(Double)
        case integer(Int64)
        case list([Node])
        case object([String: Node])
        case other(String)

        package init(from decoder: any Decoder) throws {
            if var list = try? decoder.unkeyedContainer() {
                var nodes: [Node] = []
                while !list.isAtEnd { nodes.append(try list.decode(Node.self)) }
                self = .list(nodes)
                return
            }
            let value = try decoder.singleValueContainer()
            if value.decodeNil() {
                self = .null
            } else if let number = try? value.decode(Double.self) {
                // An integer keeps all its digits; a negative zero its sign.
                let isNegativeZero = number == 0 && number.sign == .minus
                let integer = isNegativeZero ? nil : try? value.decode(Int64.self)
                self = integer.map { .integer($0) } ?? .number(number)
            } else if let text = try? value.decode(String.self) {
                if ["nan", "inf", "+inf", "-inf", "infinity", "-infinity"].contains(text.lowercased()),
                    let number = Double(text)
                {
                    self = .number(number)
                } else {
                    self = .other("the text \"\(text)\"")
                }
            } else if let truth = try? value.decode(Bool.self) {
                self = .other("\(truth)")
            } else {
                self = .object(try value.decode([String: Node].self))
            }
        }

        /// How deep lists are nested, going by the first of each.
        package var depth: Int {
            guard case .list(let nodes) = self else { return 0 }
            return 1 + (nodes.first?.depth ?? 0)
        }
    }

    /// `{"loss": {"retention": 1}}` as `{"loss.retention": 1}`.
    private static func flattened(_ values: [String: Node], _ prefix: String = "") -> [String: Node] {
        var flat: [String: Node] = [:]
        for (key, node) in values {
            if case .object(let inner) = node {
                flat.merge(flattened(inner, prefix + key + ".")) { _, new in new }
            } else {
                flat[prefix + key] = node
            }
        }
        return flat
    }

    /// A file of one call, or of several.
    package struct Document {
        package let calls: [[String: Node]]
        package let isList: Bool

        package init(path: String) throws {
            let name = path == "-" ? "standard input" : path
            let data: Data
            if path == "-" {
                data = FileHandle.standardInput.readDataToEndOfFile()
            } else {
                guard let contents = FileManager.default.contents(atPath: path) else {
                    throw ConformanceError(.missingFile, "\(path): no such file")
                }
                data = contents
            }
            let decoder = JSONDecoder()
            // JSON5 knows NaN and Infinity, which Python's json module writes.
            decoder.allowsJSON5 = true
            if let one = try? decoder.decode([String: Node].self, from: data) {
                (calls, isList) = ([flattened(one)], false)
                return
            }
            do {
                (calls, isList) = (try decoder.decode([[String: Node]].self, from: data).map { flattened($0) }, true)
            } catch {
                throw ConformanceError(
                    .malformedFile,
                    "\(name): expected a JSON object of values by name, or a list of such objects: \(Self.reason(error))"
                )
            }
        }

        private static func reason(_ error: any Error) -> String {
            switch error {
            case DecodingError.dataCorrupted(let context):
                (context.underlyingError as? NSError)?.userInfo[NSDebugDescriptionErrorKey] as? String
                    ?? context.debugDescription
            case DecodingError.typeMismatch(_, let context): context.debugDescription
            default: "\(error)"
            }
        }
    }

    /// Why a value does not fit.
    package struct Mismatch: Error {
        package let reason: String
    }

    /// Puts a value into the store under the argument's name, in its type. `null` takes it out.
    package static func set(_ argument: HookArgument, to node: Node, in values: ValueStore) throws {
        if case .null = node { return values.remove(argument.name) }
        guard let axes = argument.type.axes else {
            switch (argument.type.element, node) {
            case (.i64, .integer(let number)): values.set(argument.name, number)
            case (.i64, .number(let number)):
                guard let whole = Int64(exactly: number) else { throw Mismatch(reason: "\(number) is not whole") }
                values.set(argument.name, whole)
            case (_, .integer(let number)): values.set(argument.name, Double(number))
            case (_, .number(let number)): values.set(argument.name, number)
            case (_, .list): throw Mismatch(reason: "it is a list")
            case (_, .object): throw Mismatch(reason: "it is an object")
            case (_, .other(let text)): throw Mismatch(reason: "it is \(text)")
            case (_, .null): break
            }
            return
        }
        var shape: [Int] = []
        var leaves: [Node] = []
        try flatten(node, depth: 0, rank: axes.count, &shape, &leaves)
        // A list without elements says nothing about the sizes inside of it.
        while shape.count < axes.count { shape.append(0) }
        let memory = ArrayMemory(bytes: leaves.count * argument.type.element.size)
        for (index, leaf) in leaves.enumerated() { try memory.store(leaf, at: index, as: argument.type.element) }
        values.set(
            argument.name,
            ArrayView(pointer: memory.pointer, element: argument.type.element, shape: shape, owner: memory))
    }

    private static func flatten(
        _ node: Node, depth: Int, rank: Int, _ shape: inout [Int], _ leaves: inout [Node]
    ) throws {
        guard depth < rank else {
            if case .list = node { throw Mismatch(reason: "its lists are nested more than \(rank) deep") }
            leaves.append(node)
            return
        }
        guard case .list(let nodes) = node else {
            throw Mismatch(reason: "its lists are nested \(depth) deep instead of \(rank)")
        }
        if shape.count == depth { shape.append(nodes.count) }
        guard shape[depth] == nodes.count else {
            throw Mismatch(reason: "its lists have \(shape[depth]) and \(nodes.count) elements at depth \(depth + 1)")
        }
        for node in nodes { try flatten(node, depth: depth + 1, rank: rank, &shape, &leaves) }
    }

    private final class ArrayMemory {
        let pointer: UnsafeMutableRawPointer

        init(bytes: Int) { pointer = .allocate(byteCount: max(bytes, 64), alignment: 64) }

        deinit { pointer.deallocate() }

        func store(_ node: Node, at index: Int, as element: ElementType) throws {
            let number: Double
            switch node {
            case .number(let value): number = value
            case .integer(let value):
                if element == .i64 { return pointer.storeBytes(of: value, toByteOffset: index * 8, as: Int64.self) }
                number = Double(value)
            case .null: throw Mismatch(reason: "element \(index) is null")
            case .list: throw Mismatch(reason: "element \(index) is a list")
            case .object: throw Mismatch(reason: "element \(index) is an object")
            case .other(let text): throw Mismatch(reason: "element \(index) is \(text)")
            }
            switch element {
            case .f32: pointer.storeBytes(of: Float(number), toByteOffset: index * 4, as: Float.self)
            case .f64: pointer.storeBytes(of: number, toByteOffset: index * 8, as: Double.self)
            case .i64:
                guard let whole = Int64(exactly: number) else {
                    throw Mismatch(reason: "element \(index) is \(number), not a whole number")
                }
                pointer.storeBytes(of: whole, toByteOffset: index * 8, as: Int64.self)
            }
        }
    }

    // MARK: - Writing

    /// A result as JSON; nil when the hook left it out.
    ///
    /// - Parameter isUnblocked: whether an array's first axis is left out where it is 1.
    package static func text(of result: HookArgument, in values: ValueStore, isUnblocked: Bool = false) -> String? {
        if let number = values.double(result.name) { return text(number) }
        if let number = values.integer(result.name) { return String(number) }
        guard let view = values.array(result.name) else { return nil }
        let elements: [String] =
            switch view.element {
            case .f32: view.floats.map { text(Double($0)) }
            case .f64: view.doubles.map { text($0) }
            case .i64: view.integers.map { String($0) }
            }
        return nested(elements[...], view.shape.dropFirst(isUnblocked && view.shape.first == 1 ? 1 : 0))
    }

    /// Whether a result, if there is one, holds finite numbers only.
    package static func isFinite(_ result: HookArgument, in values: ValueStore) -> Bool {
        if let number = values.double(result.name) { return number.isFinite }
        guard let view = values.array(result.name) else { return true }
        return switch view.element {
        case .f32: view.floats.allSatisfy(\.isFinite)
        case .f64: view.doubles.allSatisfy(\.isFinite)
        case .i64: true
        }
    }

    package static func quoted(_ text: String) -> String { "\"\(text)\"" }

    /// The shortest text that reads back as the same number, at most 17 digits.
    private static func text(_ number: Double) -> String {
        if number.isNaN { return "\"nan\"" }
        if number.isInfinite { return number < 0 ? "\"-inf\"" : "\"inf\"" }
        return number.description
    }

    private static func nested(_ elements: ArraySlice<String>, _ shape: ArraySlice<Int>) -> String {
        guard let size = shape.first else { return elements.first ?? "null" }
        let stride = size == 0 ? 0 : elements.count / size
        let parts = (0..<size).map { index in
            let start = elements.startIndex + index * stride
            return nested(elements[start..<start + stride], shape.dropFirst())
        }
        return "[" + parts.joined(separator: ", ") + "]"
    }
}
