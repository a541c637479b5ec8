import Formats
import Foundation
package import PluginRuntime
import Spelling
import Training

/// Calls the hooks of one point of one instance as successive steps, values staying from call to call.
///
/// What a file of values leaves out and follows from the rest is the session's to say: weights start at the multipliers,
/// rows are those of the objectives with a loss. A block has one parameter, and `gram` is that of `grads`.
package final class HookCaller {
    private let instance: PluginInstance
    private let composition: Composition
    private let point: HookPoint
    /// Where the values come from, for messages.
    private let source: String
    private let values: ValueStore
    private let inputs: [HookArgument]
    private let results: [HookArgument]
    /// What the calls so far gave.
    private var kept: [String: NamedValues.Node] = [:]
    /// The first result that was not a finite number, in a sentence.
    package private(set) var firstNonFinite: String?

    package init(instance: PluginInstance, point: HookPoint, source: String) {
        self.instance = instance
        self.point = point
        self.source = source
        composition = Composition(alone: instance, registry: .training)
        inputs = instance.arguments(at: point).flatMap(\.inputs)
        results = instance.arguments(at: point).flatMap(\.results)
        values = ValueStore(remembering: composition.previousReads)
    }

    /// One call; returns the results as a JSON object.
    ///
    /// - Parameter number: of the call, from 0.
    package func call(_ given: [String: NamedValues.Node], number: Int) throws -> String {
        let shorthand = CallShorthand(inputs: inputs)
        let given = shorthand.named(given)
        try refuseUnknown(given.keys.sorted(), number)
        if given["grads"] != nil { kept["gram"] = nil }
        kept.merge(given) { _, new in new }
        let blocks = shorthand.blocks(kept)
        try setInputs(given, number, blocks)
        let facts = try describing(number) { try CallFacts(inputs: inputs, given: given, kept: kept) }
        // A multiplier that no call has given and no rule has set is 1 where weights start, and unknown to the hook.
        let unknown = facts.objectives.filter { facts.multipliers[$0] == nil && values.double("lambda.\($0)") == nil }
        let session = HookSession(
            composition, objectives: facts.objectives, values: values, keepsNonFinite: true)
        try offer(facts, given, to: session, number)
        for objective in unknown { values.remove("lambda.\(objective)") }
        // What a file says itself stands over what follows from the rest.
        try setInputs(given, number, blocks)
        try session.run(point)
        let text = results.compactMap { result in
            NamedValues.text(of: result, in: values, isUnblocked: shorthand.isUnblocked(kept, result)).map {
                "\(NamedValues.quoted(result.name)): \($0)"
            }
        }
        if firstNonFinite == nil, let result = results.first(where: { !NamedValues.isFinite($0, in: values) }) {
            firstNonFinite =
                "\(source): call \(number), \(point.rawValue) of \(instance.name): its result '\(result.name)' is not "
                + "finite; training would end here"
        }
        values.advanceStep()
        return "{" + text.joined(separator: ", ") + "}"
    }

    private func setInputs(_ given: [String: NamedValues.Node], _ number: Int, _ blocks: Int) throws {
        for input in inputs {
            try set(input, to: given[input.name], number, blocks)
            guard input.isPrevious, let node = given[input.name + "@prev"] else { continue }
            let last = ValueStore()
            try set(input, to: node, number, blocks, suffix: "@prev", in: last)
            values.setPrevious(input.name, from: last)
        }
    }

    /// Lets the session say what follows from the values of this call.
    private func offer(
        _ facts: CallFacts, _ given: [String: NamedValues.Node], to session: HookSession, _ number: Int
    ) throws {
        // A chain starts anew in every step.
        for name in Set(results.map(\.name)) where NameRegistry.training.match(name)?.entry.isChained == true {
            values.remove(name)
        }
        if values.integer("seed") == nil { values.set("seed", Int64(0)) }
        session.multipliers = session.objectives.map { facts.multipliers[$0] ?? values.double("lambda.\($0)") ?? 1 }
        let rate = values.double("lr")
        session.begin(step: step(given, number), rate: rate ?? 0)
        // A rate that no call has given stays unknown.
        if rate == nil { values.remove("lr") }
        guard point == .gradientCombine, !facts.objectives.isEmpty else { return }
        session.setBlocks(BlockFacts(numel: facts.numel))
        session.setLosses(facts.losses)
        try session.offer(GradientFacts(gram: facts.gram ?? []))
        if facts.gram == nil { values.remove("gram") }
        for objective in facts.withoutLoss {
            values.remove("loss.\(objective)")
            // Without its loss an objective has no row for a hook that reads the loss.
            if inputs.contains(where: { $0.name == "loss.\(objective)" }) { values.remove("index.\(objective)") }
        }
    }

    private func describing(_ number: Int, _ body: () throws -> CallFacts) throws -> CallFacts {
        do { return try body() } catch let error as NamedValues.Mismatch {
            throw ConformanceError(.wrongValue, "\(source): call \(number), \(error.reason)")
        }
    }

    private func refuseUnknown(_ names: [String], _ number: Int) throws {
        let known = Set(inputs.map { $0.isPrevious ? $0.name + "@prev" : $0.name })
        // A name the trainer knows may be there for other plugins; any other is a slip.
        for name in names
        where !known.contains(name) && NameRegistry.training.match(name.replacing("@prev", with: "")) == nil {
            let reads = inputs.isEmpty ? "nothing" : inputs.map(\.description).joined(separator: ", ")
            let hint = Suggestion.hint(for: name, among: known.sorted(), otherwise: "")
            throw ConformanceError(
                .unknownName,
                "\(source): call \(number) gives '\(name)', which \(point.rawValue) of \(instance.name) does not read; "
                    + (hint.isEmpty ? "" : hint + " ") + "it reads \(reads)")
        }
    }

    private func set(
        _ input: HookArgument, to node: NamedValues.Node?, _ number: Int, _ blocks: Int, suffix: String = "",
        in store: ValueStore? = nil
    ) throws {
        guard let node else { return }
        do {
            try NamedValues.set(
                input, to: CallShorthand.full(node, for: input, blocks: blocks), in: store ?? values)
        } catch let error as NamedValues.Mismatch {
            throw ConformanceError(
                .wrongValue,
                "\(source): call \(number), '\(input.name)\(suffix)': \(error.reason); expected \(input.type)")
        }
    }

    private func step(_ given: [String: NamedValues.Node], _ number: Int) -> Int {
        if case .integer(let step)? = given["step"], let step = Int(exactly: step) { step } else { number }
    }
}

