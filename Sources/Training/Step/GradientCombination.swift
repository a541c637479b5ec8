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

    /// Weights of the last step, [blocks, objectives].
    private(set) var weights: [Double]
    private let composition: Composition
    private let objectives: [String]
    private let blockCount: Int
    private let gram: GradientGram
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

    /// Throws when a plugin's result would be ignored.
    init(blocks: ParameterBlocks, composition: Composition, parameters: ParameterSet) throws {
        self.composition = composition
        objectives = composition.objectives
        blockCount = blocks.blocks.count
        let (k, m) = (blockCount, objectives.count)
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
        try Self.checkOrder(composition)
    }

    deinit {
        gramValues.deallocate()
        startWeights.deallocate()
        blockSizes.deallocate()
        losses.deallocate()
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

    /// - Parameter multipliers: by objective, what the weights start from in every block.
    func run(
        _ gradients: [GradientAccumulator], multipliers: [Double], values: ValueStore, step: Int, _ parallel: Parallel
    ) throws -> Result {
        let (k, m) = (blockCount, objectives.count)
        gram.compute(gradients, parallel)
        for block in 0..<k {
            for index in 0..<m { weights[block * m + index] = multipliers[index] }
        }
        for index in normReads { values.set("gradient_norm.\(objectives[index])", norm(of: index)) }
        guard hasHooks else { return weighted(gradients) }

        _ = gramValues.update(fromContentsOf: gram.values)
        _ = startWeights.update(fromContentsOf: weights)
        for index in 0..<m { losses[index] = values.double("loss.\(objectives[index])") ?? 0 }
        values.set("losses", .array(losses, .f64, [m]))
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

    /// The length of an objective's gradient over all blocks.
    private func norm(of index: Int) -> Double {
        let m = objectives.count
        return (0..<blockCount).reduce(0) { $0 + gram.values[($1 * m + index) * m + index] }.squareRoot()
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
