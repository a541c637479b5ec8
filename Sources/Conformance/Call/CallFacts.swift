package import PluginRuntime
import Training

/// The step that a file of values describes.
///
/// Objectives have the rows that `index.X` gives; the others come in the order in which the hook names them, and where it
/// names none, `action` first and the rest by name.
package struct CallFacts {
    /// By row; those that nobody names get names of their own.
    package var objectives: [String] = []
    /// By row; 0 where the file does not say.
    package var losses: [Double] = []
    /// Objectives whose loss the file does not say.
    package var withoutLoss: [String] = []
    /// Multipliers that this call gives, by objective.
    package var multipliers: [String: Double] = [:]
    package var numel: [Int64] = []
    /// [k, m, m]; nil when the file has neither it nor `grads`.
    package var gram: [Double]?

    /// - Parameter given: what this call gives. `kept`: what it or one before it gives.
    package init(
        inputs: [HookArgument], given: [String: NamedValues.Node], kept: [String: NamedValues.Node]
    ) throws {
        let reader = CallReader(inputs: inputs, kept: kept)
        let gram = try reader.gram()
        let list = try reader.numbers("losses")
        let named = reader.namedRows
        let own = try reader.scalars("loss")
        let counts = [
            gram?.size, try reader.rows("grads")?.count, reader.width("weights"), list?.count,
            named.isEmpty ? nil : named.count, own.isEmpty ? nil : own.count,
        ]
        // A rule's result of an earlier call stands over what that call was given.
        multipliers = try CallReader(inputs: inputs, kept: given).scalars("lambda")
        guard let count = counts.compactMap(\.self).first else { return }
        let rows = reader.places(count)
        objectives = (0..<count).map { row in rows.first { $0.value == row }?.key ?? "objective-\(row)" }
        let known = objectives.enumerated().map { row, name in
            own[name] ?? list.flatMap { $0.indices.contains(row) ? $0[row] : nil }
        }
        losses = known.map { $0 ?? 0 }
        withoutLoss = zip(objectives, known).filter { $1 == nil }.map(\.0)
        self.gram = gram?.values
        numel =
            try reader.numbers("numel")?.map { Int64($0) } ?? Array(repeating: 1, count: gram?.blocks ?? reader.blocks)
    }
}

/// Reads what a file says of objectives, rows and blocks.
private struct CallReader {
    let inputs: [HookArgument]
    let kept: [String: NamedValues.Node]

    struct Gram {
        package var values: [Double]
        package var blocks: Int
        package var size: Int
    }

    // MARK: - Objectives and their rows

    /// Objectives whose row the hook asks for and whose loss, if it asks for that too, is there.
    var namedRows: [String] {
        var names: [String] = []
        for input in inputs where input.name.hasPrefix("index.") && !input.isPrevious {
            let name = String(input.name.dropFirst("index.".count))
            let needsLoss = kept["losses"] == nil && inputs.contains { $0.name == "loss.\(name)" }
            // "none" is how a setting says that it names no objective.
            guard name != "none" else { continue }
            if !names.contains(name), !needsLoss || kept["loss.\(name)"] != nil { names.append(name) }
        }
        return names
    }

    /// The row of every objective that the hook or the file names.
    func places(_ count: Int) -> [String: Int] {
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
            if case .integer(let row)? = kept["index.\(name)"] { rows[name] = Int(exactly: row) }
        }
        var free = (0..<count).filter { !rows.values.contains($0) }
        // Without a word about it, row 0 is the action objective's.
        let isFirstTaken = !(asked + others).contains("action") && free.count > others.count + asked.count
        if isFirstTaken, free.first == 0 { free.removeFirst() }
        for name in asked + others where rows[name] == nil && !free.isEmpty { rows[name] = free.removeFirst() }
        return rows
    }

    /// `lambda.X` or `loss.X` by objective.
    func scalars(_ family: String) throws -> [String: Double] {
        var numbers: [String: Double] = [:]
        for (key, node) in kept where key.hasPrefix(family + ".") && !key.hasSuffix("@prev") {
            if case .null = node { continue }
            numbers[String(key.dropFirst(family.count + 1))] = try Self.number(node, key)
        }
        return numbers
    }

    // MARK: - Arrays

    /// Blocks of the first array that has them.
    var blocks: Int { CallShorthand(inputs: inputs).blocks(kept) }

    /// Length of an array's last axis.
    func width(_ name: String) -> Int? {
        var node = kept[name]
        while case .list(let nodes)? = node {
            guard let first = nodes.first else { return 0 }
            guard case .list = first else { return nodes.count }
            node = first
        }
        return nil
    }

    func numbers(_ name: String) throws -> [Double]? {
        guard let node = kept[name] else { return nil }
        if case .null = node { return nil }
        return try Self.numbers(node, name)
    }

    /// A matrix as rows of one length.
    func rows(_ name: String) throws -> [[Double]]? {
        guard let node = kept[name] else { return nil }
        guard case .list(let nodes) = node else {
            throw NamedValues.Mismatch(reason: "'\(name)' is not a list of lists")
        }
        let rows = try nodes.map { try Self.numbers($0, name) }
        guard rows.allSatisfy({ $0.count == rows[0].count }) else {
            throw NamedValues.Mismatch(reason: "'\(name)': its rows have different lengths")
        }
        return rows
    }

    /// What the file gives as `gram`, or the inner products of `grads` as one block.
    func gram() throws -> Gram? {
        guard inputs.contains(where: { $0.name == "gram" }) else { return nil }
        guard let node = kept["gram"] else {
            return try rows("grads").map { rows in
                let products = rows.flatMap { row in rows.map { zip(row, $0).reduce(0) { $0 + $1.0 * $1.1 } } }
                return Gram(values: products, blocks: 1, size: rows.count)
            }
        }
        // Without the block axis it is that of every block.
        let blocks: [NamedValues.Node] =
            if node.depth == 3, case .list(let nodes) = node { nodes } else {
                Array(repeating: node, count: self.blocks)
            }
        var values: [Double] = []
        var size: Int?
        for block in blocks {
            // The shape is checked where the value is set.
            guard case .list(let nodes) = block else { return nil }
            size = size ?? nodes.count
            for row in nodes { values += try Self.numbers(row, "gram") }
        }
        guard let size, values.count == blocks.count * size * size else { return nil }
        return Gram(values: values, blocks: blocks.count, size: size)
    }

    private static func numbers(_ node: NamedValues.Node, _ name: String) throws -> [Double] {
        guard case .list(let nodes) = node else { throw NamedValues.Mismatch(reason: "'\(name)' is not a list") }
        return try nodes.map { try number($0, name) }
    }

    private static func number(_ node: NamedValues.Node, _ name: String) throws -> Double {
        switch node {
        case .number(let value): return value
        case .integer(let value): return Double(value)
        case .list: throw NamedValues.Mismatch(reason: "'\(name)': it is a list; expected a number")
        default: throw NamedValues.Mismatch(reason: "'\(name)' is not a number")
        }
    }
}