/// What a file may leave unsaid where it can mean one thing only.
package struct CallShorthand {
    package let inputs: [HookArgument]

    /// `loss` is `loss.retention` where that is the only loss the hook reads.
    package func named(_ given: [String: NamedValues.Node]) -> [String: NamedValues.Node] {
        var named: [String: NamedValues.Node] = [:]
        for (key, node) in given {
            let base = key.replacing("@prev", with: "")
            let isKnown = inputs.contains { $0.name == base } || NameRegistry.training.match(base) != nil
            let meant = isKnown ? [] : Set(inputs.map(\.name).filter { $0.hasPrefix(base + ".") })
            if let name = meant.first, meant.count == 1, given[name] == nil {
                named[key == base ? name : name + "@prev"] = node
            } else {
                named[key] = node
            }
        }
        return named
    }

    /// The number of blocks: of the first array that has the axis.
    package func blocks(_ given: [String: NamedValues.Node]) -> Int {
        for input in inputs where Self.hasBlocks(input) {
            guard let node = given[input.name], node.depth == input.type.axes?.count, case .list(let nodes) = node
            else { continue }
            return nodes.count
        }
        return 1
    }

    /// Whether the results, too, are to be without their block axis: no input was given with it.
    package func isUnblocked(_ given: [String: NamedValues.Node], _ result: HookArgument) -> Bool {
        guard Self.hasBlocks(result) else { return false }
        let arrays = inputs.filter { Self.hasBlocks($0) && given[$0.name] != nil }
        return !arrays.isEmpty && arrays.allSatisfy { given[$0.name]?.depth == ($0.type.axes?.count ?? 0) - 1 }
    }

    /// Without the block axis a value is that of every block; one order is that of every objective.
    package static func full(_ node: NamedValues.Node, for input: HookArgument, blocks: Int) -> NamedValues.Node {
        guard let rank = input.type.axes?.count, node.depth == rank - 1 else { return node }
        if hasBlocks(input) { return .list(Array(repeating: node, count: blocks)) }
        if input.name == "order", case .list(let items) = node {
            return .list(Array(repeating: node, count: items.count))
        }
        return node
    }

    private static func hasBlocks(_ argument: HookArgument) -> Bool {
        NameRegistry.training.match(argument.name)?.type.axes?.first == "k"
    }
}
