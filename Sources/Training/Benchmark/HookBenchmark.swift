internal import Dispatch
internal import Foundation
public import PluginRuntime

/// What calling plugins costs: single hooks in both call forms, and all hooks of a CRaFT step against the same arithmetic
/// written into the host.
public struct HookBenchmark: Encodable {
    /// Nanoseconds of one hook, with everything the host does around it: inputs bound by name, results allocated, checked and
    /// stored.
    public struct Call: Encodable, Sendable {
        public var plugin: String
        public var point: String
        /// The form the plugin declares.
        public var declared: String
        public var native: Double
        public var frame: Double
    }

    /// Microseconds of a step's hooks, medians.
    public struct Step: Encodable, Sendable {
        public var blocks: Int
        public var plugins: Double
        public var inlined: Double
    }

    public private(set) var calls: [Call] = []
    public private(set) var step: Step

    private static let strategy = "BaselineL1,AnchorVariants,CRaFTProjection,CRaFTDual"
    /// Sizes of the shipped model at batch 8.
    private static let batch = 8, chunk = 8, actions = 7, width = 192

    /// - Parameters:
    ///   - requests: plugins whose hooks are timed.
    ///   - blocks: of the Gram matrices, `k`; there are two objectives.
    ///   - repetitions: calls of a turn; the median of nine turns counts.
    public init(_ requests: [PluginRequest], search: PluginSearch, blocks: Int, repetitions: Int) throws {
        step = try Self.timeStep(search, blocks: blocks, repetitions: repetitions)
        for request in requests {
            let library = try PluginLibrary(path: search.locate(request.name))
            for point in HookPoint.allCases.dropFirst() {
                guard let hook = library.hooks.first(where: { $0.point == point }) else { continue }
                var times: [CallForm: Double] = [:]
                for form in [CallForm.native, .frame] {
                    let instance = try PluginInstance(library: library, request: request, callForm: form)
                    let values = ValueStore()
                    try instance.run(.plan, values: Self.filled(instance.arguments(at: .plan), values, blocks), step: 0)
                    _ = Self.filled(instance.arguments(at: point), values, blocks)
                    // Weights start anew in every step, as in training.
                    let weights = values.array("weights")
                    times[form] = try Self.nanoseconds(repetitions) {
                        if let weights { values.set("weights", weights) }
                        try instance.run(point, values: values, step: 1)
                    }
                }
                calls.append(
                    Call(
                        plugin: request.instance, point: point.rawValue, declared: hook.isFrame ? "frame" : "native",
                        native: times[.native] ?? .nan, frame: times[.frame] ?? .nan))
            }
        }
    }

    // MARK: - A step

    private static func timeStep(_ search: PluginSearch, blocks: Int, repetitions: Int) throws -> Step {
        let composition = try Composition(
            PluginRequest.parseList(strategy), search: search, registry: .training)
        let values = ValueStore(remembering: composition.previousReads)
        for (name, value) in ["hidden_states": 5, "hidden_size": width, "visual_tokens": 32, "queries": 64] {
            values.set(name, Int64(value))
        }
        try composition.run(.plan, values: values, step: 0)
        for point in HookPoint.allCases.dropFirst() {
            for name in composition.resolvedReads(at: point) { set(name, values, blocks) }
        }
        let weights = [Double](repeating: 1, count: 2 * blocks)
        let arithmetic = InlinedStep(composition.resolvedReads(at: .preBackward), values, blocks: blocks)
        return try weights.withUnsafeBufferPointer { start in
            guard let address = start.baseAddress else { return Step(blocks: blocks, plugins: .nan, inlined: .nan) }
            let view = ArrayView(
                pointer: UnsafeMutableRawPointer(mutating: address), element: .f64, shape: [blocks, 2])
            let plugins = try nanoseconds(repetitions) {
                try composition.run(.preBackward, values: values, step: 1)
                values.set("weights", view)
                try composition.run(.gradientCombine, values: values, step: 1)
                try composition.run(.postStep, values: values, step: 1)
            }
            let inlined = try nanoseconds(repetitions) { arithmetic.run() }
            return Step(blocks: blocks, plugins: plugins / 1000, inlined: inlined / 1000)
        }
    }

    /// Median over nine turns, after one to warm up.
    private static func nanoseconds(_ repetitions: Int, _ body: () throws -> Void) throws -> Double {
        var turns: [Double] = []
        for turn in 0..<10 {
            let start = DispatchTime.now().uptimeNanoseconds
            for _ in 0..<repetitions { try body() }
            let time = Double(DispatchTime.now().uptimeNanoseconds - start) / Double(repetitions)
            if turn > 0 { turns.append(time) }
        }
        return StepBenchmark.median(turns)
    }

    // MARK: - Values

    private static func filled(
        _ arguments: [(inputs: [HookArgument], results: [HookArgument])], _ values: ValueStore, _ blocks: Int
    ) -> ValueStore {
        for input in arguments.flatMap(\.inputs) where !input.isPrevious { set(input.name, values, blocks) }
        return values
    }

