import Foundation
import PluginRuntime
import Training

/// Calls the hooks of one point of one instance as successive steps, values staying from call to call.
final class HookCaller {
    private let instance: PluginInstance
    private let point: HookPoint
    /// Where the values come from, for messages.
    private let source: String
    private let values: ValueStore
    private let inputs: [HookArgument]
    private let results: [HookArgument]
    /// The first result that was not a finite number, in a sentence.
    private(set) var firstNonFinite: String?

    init(instance: PluginInstance, point: HookPoint, source: String) {
        self.instance = instance
        self.point = point
        self.source = source
        inputs = instance.arguments(at: point).flatMap(\.inputs)
        results = instance.arguments(at: point).flatMap(\.results)
        values = ValueStore(remembering: Set(inputs.filter(\.isPrevious).map(\.name)))
    }

    /// One call; returns the results as a JSON object.
    ///
    /// - Parameter number: of the call, from 0.
    func call(_ given: [String: NamedValues.Node], number: Int) throws -> String {
        try refuseUnknown(given.keys.sorted(), number)
        for name in Set(results.map(\.name)) where NameRegistry.training.match(name)?.entry.isChained == true {
            // A chain starts anew in every step.
            values.remove(name)
        }
        for input in inputs {
            try set(input, to: given[input.name], number)
            guard input.isPrevious, let node = given[input.name + "@prev"] else { continue }
            let last = ValueStore()
            try set(input, to: node, number, suffix: "@prev", in: last)
            values.setPrevious(input.name, from: last)
        }
        fillIn(given, number)
        try instance.run(point, values: values, step: step(given, number), keepsNonFinite: true)
        let text = results.compactMap { result in
            NamedValues.text(of: result, in: values).map { "\(NamedValues.quoted(result.name)): \($0)" }
        }
        if firstNonFinite == nil, let result = results.first(where: { !NamedValues.isFinite($0, in: values) }) {
            firstNonFinite =
                "\(source): call \(number), \(point.rawValue) of \(instance.name): its result '\(result.name)' is not "
                + "finite; training would end here"
        }
        values.advanceStep()
        return "{" + text.joined(separator: ", ") + "}"
    }

    private func refuseUnknown(_ names: [String], _ number: Int) throws {
        let known = Set(inputs.map { $0.isPrevious ? $0.name + "@prev" : $0.name })
        // A name the trainer knows may be there for other plugins; any other is a slip.
        for name in names
        where !known.contains(name) && NameRegistry.training.match(name.replacing("@prev", with: "")) == nil {
            let reads = inputs.isEmpty ? "nothing" : inputs.map(\.description).joined(separator: ", ")
            throw TrainingError(
                "\(source): call \(number) gives '\(name)', which \(point.rawValue) of \(instance.name) does not read; "
                    + "it reads \(reads)")
        }
    }

    private func set(
        _ input: HookArgument, to node: NamedValues.Node?, _ number: Int, suffix: String = "",
        in store: ValueStore? = nil
    ) throws {
        guard let node else { return }
        do {
            try NamedValues.set(input, to: node, in: store ?? values)
        } catch let error as NamedValues.Mismatch {
            throw TrainingError(
                "\(source): call \(number), '\(input.name)\(suffix)': \(error.reason); expected \(input.type)")
        }
    }

    // MARK: - What the trainer would derive

    private func step(_ given: [String: NamedValues.Node], _ number: Int) -> Int {
        if case .integer(let step)? = given["step"], let step = Int(exactly: step) { step } else { number }
    }

    /// Fills in what the file leaves out and the trainer would know: weights start at the multipliers, a block has one
    /// parameter, objectives come in the order in which the hook names them.
    private func fillIn(_ given: [String: NamedValues.Node], _ number: Int) {
        if given["step"] == nil { values.set("step", Int64(number)) }
        if values.integer("seed") == nil { values.set("seed", Int64(0)) }
        let gram = values.array("gram").map(\.shape)
        let gradients = values.array("grads").map(\.shape)
        guard let objectives = gram?.last ?? gradients?.first else { return }
        let blocks = gram?.first ?? values.array("numel")?.shape.first ?? 1
        if values.array("numel") == nil {
            values.set("numel", .filled([Int64](repeating: 1, count: blocks), .i64, [blocks]))
        }
        let rows = inputs.filter { $0.name.hasPrefix("index.") && $0.type.element == .i64 && !$0.isPrevious }
        var taken = Set(rows.compactMap { values.integer($0.name) })
        for row in rows where values.integer(row.name) == nil {
            guard let free = (0..<Int64(objectives)).first(where: { !taken.contains($0) }) else { continue }
            values.set(row.name, free)
            taken.insert(free)
        }
        guard values.array("weights") == nil else { return }
        var multipliers = [Double](repeating: 1, count: objectives)
        for row in rows {
            guard let index = values.integer(row.name).flatMap({ Int(exactly: $0) }),
                multipliers.indices.contains(index),
                let lambda = values.double("lambda." + row.name.dropFirst("index.".count))
            else { continue }
            multipliers[index] = lambda
        }
        values.set(
            "weights",
            .filled([[Double]](repeating: multipliers, count: blocks).flatMap(\.self), .f64, [blocks, objectives]))
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
