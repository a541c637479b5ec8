import Foundation
import PluginRuntime
import Training

/// What a file of values leaves out and the trainer would know.
///
/// Weights start at the multipliers, a block has one parameter, `gram` follows from `grads`, `loss.X` from `losses`.
/// Objectives have the rows that `index.X` gives; the others come in the order in which the hook names them, and where it
/// names none, `action` first and the rest by name.
struct DerivedValues {
    let inputs: [HookArgument]
    /// What this call gives.
    let given: [String: NamedValues.Node]
    /// What this call or one before it gives.
    let kept: [String: NamedValues.Node]
    let values: ValueStore

    /// - Parameter call: number of the call, from 0.
    func fillIn(call: Int) throws {
        if given["step"] == nil { values.set("step", Int64(call)) }
        if values.integer("seed") == nil { values.set("seed", Int64(0)) }
        try setGram()
        let gram = values.array("gram").map(\.shape)
        let losses = try numbers("losses")
        let counts = [
            gram?.last, values.array("grads")?.shape.first, values.array("weights")?.shape.last, losses?.count,
            namedRows.isEmpty ? nil : namedRows.count,
        ]
        guard let objectives = counts.compactMap(\.self).first else { return }
        let rows = setRows(objectives)
        for (name, row) in rows where given["losses"] != nil && given["loss.\(name)"] == nil {
            if let losses, losses.indices.contains(row) { values.set("loss.\(name)", losses[row]) }
        }
        let blocks = gram?.first ?? values.array("numel")?.shape.first ?? 1
        if values.array("numel") == nil {
            values.set("numel", .filled([Int64](repeating: 1, count: blocks), .i64, [blocks]))
        }
        guard values.array("weights") == nil else { return }
        var multipliers = [Double](repeating: 1, count: objectives)
        for (name, row) in rows where multipliers.indices.contains(row) {
            if let lambda = try multiplier(name) { multipliers[row] = lambda }
        }
        values.set(
            "weights",
            .filled([[Double]](repeating: multipliers, count: blocks).flatMap(\.self), .f64, [blocks, objectives]))
    }

    // MARK: - Objectives and their rows

    /// Objectives whose row the hook asks for and whose loss, if it asks for that too, is there.
    private var namedRows: [String] {
        var names: [String] = []
        for input in inputs where input.name.hasPrefix("index.") && !input.isPrevious {
            let name = String(input.name.dropFirst("index.".count))
            let needsLoss = kept["losses"] == nil && inputs.contains { $0.name == "loss.\(name)" }
            // "none" is how a setting says that it names no objective.
            guard name != "none" else { continue }
            if !names.contains(name), !needsLoss || values.double("loss.\(name)") != nil { names.append(name) }
        }
        return names
    }

    /// Gives every objective its row; returns them by name.
    private func setRows(_ count: Int) -> [String: Int] {
        var rows: [String: Int] = [:]
        let asked = namedRows
        let mentioned = kept.keys.compactMap { key in
            ["lambda.", "loss.", "index."].first { key.hasPrefix($0) && !key.hasSuffix("@prev") }
                .map { String(key.dropFirst($0.count)) }
        }
        // The action objective comes first in the lists that people write.
        let others = Set(mentioned).subtracting(asked).sorted {
            ($0 == "action" ? 0 : 1, $0) < ($1 == "action" ? 0 : 1, $1)
        }
        for name in asked + others {
            let known = values.integer("index.\(name)")
            if let row = known.flatMap({ Int(exactly: $0) }) ?? integer("index.\(name)") { rows[name] = row }
        }
        var free = (0..<count).filter { !rows.values.contains($0) }
        // Without a word about it, row 0 is the action objective's.
        let isFirstTaken = !(asked + others).contains("action") && free.count > others.count + asked.count
        if isFirstTaken, free.first == 0 { free.removeFirst() }
        for name in asked + others where rows[name] == nil && !free.isEmpty { rows[name] = free.removeFirst() }
        for name in asked {
            if let row = rows[name], values.integer("index.\(name)") == nil { values.set("index.\(name)", Int64(row)) }
        }
        return rows
    }

    private func multiplier(_ name: String) throws -> Double? {
        if let value = values.double("lambda.\(name)") { return value }
        switch kept["lambda.\(name)"] {
        case .number(let value)?: return value
        case .integer(let value)?: return Double(value)
        case nil, .null?: return nil
        default: throw NamedValues.Mismatch(reason: "'lambda.\(name)' is not a number")
        }
    }

    private func integer(_ name: String) -> Int? {
        if case .integer(let value)? = kept[name] { Int(exactly: value) } else { nil }
    }

    // MARK: - Arrays

    private func numbers(_ name: String) throws -> [Double]? {
        guard let node = kept[name] else { return nil }
        return try Self.numbers(node, name)
    }

    private static func numbers(_ node: NamedValues.Node, _ name: String) throws -> [Double] {
        guard case .list(let nodes) = node else { throw NamedValues.Mismatch(reason: "'\(name)' is not a list") }
        return try nodes.map { node in
            switch node {
            case .number(let value): value
            case .integer(let value): Double(value)
            default: throw NamedValues.Mismatch(reason: "'\(name)' holds something that is not a number")
            }
        }
    }

    /// The inner products of `grads` as one block.
    private func setGram() throws {
        guard inputs.contains(where: { $0.name == "gram" }), kept["gram"] == nil, let node = kept["grads"] else {
            return
        }
        guard case .list(let nodes) = node else { throw NamedValues.Mismatch(reason: "'grads' is not a list of lists") }
        let rows = try nodes.map { try Self.numbers($0, "grads") }
        guard let first = rows.first, rows.allSatisfy({ $0.count == first.count }) else {
            throw NamedValues.Mismatch(reason: "'grads': its rows have different lengths")
        }
        let products = rows.flatMap { row in rows.map { zip(row, $0).reduce(0) { $0 + $1.0 * $1.1 } } }
        values.set("gram", .filled(products, .f64, [1, rows.count, rows.count]))
    }
}

extension ArrayView {
    /// An array that owns a copy of `elements`.
    fileprivate static func filled<Element: BitwiseCopyable>(
        _ elements: [Element], _ element: ElementType, _ shape: [Int]
    ) -> ArrayView {
        let memory = FilledMemory(elements)
        return ArrayView(pointer: memory.pointer, element: element, shape: shape, owner: memory)
    }
}

private final class FilledMemory<Element: BitwiseCopyable> {
    let pointer: UnsafeMutableRawPointer

    init(_ elements: [Element]) {
        let typed = UnsafeMutablePointer<Element>.allocate(capacity: max(elements.count, 1))
        typed.initialize(from: elements, count: elements.count)
        pointer = UnsafeMutableRawPointer(typed)
    }

    deinit { pointer.deallocate() }
}
