import ArgumentParser
import Foundation
import Models
import PluginRuntime
import Training

extension Plugins {
    /// Calls one hook of one plugin with values from a file: for authors, other languages' tests and bug reports.
    struct Call: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Call one hook with values by name and print what it gives.",
            discussion: """
                craft plugins call CRaFTProjection gradient_combine --json values.json
                echo '{"loss.retention": 0.2, "lambda.retention": 0}' | craft plugins call CRaFTDual:budget=0.1 post_step --json -

                The file holds an object: names as the hook declares them, with its settings filled in \
                (craft plugins inspect shows them), numbers for scalars and nested lists for arrays. "name@prev" is the \
                last step's value. A list of objects is a list of calls on one instance; a name that an object leaves out \
                keeps its value, a result included. With gram given, weights default to 1, numel to 1, and rows index.X to the \
                objectives in order. Numbers come back in full precision.
                """)

        @Argument(help: ArgumentHelp("Plugin name or .so file, with settings: NAME:key=value.", valueName: "plugin"))
        var plugin: String

        @Argument(help: ArgumentHelp("plan, pre_backward, gradient_combine or post_step.", valueName: "hook"))
        var hook: String

        @Option(help: ArgumentHelp("File with the values; - reads the standard input.", valueName: "file"))
        var json: String

        @Option(help: ArgumentHelp("State the instance starts with, from --save-state.", valueName: "file"))
        var loadState: String?

        @Option(help: ArgumentHelp("Where its state goes after the last call.", valueName: "file"))
        var saveState: String?

        @Option(help: ArgumentHelp("Folders to search first, separated by colons.", valueName: "folders"))
        var pluginPath: String?

        func run() throws {
            let requests = try PluginRequest.parseList(plugin)
            guard let request = requests.first, requests.count == 1 else {
                throw TrainingError("'\(plugin)' names \(requests.count) plugins; call takes one")
            }
            guard let point = HookPoint(rawValue: hook) else {
                let known = HookPoint.allCases.map(\.rawValue).joined(separator: ", ")
                throw TrainingError("there is no hook '\(hook)'; there are \(known)")
            }
            let path = try PluginSearch(paths: Installation.pluginPath(pluginPath)).locate(request.name)
            let instance = try PluginInstance(library: PluginLibrary(path: path), request: request)
            guard !instance.arguments(at: point).isEmpty else {
                throw TrainingError("\(request.name) has no hook at \(hook); craft plugins inspect lists its hooks")
            }
            if let loadState {
                guard let data = FileManager.default.contents(atPath: loadState) else {
                    throw TrainingError("\(loadState): no such file")
                }
                try instance.loadState(data)
            }
            let document = try NamedValues.Document(path: json)
            let caller = HookCaller(instance: instance, point: point, source: json == "-" ? "standard input" : json)
            let results = try document.calls.enumerated().map { try caller.call($1, number: $0) }
            print(document.isList ? "[" + results.joined(separator: ",\n ") + "]" : results.joined())
            if let saveState { try AtomicFile.write([UInt8](try instance.saveState()), to: saveState) }
        }
    }
}

/// Calls the hooks of one point again and again, values staying from call to call.
private final class HookCaller {
    private let instance: PluginInstance
    private let point: HookPoint
    private let source: String
    private let values: ValueStore
    private let inputs: [HookArgument]
    private let results: [HookArgument]

    init(instance: PluginInstance, point: HookPoint, source: String) {
        self.instance = instance
        self.point = point
        self.source = source
        inputs = instance.arguments(at: point).flatMap(\.inputs)
        results = instance.arguments(at: point).flatMap(\.results)
        values = ValueStore(remembering: Set(inputs.filter(\.isPrevious).map(\.name)))
    }

    /// One call; returns the results as a JSON object.
    func call(_ given: [String: NamedValues.Node], number: Int) throws -> String {
        let known = Set(inputs.map { $0.isPrevious ? $0.name + "@prev" : $0.name })
        // A name the trainer knows may be there for other plugins; any other is a slip.
        for name in given.keys.sorted()
        where !known.contains(name) && NameRegistry.training.match(name.replacing("@prev", with: "")) == nil {
            throw TrainingError(
                "\(source): call \(number) gives '\(name)', which \(point.rawValue) of \(instance.name) does not read; "
                    + "it reads \(inputs.map(\.description).joined(separator: ", "))")
        }
        let previous = inputs.filter { $0.isPrevious && given[$0.name + "@prev"] != nil }
        if !previous.isEmpty {
            let kept = Dictionary(
                previous.map { ($0.name, values.array($0.name)) }, uniquingKeysWith: { first, _ in first })
            for input in previous { try set(input, to: given[input.name + "@prev"], number) }
            values.advanceStep()
            for (name, array) in kept {
                values.remove(name)
                if let array { values.set(name, array) }
            }
        }
        for input in inputs where !input.isPrevious { try set(input, to: given[input.name], number) }
        fillIn()
        let step: Int
        if case .number(let value)? = given["step"] { step = Int(exactly: value) ?? number } else { step = number }
        try instance.run(point, values: values, step: step)
        let text = results.compactMap { result in
            NamedValues.text(of: result, in: values).map { "\(NamedValues.quoted(result.name)): \($0)" }
        }
        return "{" + text.joined(separator: ", ") + "}"
    }

    /// What the trainer would derive from the shape of `gram`, where the file leaves it out: multipliers of 1, a parameter
    /// per block, objectives in the order in which the hook names them.
    private func fillIn() {
        guard let gram = values.array("gram"), gram.shape.count == 3 else { return }
        let (blocks, objectives) = (gram.shape[0], gram.shape[1])
        if values.array("weights") == nil { values.set("weights", .ones(Double.self, .f64, [blocks, objectives])) }
        if values.array("numel") == nil { values.set("numel", .ones(Int64.self, .i64, [blocks])) }
        let rows = inputs.filter { $0.name.hasPrefix("index.") && $0.type.element == .i64 && !$0.isPrevious }
        var taken = Set(rows.compactMap { values.integer($0.name) })
        for row in rows where values.integer(row.name) == nil {
            guard let free = (0..<Int64(objectives)).first(where: { !taken.contains($0) }) else { continue }
            values.set(row.name, free)
            taken.insert(free)
        }
    }

    private func set(_ input: HookArgument, to node: NamedValues.Node?, _ number: Int) throws {
        guard let node else { return }
        do {
            try NamedValues.set(input, to: node, in: values)
        } catch let error as NamedValues.Mismatch {
            throw TrainingError("\(source): call \(number), '\(input.name)': \(error.reason); expected \(input.type)")
        }
    }
}

extension ArrayView {
    fileprivate static func ones<Element: ExpressibleByIntegerLiteral>(
        _: Element.Type, _ element: ElementType, _ shape: [Int]
    ) -> ArrayView {
        let memory = OnesMemory<Element>(count: shape.reduce(1, *))
        return ArrayView(pointer: memory.pointer, element: element, shape: shape, owner: memory)
    }
}

private final class OnesMemory<Element: ExpressibleByIntegerLiteral> {
    let pointer: UnsafeMutableRawPointer

    init(count: Int) {
        let typed = UnsafeMutablePointer<Element>.allocate(capacity: max(count, 1))
        typed.initialize(repeating: 1, count: max(count, 1))
        pointer = UnsafeMutableRawPointer(typed)
    }

    deinit { pointer.deallocate() }
}
