/// A step and its plugins in conversation: what hooks are told, when they are called, and what they decide.
///
///     plan(facts)                     -> taps, probes, routes, rates, block scope, first multipliers
///     begin(step, rate)
///     microBatch()                    -> losses and cotangents               pre_backward
///     closeBatch()                    -> rows: the objectives that take part
///     combine(gradients)              -> weights [k, m], or a gradient       gradient_combine
///     finish()                        -> multipliers, metrics, rates, pull   post_step
///     evaluate(measures), end()       -> stop                                evaluate, finish
///
/// Every host is a client of it, so that a rule exists once: which rows there are, what `losses`, `index.X` and `numel` mean,
/// where weights start, what is withheld and what `name@prev` reads. It knows no tensor, no model and no file of a run. Equal
/// inputs give equal bits in every host.
///
/// One thread at a time; several sessions may live on several threads.
package final class HookSession {
    package let composition: Composition
    /// By row: the objectives of the run in list order.
    package let objectives: [String]
    /// The values of the conversation. A host puts in what a micro-batch has, under the registry's names.
    package let values: ValueStore
    /// What `plan` hooks decided.
    package private(set) var decisions = PlanDecisions()
    /// Who the blocks are.
    package private(set) var blocks = BlockFacts(numel: [])
    /// The step that goes on, or went last.
    package private(set) var step = 0
    /// Micro-batches of this step so far.
    package internal(set) var microBatches = 0
    /// Rows of the objectives that take part in this step.
    package private(set) var present: [Int] = []

    let names: [ObjectiveNames]
    /// Whether results that are not finite are stored like any other, for tools that show them.
    private let keepsNonFinite: Bool
    private var order: HookOrder { composition.order }
    /// Sums over the step's micro-batches, by name.
    var sums: [ValueName: Double] = [:]
    /// Metrics of pre_backward hooks, averaged over micro-batches, and those of hooks that run once a step.
    let microBatchMetrics: [MetricName]
    private let stepMetrics: [MetricName]
    /// Multipliers that the step began with, by row.
    private var multipliersBefore: [Double] = []
    private let hasCombineHooks: Bool
    /// Arrays of a step that cost something, and whether some hook asks for them.
    package let needs: Needs
    /// By row: the cotangent on the parameters' drift, if its objective gives one.
    private let driftCotangents: [ValueName?]
    /// By row: sums of those over the micro-batches.
    var driftSums: [[Double]]
    /// By group: factors on the learning rate as `post_step` hooks set them.
    private var scaleNames: [(group: String, name: ValueName)] = []
    private let blockMetrics: [MetricName]
    private let evaluationMetrics: [MetricName]
    /// Measures that some hook reads.
    private let measureNames: [MetricName]
    private var stopRequest: StopRequest?

    /// What hooks ask for beyond what every step has.
    package struct Needs: Sendable {
        package let grads: Bool
        /// Whether a hook gives or reads a combined gradient.
        package let combined: Bool
        package let gramCross: Bool
        /// Whether anything is made of the distance from the initial parameters.
        package let drift: Bool
        package let drift2: Bool
        package let driftDot: Bool
        package let parameters: Bool
        package let initial: Bool
        /// Whether some hook reads or gives rates of blocks, and shares of the way back.
        let rates: Bool
        let pull: Bool

        init(_ composition: Composition) {
            func given(_ name: String) -> Bool { composition.provider(of: name) != nil }
            grads = composition.needs("grads")
            combined = composition.needs("combined") || given("combined")
            gramCross = composition.needs("gram_cross")
            drift2 = composition.needs("drift2")
            driftDot = composition.needs("drift_dot")
            parameters = composition.needs("parameters")
            initial = composition.needs("initial")
            rates = composition.needs("rate") || given("rate")
            pull = composition.needs("pull") || given("pull")
            drift =
                drift2 || driftDot || initial || given("pull")
                || composition.objectives.contains { given("cotangent.\($0).drift") }
        }
    }
    /// By row: the cotangent that an objective gives on a value.
    private let cotangents: [[ValueName: ValueName]]

    // Memory behind the arrays that hooks read. It stays as it is until the next step: `name@prev` is copied at its end.
    private let gramMemory = SessionArray<Double>(.f64)
    private let weightMemory = SessionArray<Double>(.f64)
    private let lossMemory = SessionArray<Double>(.f64)
    private let rowMemory = SessionArray<Int64>(.i64)
    private let crossMemory = SessionArray<Double>(.f64)
    private let driftMemory = SessionArray<Double>(.f64)
    private let driftDotMemory = SessionArray<Double>(.f64)
    private let rateMemory = SessionArray<Double>(.f64)
    private let pullMemory = SessionArray<Double>(.f64)

    /// The names that an objective has in the conversation.
    struct ObjectiveNames {
        let loss: ValueName
        let multiplier: ValueName
        let index: ValueName
        let norm: ValueName
        let weight: ValueName
        /// As metrics call them: `loss.X`, `lambda.X`, and the multiplier before the step.
        let lossMetric: String
        let multiplierMetric: String
        let previousMultiplierMetric: String
        /// Whether some hook reads the norm of its gradient.
        let readsNorm: Bool

        init(_ objective: String, _ composition: Composition) {
            loss = ValueName("loss.\(objective)")
            multiplier = ValueName("lambda.\(objective)")
            index = ValueName("index.\(objective)")
            norm = ValueName("gradient_norm.\(objective)")
            weight = ValueName("weight.\(objective)")
            lossMetric = "loss.\(objective)"
            multiplierMetric = "lambda.\(objective)"
            previousMultiplierMetric = "lambda.\(objective)@prev"
            readsNorm = composition.needs("gradient_norm.\(objective)")
        }
    }

    /// A metric's name in the conversation and in logs.
    struct MetricName {
        let value: ValueName
        let text: String
    }

    /// The names that every session knows.
    enum Names {
        static let step = ValueName("step")
        static let learningRate = ValueName("lr")
        static let seed = ValueName("seed")
        static let objectives = ValueName("objectives")
        static let gram = ValueName("gram")
        static let weights = ValueName("weights")
        static let losses = ValueName("losses")
        static let rows = ValueName("rows")
        static let numel = ValueName("numel")
        static let grads = ValueName("grads")
        static let combined = ValueName("combined")
        static let gramCross = ValueName("gram_cross")
        static let drift2 = ValueName("drift2")
        static let driftDot = ValueName("drift_dot")
        static let parameters = ValueName("parameters")
        static let initial = ValueName("initial")
        static let rate = ValueName("rate")
        static let pull = ValueName("pull")
        static let stop = ValueName("stop")
        static let blockGroup = ValueName("block_group")
        static let blockLayer = ValueName("block_layer")
        static let blockKind = ValueName("block_kind")
        static let blockShape = ValueName("block_shape")
        /// What is known of blocks before the first step, once it is known what a block is.
        static let blocks = [numel, blockGroup, blockLayer, blockKind, blockShape]
        static let blockScope = ValueName("block_scope")
    }

    /// - Parameters:
    ///   - objectives: by row; nil: those that the composition has.
    ///   - keepsNonFinite: whether results that are not finite are stored like any other. Training never allows it.
    ///   - values: where the conversation goes on; nil: a new one begins.
    package init(
        _ composition: Composition, objectives: [String]? = nil, values: ValueStore? = nil, keepsNonFinite: Bool = false
    ) {
        self.composition = composition
        let objectives = objectives ?? composition.objectives
        self.objectives = objectives
        self.keepsNonFinite = keepsNonFinite
        self.values = values ?? ValueStore(remembering: composition.previousReads)
        names = objectives.map { ObjectiveNames($0, composition) }
        let hooks = composition.plugins.flatMap(\.hooks)
        func metrics(_ points: Set<HookPoint>, _ prefix: String = "metric.") -> [MetricName] {
            hooks.filter { points.contains($0.point) }.flatMap(\.provides).filter { $0.hasPrefix(prefix) }
                .map { MetricName(value: ValueName($0), text: String($0.dropFirst(prefix.count))) }
        }
        microBatchMetrics = metrics([.preBackward])
        stepMetrics = metrics([.gradientCombine, .postStep])
        blockMetrics = metrics([.gradientCombine, .postStep], "block_metric.")
        evaluationMetrics = metrics([.evaluate])
        measureNames = Set(hooks.flatMap(\.reads).filter { $0.hasPrefix("eval.") }).sorted()
            .map { MetricName(value: ValueName($0), text: String($0.dropFirst("eval.".count))) }
        needs = Needs(composition)
        driftCotangents = objectives.map { objective in
            let name = "cotangent.\(objective).drift"
            return composition.provider(of: name).map { _ in ValueName(name) }
        }
        driftSums = objectives.map { _ in [] }
        scaleNames = hooks.filter { $0.point == .postStep }.flatMap(\.provides).filter { $0.hasPrefix("lr_scale.") }
            .map { (String($0.dropFirst("lr_scale.".count)), ValueName($0)) }
        hasCombineHooks = !(composition.order.calls[.gradientCombine] ?? []).isEmpty
        let given = Set(hooks.flatMap(\.provides))
        cotangents = objectives.map { objective in
            let prefix = "cotangent.\(objective)."
            return Dictionary(
                uniqueKeysWithValues: given.filter { $0.hasPrefix(prefix) }
                    .map { (ValueName(String($0.dropFirst(prefix.count))), ValueName($0)) })
        }
        for name in names where self.values.double(name.multiplier) == nil { self.values.set(name.multiplier, 1.0) }
        multipliersBefore = multipliers
    }

    /// Whether some hook gives metrics by block.
    package var givesBlockMetrics: Bool { !blockMetrics.isEmpty }

    // MARK: - Before the first step

    /// Runs the `plan` hooks. Throws ``PluginFailure`` when one fails or decides what no run can have, and
    /// ``CompositionError`` when a hook requires what this run never has.
    @discardableResult
    package func plan(_ facts: PlanFacts) throws -> PlanDecisions {
        try refuseAbsent(facts.absent)
        for case (let name, let value?) in facts.integers { values.set(name, Int64(value)) }
        values.set(Names.objectives, Int64(objectives.count))
        values.set(Names.seed, Int64(bitPattern: facts.seed))
        // Weights of objectives hold until a rule gives a multiplier.
        for name in names { values.remove(name.multiplier) }
        try order.run(
            .plan, values: values, step: 0, keepsNonFinite: keepsNonFinite,
            prepare: { [self] hook in
                guard Names.blocks.contains(where: hook.reads) else { return }
                if hook.resultNames.contains(Names.blockScope) {
                    throw PluginFailure(
                        plugin: hook.instance, point: .plan, step: 0,
                        message:
                            "it gives block_scope and reads who the blocks are, which is known only then: let one plan "
                            + "hook give block_scope and another read the blocks", kind: .error)
                }
                setBlocks(try facts.blocks(try values.code("block_scope", as: BlockScope.self) ?? .tensor))
            })
        decisions = try PlanDecisions(values, composition, facts)
        setBlocks(try facts.blocks(decisions.blockScope))
        for name in names where values.double(name.multiplier) == nil {
            values.set(name.multiplier, values.double(name.weight) ?? 1)
        }
        multipliersBefore = multipliers
        return decisions
    }

    /// Says who the blocks are, for a host that plans nothing.
    package func setBlocks(_ blocks: BlockFacts) {
        self.blocks = blocks
        let k = blocks.count
        for (name, numbers) in [
            (Names.numel, blocks.numel), (Names.blockGroup, blocks.group), (Names.blockLayer, blocks.layer),
            (Names.blockKind, blocks.kind),
        ] {
            values.set(name, ArrayView(copying: numbers, as: .i64, shape: [k]))
        }
        values.set(Names.blockShape, ArrayView(copying: blocks.shape, as: .i64, shape: [k, 2]))
    }

    private func refuseAbsent(_ absent: [String: String]) throws {
        var problems: [CompositionProblem] = []
        for (instance, hook) in HookPoint.allCases.flatMap({ order.calls[$0] ?? [] }) {
            for input in hook.inputs where !input.isOptional {
                guard let reason = absent[input.name], composition.provider(of: input.name) == nil else { continue }
                problems.append(
                    CompositionProblem(
                        kind: .missingProvider, name: input.name, neededBy: instance.name, point: hook.point,
                        type: input.type.description, problem: reason))
            }
        }
        if !problems.isEmpty { throw CompositionError(problems: problems) }
    }

    // MARK: - A step

    /// Begins step `step`, counted from 0, at learning rate `rate`.
    ///
    /// - Parameter drift2: [k], squared distances from the initial parameters; nil when nobody asked for them.
    package func begin(step: Int, rate: Double, drift2: [Double]? = nil) {
        self.step = step
        if let drift2 { values.set(Names.drift2, driftMemory.view(of: drift2, [drift2.count])) }
        for row in driftSums.indices { driftSums[row] = [] }
        values.set(Names.step, Int64(step))
        values.set(Names.learningRate, rate)
        multipliersBefore = multipliers
        sums.removeAll(keepingCapacity: true)
        microBatches = 0
        present = []
    }

    /// Runs the `pre_backward` hooks on the micro-batch in ``values``. Throws ``PluginFailure``.
    package func microBatch() throws {
        try order.run(.preBackward, values: values, step: step, keepsNonFinite: keepsNonFinite)
        microBatches += 1
        for name in names { add(name.loss) }
        for metric in microBatchMetrics { add(metric.value) }
        for (row, name) in driftCotangents.enumerated() {
            guard let name, let view = values.array(name) else { continue }
            guard view.count == blocks.count else {
                throw PluginFailure(
                    plugin: composition.provider(of: name.description) ?? "", point: .preBackward, step: step,
                    message:
                        "its result '\(name)' has \(view.count) elements, there are \(blocks.count) blocks: declare it "
                        + "with the axis of drift2, f64[k]", kind: .error)
            }
            driftSums[row] =
                driftSums[row].isEmpty ? Array(view.doubles) : zip(driftSums[row], view.doubles).map { $0 + $1 }
        }
    }

    /// [k]: mean over the micro-batches of the factor with which an objective's gradient has the parameters' distance from
    /// their initial values in it; nil: not at all.
    package func driftFactors(ofRow row: Int) -> [Double]? {
        driftSums[row].isEmpty ? nil : driftSums[row].map { $0 / Double(max(microBatches, 1)) }
    }

    private func add(_ name: ValueName) {
        if let value = values.double(name) { sums[name, default: 0] += value }
    }

    /// Whether some hook puts a cotangent of an objective on a value.
    package func givesCotangent(ofRow row: Int, on value: ValueName) -> Bool { cotangents[row][value] != nil }

    /// The cotangent that an objective put on a value in the last micro-batch, with that value's shape; nil: none.
    package func cotangent(ofRow row: Int, on value: ValueName) -> ArrayView? {
        cotangents[row][value].flatMap { values.array($0) }
    }

    /// Ends the micro-batches: losses and metrics become their means, and what belongs to objectives without a loss is
    /// withheld.
    ///
    /// - Returns: the rows of the objectives that take part in the step.
    @discardableResult
    package func closeBatch() -> [Int] {
        let count = Double(max(microBatches, 1))
        for (name, sum) in sums {
            let mean = sum / count
            sums[name] = mean
            values.set(name, mean)
        }
        present = names.indices.filter { sums[names[$0].loss] != nil }
        withholdAbsent()
        return present
    }

    /// Takes the losses of a step as they are, for a host whose objectives are no plugins'.
    ///
    /// - Parameter losses: by row; nil for an objective that takes no part.
    package func setLosses(_ losses: [Double?]) {
        for (name, loss) in zip(names, losses) {
            sums[name.loss] = loss
            if let loss { values.set(name.loss, loss) }
        }
        present = losses.indices.filter { losses[$0] != nil }
        withholdAbsent()
    }

    private func withholdAbsent() {
        for (row, name) in names.enumerated() where !present.contains(row) {
            for value in [name.loss, name.index, name.norm] { values.withhold(value) }
        }
    }

    /// Runs the `gradient_combine` hooks. Throws ``PluginFailure``.
    ///
    /// - Returns: nil when no objective takes part: hooks are not called.
    package func combine(_ gradients: GradientFacts) throws -> Combination? {
        guard !present.isEmpty else {
            order.skip(.gradientCombine, values: values)
            return nil
        }
        try offer(gradients)
        guard hasCombineHooks else { return Combination(weights: startWeights) }
        values.remove(Names.combined)
        var start: UnsafeMutableRawPointer?
        try order.run(
            .gradientCombine, values: values, step: step, keepsNonFinite: keepsNonFinite,
            prepare: { [self] hook in
                // The chain of combined gradients starts at the weighted sum, when somebody reads it.
                guard hook.reads(Names.combined), values.array(Names.combined) == nil, let sum = gradients.weightedSum
                else { return }
                let view = try sum(values.array(Names.weights).map { Array($0.doubles) } ?? startWeights)
                start = view.pointer
                values.set(Names.combined, view)
            })
        let weights = values.array(Names.weights).map { Array($0.doubles) } ?? startWeights
        let rates = needs.rates ? try factors(Names.rate, 0...1000, .gradientCombine) : nil
        guard let combined = values.array(Names.combined), combined.pointer != start else {
            return Combination(weights: weights, rates: rates)
        }
        guard combined.count == gradients.coordinates else {
            throw PluginFailure(
                plugin: composition.provider(of: "combined") ?? "", point: .gradientCombine, step: step,
                message:
                    "its result 'combined' has \(combined.count) elements, the trainable parameters are "
                    + "\(gradients.coordinates): declare it with the axis of grads, f32[n]", kind: .error)
        }
        return Combination(weights: weights, combined: combined, rates: rates)
    }

    /// What hooks made of a chain of factors by block; nil when none gives it.
    private func factors(
        _ name: ValueName, _ range: ClosedRange<Double>, _ point: HookPoint
    ) throws -> [Double]? {
        guard let giver = composition.provider(of: name.description), let view = values.array(name) else { return nil }
        let numbers = Array(view.doubles)
        guard let block = numbers.firstIndex(where: { !range.contains($0) }) else { return numbers }
        throw PluginFailure(
            plugin: giver, point: point, step: step,
            message: "its result '\(name)' is \(numbers[block]) for \(blocks.names[block]); expected "
                + "\(range.lowerBound) to \(range.upperBound)", kind: .error)
    }

    /// Where weights start: at the multipliers, in every block. [k, m].
    private var startWeights: [Double] {
        let start = present.map { multipliersBefore[$0] }
        var weights: [Double] = []
        weights.reserveCapacity(blocks.count * start.count)
        for _ in 0..<blocks.count { weights += start }
        return weights
    }

    /// Gives `gradient_combine` hooks what they read, without calling them.
    package func offer(_ gradients: GradientFacts) throws {
        let (k, m) = (blocks.count, present.count)
        for (row, objective) in present.enumerated() {
            values.set(names[objective].index, Int64(row))
            if names[objective].readsNorm { values.set(names[objective].norm, gradients.norm(of: row, of: m)) }
        }
        values.set(Names.losses, lossMemory.view(of: present.map { values.double(names[$0].loss) ?? 0 }, [m]))
        values.set(Names.rows, rowMemory.view(of: present.map { Int64($0) }, [m]))
        values.set(Names.gram, gramMemory.view(of: gradients.gram, [k, m, m]))
        values.set(Names.weights, weightMemory.view(of: startWeights, [k, m]))
        if needs.rates { values.set(Names.rate, rateMemory.view(of: Array(repeating: 1, count: k), [k])) }
        if let cross = gradients.gramCross { values.set(Names.gramCross, crossMemory.view(of: cross, [k, m, m])) }
        if let dot = gradients.driftDot { values.set(Names.driftDot, driftDotMemory.view(of: dot, [k, m])) }
        if needs.grads, let grads = gradients.grads { values.set(Names.grads, try grads()) }
        if needs.parameters, let parameters = gradients.parameters { values.set(Names.parameters, try parameters()) }
        if needs.initial, let initial = gradients.initial { values.set(Names.initial, try initial()) }
    }

    /// Runs the `post_step` hooks and ends the step. Throws ``PluginFailure``.
    package func finish() throws -> StepOutcome {
        let k = blocks.count
        if needs.pull { values.set(Names.pull, pullMemory.view(of: Array(repeating: 0, count: k), [k])) }
        try runCollectingStops(.postStep)
        // A rule that says nothing, as one does in a step without its objective's loss, leaves its multiplier alone.
        for (row, name) in names.enumerated() where values.double(name.multiplier) == nil {
            values.set(name.multiplier, multipliersBefore[row])
        }
        var metrics: [String: Double] = [:]
        metrics.reserveCapacity(3 * names.count + microBatchMetrics.count + stepMetrics.count + 3)
        for (row, name) in names.enumerated() {
            if let loss = sums[name.loss] { metrics[name.lossMetric] = loss }
            metrics[name.multiplierMetric] = values.double(name.multiplier)
            metrics[name.previousMultiplierMetric] = multipliersBefore[row]
        }
        for metric in microBatchMetrics { if let mean = sums[metric.value] { metrics[metric.text] = mean } }
        for metric in stepMetrics { if let value = values.double(metric.value) { metrics[metric.text] = value } }
        var outcome = StepOutcome(metrics: metrics)
        for metric in blockMetrics {
            if let array = values.array(metric.value) { outcome.blockMetrics[metric.text] = Array(array.doubles) }
        }
        if needs.pull { outcome.pull = try factors(Names.pull, 0...1, .postStep) }
        outcome.stop = stopRequest
        for (group, name) in scaleNames {
            guard let factor = values.double(name) else { continue }
            guard (0...1000).contains(factor) else {
                throw PluginFailure(
                    plugin: composition.provider(of: name.description) ?? "", point: .postStep, step: step,
                    message: "its result '\(name)' is \(factor); expected 0 to 1000", kind: .error)
            }
            decisions.rateScales[group] = factor
        }
        values.advanceStep()
        return outcome
    }

    private func runCollectingStops(_ point: HookPoint) throws {
        stopRequest = nil
        try order.run(
            point, values: values, step: step, keepsNonFinite: keepsNonFinite,
            collect: { [self] hook in
                guard hook.resultNames.contains(Names.stop), let value = values.double(Names.stop) else { return }
                values.remove(Names.stop)
                if value != 0, stopRequest == nil {
                    stopRequest = StopRequest(plugin: hook.instance, point: point, step: step, value: value)
                }
            })
    }

    // MARK: - Around the steps

    /// Tells `evaluate` hooks what was measured after `step` steps. Throws ``PluginFailure``.
    ///
    /// - Parameter measures: by internal name; what is not among them is absent.
    /// - Returns: metrics by name, and whether the run is to end.
    @discardableResult
    package func evaluate(_ measures: [String: Double], step: Int) throws -> (
        metrics: [String: Double], stop: StopRequest?
    ) {
        offer(measures, step: step)
        try runCollectingStops(.evaluate)
        var metrics: [String: Double] = [:]
        for metric in evaluationMetrics { if let value = values.double(metric.value) { metrics[metric.text] = value } }
        return (metrics, stopRequest)
    }

    /// Tells `finish` hooks that `step` steps were the last. Throws ``PluginFailure``.
    package func end(_ measures: [String: Double], step: Int) throws {
        offer(measures, step: step)
        try order.run(.finish, values: values, step: step, keepsNonFinite: keepsNonFinite)
    }

    /// Only groups whose factor changes from step to step: the others are this run's plan.
    func restoreRateScales(_ scales: [String: Double]) {
        for (group, _) in scaleNames { if let factor = scales[group] { decisions.rateScales[group] = factor } }
    }

    private func offer(_ measures: [String: Double], step: Int) {
        self.step = step
        values.set(Names.step, Int64(step))
        for name in measureNames {
            if let value = measures[name.text] { values.set(name.value, value) } else { values.withhold(name.value) }
        }
    }

    /// Ends a step of which nothing came, such as one with a loss that is not a number.
    package func abandon() { values.advanceStep() }

    /// Runs the hooks of a point on ``values`` as they are, for tools that call one point by itself. Throws
    /// ``PluginFailure``.
    package func run(_ point: HookPoint) throws {
        try order.run(point, values: values, step: step, keepsNonFinite: keepsNonFinite)
    }

    // MARK: - Multipliers

    /// By row, as the next step will use them; within a step those that it began with, until a rule gives others.
    package var multipliers: [Double] {
        get { names.map { values.double($0.multiplier) ?? 1 } }
        set { for (name, value) in zip(names, newValue) { values.set(name.multiplier, value) } }
    }
}
