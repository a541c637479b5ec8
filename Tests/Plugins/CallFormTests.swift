import Foundation
import PluginRuntime
import TestSupport
import Testing
import Training

/// One signature, two ways to pass its arguments: every plugin gives the same bytes in both.
@Suite struct CallFormTests {
    private static let shipped: [String] = PluginSearch.build.available().map(\.name)

    /// The example of the C SDK as its author compiles it, and with hooks that take frames.
    @Test func theExampleInCInBothForms() throws {
        let folder = try TemporaryFolder()
        let root = BuildFolder.repository.path
        var results: [[String]] = []
        for (name, flags) in [("Native", []), ("Frame", ["-DCRAFT_CALL_FRAMES"])] {
            let library = folder.path("lib\(name).so")
            let build = try Command.run(
                ["cc", "-std=c99", "-O2", "-fPIC", "-shared", "-I", "\(root)/Sources/PluginAPI/include"] + flags
                    + ["\(root)/SDK/examples/c/ExampleRule.c", "-o", library, "-lm"])
            try #require(build.status == 0, "\(build.output)")
            let opened = try PluginLibrary(path: library)
            #expect(opened.hooks.map(\.isFrame) == [name == "Frame"])
            for form in CallForm.allCases { results.append(try Self.run(library, form)) }
        }
        #expect(!results[0].isEmpty)
        for result in results.dropFirst() { #expect(result == results[0]) }
    }

    @Test(arguments: shipped) func shippedPluginsGiveTheSameBytes(_ name: String) throws {
        let path = BuildFolder.plugin(name)
        let declared = try Self.run(path, .declared)
        #expect(!declared.isEmpty)
        #expect(try Self.run(path, .native) == declared)
        #expect(try Self.run(path, .frame) == declared)
    }

    /// Every hook of a fresh instance over three steps, with all optional inputs present and with none; each call as the
    /// bytes of its results or its message.
    private static func run(_ path: String, _ form: CallForm) throws -> [String] {
        var log: [String] = []
        let library = try PluginLibrary(path: path)
        for hasOptional in [true, false] {
            let instance = try PluginInstance(
                library: library, request: PluginRequest(name: path, instance: "tried"), callForm: form)
            var numbers = TestNumbers(seed: 7)
            for step in 0..<3 {
                for point in HookPoint.allCases where point != .plan || step == 0 {
                    let hooks = instance.arguments(at: point)
                    guard !hooks.isEmpty else { continue }
                    var inputs = TrialValues(&numbers)
                    let values = inputs.values(for: hooks.flatMap(\.inputs), step: step, hasOptional: hasOptional)
                    do {
                        try instance.run(point, values: values, step: step, keepsNonFinite: true)
                    } catch let failure as PluginFailure {
                        log.append("\(point) \(step): \(failure.message)")
                        continue
                    }
                    for result in hooks.flatMap(\.results) {
                        log.append("\(point) \(step) \(result.name): \(text(of: result.name, in: values))")
                    }
                }
            }
        }
        return log
    }

    private static func text(of name: String, in values: ValueStore) -> String {
        if let number = values.double(name) { return String(number.bitPattern, radix: 16) }
        if let number = values.integer(name) { return String(number) }
        guard let view = values.array(name) else { return "absent" }
        let bytes = UnsafeRawBufferPointer(start: view.pointer, count: view.count * view.element.size)
        return "\(view.shape) " + bytes.map { String($0, radix: 16) }.joined(separator: " ")
    }
}

/// Inputs of any hook: sizes by the registry's axis letters, numbers from a fixed sequence.
private struct TrialValues {
    private var numbers: TestNumbers
    private let sizes = ["b": 2, "h": 3, "a": 7, "t": 4, "d": 6, "n": 5, "v": 9, "k": 3, "m": 3]

    init(_ numbers: inout TestNumbers) {
        _ = numbers.next()
        self.numbers = numbers
    }

    mutating func values(for inputs: [HookArgument], step: Int, hasOptional: Bool) -> ValueStore {
        let values = ValueStore()
        var rows = 0
        for input in inputs where !input.isPrevious && (hasOptional || !input.isOptional) {
            guard let axes = input.type.axes else {
                if input.type.element == .f64 {
                    values.set(input.name, abs(numbers.next()))
                } else if input.name.hasPrefix("index.") {
                    values.set(input.name, Int64(min(rows, 2)))
                    rows += 1
                } else {
                    values.set(input.name, Int64(input.name == "step" ? step : 3))
                }
                continue
            }
            // The registry's letters, not the plugin's: two of its names may stand for one size.
            let letters = NameRegistry.training.match(input.name)?.type.axes ?? axes
            let shape = zip(axes, letters).map { Int($0) ?? sizes[$1] ?? 2 }
            let count = shape.reduce(1, *)
            let view: ArrayView =
                switch input.type.element {
                case .f32: Self.kept((0..<count).map { _ in Float(numbers.next()) }, .f32, shape)
                case .i64: Self.kept((0..<count).map { Int64($0 % 5) + 1 }, .i64, shape)
                case .f64: Self.kept(doubles(input.name, shape), .f64, shape)
                }
            values.set(input.name, view)
        }
        return values
    }

    private mutating func doubles(_ name: String, _ shape: [Int]) -> [Double] {
        guard name == "gram" else { return numbers.array(shape.reduce(1, *)).map { abs($0) } }
        return (0..<shape[0]).flatMap { _ in
            let vectors = (0..<shape[1]).map { _ in numbers.array(5) }
            return vectors.flatMap { a in vectors.map { b in zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } } }
        }
    }

    private static func kept<Element>(_ elements: [Element], _ element: ElementType, _ shape: [Int]) -> ArrayView {
        let array = TestArray<Element>(elements, shape: shape)
        return ArrayView(pointer: array.view.pointer, element: element, shape: shape, owner: array)
    }
}
