internal import Dispatch
internal import Foundation
package import PluginRuntime

/// What calling plugins costs: single hooks in both call forms, and all hooks of a CRaFT step against the same arithmetic
/// written into the host.
package struct HookBenchmark: Encodable {
    /// Nanoseconds of one hook, with everything the host does around it: inputs bound by name, results allocated, checked and
    /// stored.
    package struct Call: Encodable, Sendable {
        package var plugin: String
        package var point: String
        /// The form the plugin declares.
        package var declared: String
        package var native: Double
        package var frame: Double
    }

    /// Microseconds of a step's hooks, medians.
    package struct Step: Encodable, Sendable {
        package var blocks: Int
        package var plugins: Double
        package var inlined: Double
    }

    package private(set) var calls: [Call] = []
    package private(set) var step: Step

    private static let strategy = "BaselineL1,AnchorVariants,CRaFTProjection,CRaFTDual"
    /// Sizes of the shipped model at batch 8.
    private static let batch = 8, chunk = 8, actions = 7, width = 192

    /// - Parameters:
    ///   - requests: plugins whose hooks are timed.
    ///   - blocks: of the Gram matrices, `k`; there are two objectives.
    ///   - repetitions: calls of a turn; the median of nine turns counts.
    package init(_ requests: [PluginRequest], search: PluginSearch, blocks: Int, repetitions: Int) throws {
        step = try Self.timeStep(search, blocks: blocks, repetitions: repetitions)
        for request in requests {
            let library = try PluginLibrary(path: search.locate(request.name))
            for point in HookPoint.allCases.dropFirst() {
                guard let hook = library.hooks.first(where: { $0.point == point }) else { continue }
                var times: [CallForm: Double] = [:]
                for form in [CallForm.native, .frame] {
                    let session = HookSession(
                        Composition(
                            alone: try PluginInstance(library: library, request: request, callForm: form),
                            registry: .training),
                        objectives: ["action", "retention"])
                    try session.plan(Self.facts(blocks: blocks))
                    _ = try Self.fill(session, blocks: blocks)
                    times[form] = try Self.nanoseconds(repetitions) { try session.run(point) }
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
        let session = HookSession(composition)
        try session.plan(facts(blocks: blocks))
        let gradients = try fill(session, blocks: blocks)
        let plugins = try nanoseconds(repetitions) {
            session.begin(step: 1, rate: 1e-4)
            try session.microBatch()
            session.closeBatch()
            _ = try session.combine(gradients)
            _ = try session.finish()
        }
        let arithmetic = InlinedStep(composition.resolvedReads(at: .preBackward), session.values, blocks: blocks)
        let inlined = try nanoseconds(repetitions) { arithmetic.run() }
        return Step(blocks: blocks, plugins: plugins / 1000, inlined: inlined / 1000)
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

    private static func facts(blocks: Int) -> PlanFacts {
        var facts = PlanFacts()
        facts.hiddenStates = 5
        facts.hiddenSize = width
        facts.visualTokens = 32
        facts.queries = 64
        facts.batch = batch
        facts.steps = 1000
        facts.blocks = { _ in BlockFacts(numel: (0..<blocks).map { Int64($0 % 5 + 1) }) }
        return facts
    }

    /// Puts in what a micro-batch has in training, at its size there, and what is known of the gradients.
    private static func fill(_ session: HookSession, blocks: Int) throws -> GradientFacts {
        for point in HookPoint.allCases.dropFirst() {
            for name in session.composition.resolvedReads(at: point) { set(name, session.values) }
        }
        // As a Gram matrix of two objectives in conflict.
        let gram = [[Double]](repeating: [1, -0.25, -0.25, 1], count: blocks).flatMap(\.self)
        let coordinates = session.blocks.numel.reduce(0) { $0 + Int($1) }
        let memory = TimedMemory(2 * coordinates * 4)
        for index in 0..<2 * coordinates { memory.store(Float(index % 7) - 3, index) }
        let gradients = GradientFacts(gram: gram, coordinates: coordinates) {
            ArrayView(pointer: memory.pointer, element: .f32, shape: [2, coordinates], owner: memory)
        }
        session.setLosses(session.objectives.map { _ in 0.3 })
        try session.offer(gradients)
        return gradients
    }

    /// Gives a name of the batch a value; what nobody gives but plugins stays absent.
    private static func set(_ name: String, _ values: ValueStore) {
        guard let match = NameRegistry.training.match(name) else { return }
        guard let axes = match.type.axes else {
            guard values.double(name) == nil, values.integer(name) == nil else { return }
            if match.type.element == .i64 { values.set(name, Int64(0)) } else { values.set(name, 0.3) }
            return
        }
        let sizes = ["b": batch, "h": chunk, "a": actions, "t": 1, "d": width, "n": 64, "v": 64]
        guard match.entry.provider == .host, axes.allSatisfy({ sizes[$0] != nil }) else { return }
        let shape = axes.map { sizes[$0] ?? 1 }
        let memory = TimedMemory(shape.reduce(match.type.element.size, *))
        switch match.type.element {
        case .f32: for index in 0..<memory.bytes / 4 { memory.store(Float(index % 7) - 3, index) }
        case .f64: for index in 0..<memory.bytes / 8 { memory.store(Double(index % 4), index) }
        case .i64: for index in 0..<memory.bytes / 8 { memory.store(Int64(index % 5 + 1), index) }
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