    /// Gives a name a value of the size it has in training; names that are optional and unknown stay absent.
    private static func set(_ name: String, _ values: ValueStore, _ blocks: Int) {
        guard let match = NameRegistry.training.match(name) else { return }
        guard let axes = match.type.axes else {
            guard values.double(name) == nil, values.integer(name) == nil else { return }
            if match.type.element == .i64 {
                values.set(name, name == "index.retention" ? 1 : name == "objectives" ? 2 : Int64(0))
            } else {
                values.set(name, 0.3)
            }
            return
        }
        let sizes = [
            "b": batch, "h": chunk, "a": actions, "t": 1, "d": width, "k": blocks, "m": 2, "n": 64, "v": 64,
        ]
        // Draws that only exist when somebody gives them.
        guard match.entry.provider == .host, name != "weights" || values.array(name) == nil else { return }
        let shape = axes.map { sizes[$0] ?? 1 }
        let memory = TimedMemory(shape.reduce(match.type.element.size, *))
        switch match.type.element {
        case .f32: for index in 0..<memory.bytes / 4 { memory.store(Float(index % 7) - 3, index) }
        // As a Gram matrix of two objectives in conflict.
        case .f64:
            let pattern = name == "losses" ? [0.3, 0.2] : [1, -0.25, -0.25, 1]
            for index in 0..<memory.bytes / 8 { memory.store(pattern[index % pattern.count], index) }
        case .i64:
            for index in 0..<memory.bytes / 8 {
                memory.store(name == "rows" ? Int64(index) : Int64(index % 5 + 1), index)
            }
        }
        values.set(
            name, ArrayView(pointer: memory.pointer, element: match.type.element, shape: shape, owner: memory))
    }
}

private final class TimedMemory {
    let pointer: UnsafeMutableRawPointer
    let bytes: Int

    init(_ bytes: Int) {
        self.bytes = bytes
        pointer = .allocate(byteCount: max(bytes, 64), alignment: 64)
    }

    deinit { pointer.deallocate() }

    func store<Value: BitwiseCopyable>(_ value: Value, _ index: Int) {
        pointer.storeBytes(of: value, toByteOffset: index * MemoryLayout<Value>.stride, as: Value.self)
    }
}

/// The arithmetic of the four CRaFT plugins, as a host without plugins would have it.
private final class InlinedStep {
    private let predicted: ArrayView
    private let target: ArrayView
    private let features: [(now: ArrayView, before: ArrayView)]
    private let gram: ArrayView
    private let blocks: Int
    private var actionCotangent: [Float]
    private var featureCotangents: [[Float]]
    private var weights: [Double]
    private var lambda = 0.3
    private(set) var measures = (loss: 0.0, conflict: 0.0, cosine: 0.0)

    init(_ names: [String], _ values: ValueStore, blocks: Int) {
        self.blocks = blocks
        let nothing = TimedMemory(0)
        let empty = ArrayView(pointer: nothing.pointer, element: .f32, shape: [0], owner: nothing)
        predicted = values.array("predicted_actions") ?? empty
        target = values.array("target_actions") ?? empty
        features = names.filter { $0.hasPrefix("feature.") }.map { name in
            (values.array(name) ?? empty, values.array("anchor" + name.dropFirst("feature".count)) ?? empty)
        }
        gram = values.array("gram") ?? empty
        actionCotangent = Array(repeating: 0, count: predicted.count)
        featureCotangents = features.map { Array(repeating: 0, count: $0.now.count) }
        weights = Array(repeating: 1, count: 2 * blocks)
    }

    func run() {
        // Mean absolute error and its derivative.
        let (p, t) = (predicted.floats, target.floats)
        var sum = 0.0
        let scale = 1 / Float(p.count)
        for index in p.indices {
            let difference = p[index] - t[index]
            sum += Double(abs(difference))
            actionCotangent[index] = difference > 0 ? scale : difference < 0 ? -scale : 0
        }
        measures.loss = sum / Double(p.count)
        // Mean squared drift of the features and its derivative.
        var drift = 0.0
        let count = features.reduce(0) { $0 + $1.now.count }
        let factor = 2 / Float(count)
        for (index, feature) in features.enumerated() {
            let (now, before) = (feature.now.floats, feature.before.floats)
            for element in now.indices {
                let difference = now[element] - before[element]
                drift += Double(difference * difference)
                featureCotangents[index][element] = factor * difference
            }
        }
        drift /= Double(count)
        // Projection block by block, and what is measured of it.
        let g = gram.doubles
        var (conflicts, action, constraint, cross) = (0.0, 0.0, 0.0, 0.0)
        for block in 0..<blocks {
            let (aa, ac, cc) = (g[4 * block], g[4 * block + 1], g[4 * block + 3])
            weights[2 * block + 1] = lambda + (ac < 0 && cc > 0 ? -ac / cc : 0)
            conflicts += ac < 0 ? 1 : 0
            action += aa
            constraint += cc
            cross += ac
        }
        measures.conflict = conflicts / Double(blocks)
        measures.cosine = cross / (action * constraint).squareRoot()
        // Dual ascent.
        lambda = min(max(lambda + 0.01 * (drift - 0.1), 0), 1e6)
    }
}
