internal import PluginRuntime
internal import Tensors

/// How the objectives' gradients become one: gives `gradient_combine` hooks what they read and takes what they decide.
final class GradientCombination {
    /// What the optimizer shall follow: in each block the sum of weight times gradient.
    struct Result {
        let gradients: [GradientAccumulator]
        /// [blocks, gradients.count].
        let weights: [Double]
        /// Of the combined gradient, over all parameters.
        let norm: Double
    }

    /// Weights of the last step, [blocks, objectives that took part].
    private(set) var weights: [Double]
    private let composition: Composition
    private let objectives: [String]
    private let blocks: ParameterBlocks
    private var blockCount: Int { blocks.blocks.count }
    private var gram: GradientGram
    private let full: FullGradients?
    private let hasHooks: Bool
    /// Objectives whose gradient's norm some hook reads.
    private let normReads: [Int]
    // Memory behind the arrays that hooks read. It stays as it is until the next step: `name@prev` is copied at the end of
    // this one.
    private let gramValues: UnsafeMutableBufferPointer<Double>
    private let startWeights: UnsafeMutableBufferPointer<Double>
    private let blockSizes: UnsafeMutableBufferPointer<Int64>
    private let losses: UnsafeMutableBufferPointer<Double>
    private let rows: UnsafeMutableBufferPointer<Int64>

    /// Throws when a plugin's result would be ignored.
    init(blocks: ParameterBlocks, composition: Composition, parameters: ParameterSet) throws {
        self.composition = composition
        objectives = composition.objectives
        self.blocks = blocks
        let (k, m) = (blocks.blocks.count, objectives.count)
        gram = GradientGram(blocks: blocks, objectives: m)
        weights = Array(repeating: 1, count: k * m)
        let needsRows = ["grads", "combined"].contains {
            composition.reads($0) || composition.previousReads.contains($0) || composition.provider(of: $0) != nil
        }
        full = needsRows ? FullGradients(blocks: blocks, objectives: m, parameters: parameters) : nil
        hasHooks = composition.plan.points.contains { $0.point == .gradientCombine }
        normReads = objectives.indices.filter { [objectives] in
            composition.reads("gradient_norm.\(objectives[$0])")
                || composition.previousReads.contains("gradient_norm.\(objectives[$0])")
        }
        gramValues = .allocate(capacity: k * m * m)
        gramValues.initialize(repeating: 0)
        startWeights = .allocate(capacity: k * m)
        startWeights.initialize(repeating: 1)
        blockSizes = .allocate(capacity: k)
        _ = blockSizes.initialize(from: blocks.blocks.map { Int64($0.count) })
        losses = .allocate(capacity: m)
        losses.initialize(repeating: 0)
        rows = .allocate(capacity: m)
        rows.initialize(repeating: 0)
        try Self.checkOrder(composition)
    }

    deinit {
        gramValues.deallocate()
        startWeights.deallocate()
        blockSizes.deallocate()
        losses.deallocate()
        rows.deallocate()
    }

    /// A combined gradient stands for every weight given before it: weights given after it would do nothing.
    private static func checkOrder(_ composition: Composition) throws {
        let hooks = composition.plan.points.first { $0.point == .gradientCombine }?.hooks ?? []
        guard let last = hooks.lastIndex(where: { $0.provides.contains { $0.name == "combined" } }) else { return }
        for hook in hooks[(last + 1)...] where hook.provides.contains(where: { $0.name == "weights" }) {
            throw TrainingError(
                "\(hooks[last].plugin) gives the combined gradient itself, so the weights that \(hook.plugin) gives after "
                    + "it would be ignored; list \(hook.plugin) before \(hooks[last].plugin), or leave one of them out")
        }
    }

    /// - Parameters:
    ///   - gradients: of every objective.
    ///   - present: objectives that take part in the step, the rows of the Gram matrix. What belongs to another is
    ///     withheld from hooks.
    ///   - multipliers: by objective, what the weights start from in every block.
    /// - Returns: nil when no objective takes part: hooks are not called.
    func run(
        _ gradients: [GradientAccumulator], present: [Int], multipliers: [Double], values: ValueStore, step: Int,
        _ parallel: Parallel
    ) throws -> Result? {
        for (index, objective) in objectives.enumerated() where !present.contains(index) {
            for name in ["loss", "index", "gradient_norm"] { values.withhold("\(name).\(objective)") }
        }
        guard !present.isEmpty else {
            composition.skip(.gradientCombine, values: values)
            return nil
        }
        let (k, m) = (blockCount, present.count)
        if gram.objectives != m { gram = GradientGram(blocks: blocks, objectives: m) }
        let gradients = present.map { gradients[$0] }
        gram.compute(gradients, parallel)
        let start = present.map { multipliers[$0] }
        weights.removeAll(keepingCapacity: true)
        for _ in 0..<k { weights.append(contentsOf: start) }
        for (row, index) in present.enumerated() {
            values.set("index.\(objectives[index])", Int64(row))
            if normReads.contains(index) { values.set("gradient_norm.\(objectives[index])", gram.norm(of: row)) }
        }
        guard hasHooks else { return weighted(gradients) }

        _ = gramValues.update(fromContentsOf: gram.values)
        _ = startWeights.update(fromContentsOf: weights)
        for (row, index) in present.enumerated() {
            losses[row] = values.double("loss.\(objectives[index])") ?? 0
            rows[row] = Int64(index)
        }
        values.set("losses", .array(losses, .f64, [m]))
        values.set("rows", .array(rows, .i64, [m]))
        values.set("gram", .array(gramValues, .f64, [k, m, m]))
        values.set("weights", .array(startWeights, .f64, [k, m]))
        values.set("numel", .array(blockSizes, .i64, [k]))
        if let full { values.set("grads", full.gather(gradients, parallel)) }
        values.remove("combined")
        try composition.run(.gradientCombine, values: values, step: step)
        if let result = values.array("weights") { weights = Array(result.doubles) }
        guard let full, let result = values.array("combined"), let start = result.floats.baseAddress else {
            return weighted(gradients)
        }
        guard result.count == full.count else {
            throw PluginFailure(
                plugin: composition.provider(of: "combined") ?? "", point: .gradientCombine, step: step,
                message:
                    "its result 'combined' has \(result.count) elements, the trainable parameters are \(full.count): "
                    + "declare it with the axis of grads, f32[n]", kind: .error)
        }
        let (combined, norm) = full.scatter(start, like: gradients, parallel)
        return Result(gradients: [combined], weights: Array(repeating: 1, count: k), norm: norm)
    }

    private func weighted(_ gradients: [GradientAccumulator]) -> Result {
        Result(gradients: gradients, weights: weights, norm: gram.squaredNorm(weights: weights).squareRoot())
    }
}

extension ArrayView {
    /// A read-only view of memory that the caller keeps.
    fileprivate static func array<Element>(
        _ memory: UnsafeMutableBufferPointer<Element>, _ element: ElementType, _ shape: [Int]
    ) -> ArrayView {
        guard let start = memory.baseAddress else { preconditionFailure("allocated memory has an address") }
        return ArrayView(pointer: UnsafeMutableRawPointer(start), element: element, shape: shape)
    }
}
