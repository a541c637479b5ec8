import Formats
package import PluginRuntime
import Training

/// The kinds of values a hook is tried with.
package enum TrialKind: String, CaseIterable {
    case random, zero, tiny, huge, nan

    /// The size of the numbers in double precision.
    package var scale: Double {
        switch self {
        case .random, .nan: 1
        case .zero: 0
        case .tiny: 1e-300
        case .huge: 1e150
        }
    }

    /// The size of the numbers in single precision, where squares have to stay representable too.
    package var floatScale: Double {
        switch self {
        case .tiny: 1e-30
        case .huge: 1e15
        default: scale
        }
    }
}

/// One shape of a step, and one way of filling it.
package struct TrialCase: CustomStringConvertible {
    package var kind: TrialKind
    /// Sizes by the registry's axis letters.
    package var sizes: [String: Int]
    /// Counts up from case to case: optional inputs present or absent, ordinary or degenerate gradients.
    package var variation: Int

    package var description: String {
        "\(kind.rawValue) input, m = \(sizes["m"] ?? 0), k = \(sizes["k"] ?? 0), case \(variation)"
    }

    /// m = 1, 2, 3 with several sizes of everything else.
    package static func all(_ kind: TrialKind) -> [TrialCase] {
        let shapes: [[String: Int]] = [
            ["b": 1, "h": 1, "a": 1, "t": 1, "d": 1, "n": 1, "v": 2, "k": 1],
            ["b": 2, "h": 4, "a": 7, "t": 5, "d": 8, "n": 3, "v": 11, "k": 4],
            ["b": 3, "h": 2, "a": 3, "t": 2, "d": 17, "n": 5, "v": 6, "k": 9],
        ]
        var cases: [TrialCase] = []
        for objectives in 1...3 {
            for shape in shapes {
                for _ in 0..<2 {
                    let sizes = shape.merging(["m": objectives]) { _, new in new }
                    cases.append(TrialCase(kind: kind, sizes: sizes, variation: cases.count))
                }
            }
        }
        return cases
    }
}

/// Makes up steps that a trainer could have, and lets a session say what follows: which rows there are, `losses`, `numel`,
/// where weights start. Values depend on the seed, the case, the step and the name alone.
package final class TrialInputs {
    /// The points of a step, in the order of a run.
    package static let stepPoints: [HookPoint] = [.preBackward, .gradientCombine, .postStep]

    private let seed: UInt64
    private let trial: TrialCase
    private let hooks: [HookTrial]
    private let session: HookSession
    /// Objectives that some hook names; the others of the run have made-up names.
    private let named: Set<String>
    /// Sizes by the registry's axis letters.
    private var sizes: [String: Int]

    package init(seed: UInt64, trial: TrialCase, hooks: [HookTrial], of instance: PluginInstance) {
        self.seed = seed
        self.trial = trial
        self.hooks = hooks
        let names = hooks.flatMap { $0.inputs + $0.results }.compactMap { argument -> String? in
            let captures = NameRegistry.training.match(argument.name)?.captures
            return captures?["objective"].flatMap { $0 == "none" ? nil : $0 }
        }
        var objectives: [String] = []
        for name in names where !objectives.contains(name) { objectives.append(name) }
        named = Set(objectives)
        var sizes = trial.sizes
        // A plugin may want arrays of one size.
        for argument in hooks.flatMap(\.inputs) {
            let letters = NameRegistry.training.match(argument.name)?.type.axes ?? []
            for (axis, letter) in zip(argument.type.axes ?? [], letters) {
                if let size = Int(axis) { sizes[letter] = size }
            }
        }
        while objectives.count < sizes["m"] ?? 1 { objectives.append("other-\(objectives.count)") }
        self.sizes = sizes
        session = HookSession(Composition(alone: instance, registry: .training), objectives: objectives)
        session.setBlocks(BlockFacts(numel: []))
        planFacts()
    }

    // MARK: - A run

    private func planFacts() {
        var random = generator("plan", 0)
        session.setBlocks(blocks(&random))
        session.values.set("objectives", Int64(session.objectives.count))
        offerBatch(.plan, step: 0)
    }

    /// Puts in what the hooks of a point find in a step.
    package func offer(_ point: HookPoint, step: Int) throws {
        var random = generator(point.rawValue, step)
        switch point {
        case .preBackward:
            session.multipliers = session.objectives.map { scalar("lambda", "lambda.\($0)", step) }
            session.begin(step: step, rate: 1e-4 * (1 + random.uniform()))
            sizes["n"] = trial.sizes["n"]
        case .gradientCombine:
            session.setLosses(session.objectives.map { isPresent($0, step) ? scalar("loss", "loss.\($0)", step) : nil })
            let numel = session.blocks.numel.reduce(0) { $0 + Int($1) }
            sizes["n"] = numel
            try session.offer(gradients(coordinates: numel, &random))
        default: break
        }
        offerBatch(point, step: step)
    }

    package func endStep() { session.values.advanceStep() }

    /// A step whose hooks are not called: what it leaves is what the next one reads as the previous.
    package func skip(_ step: Int) throws {
        for point in Self.stepPoints { try offer(point, step: step) }
        endStep()
    }

    /// Values of every input of `hook` in declared order; nil: the hook is not called in such a step.
    package func values(of hook: HookTrial, step: Int) -> [TrialValue?]? {
        guard var values = hook.values(from: session) else { return nil }
        let floating = hook.inputs.indices.filter { hook.inputs[$0].type.element != .i64 }
        for (index, input) in hook.inputs.enumerated() {
            if input.isOptional && !isChosen(input, step) { values[index] = nil }
            guard trial.kind == .nan, let value = values[index] else { continue }
            // Not a number everywhere, or in one element of one input.
            if trial.variation % 2 == 0 || floating.isEmpty
                || floating[(trial.variation / 2 + step) % floating.count] == index
            {
                var random = generator("poison." + input.name, step)
                values[index] = poisoned(value, input, &random)
            }
        }
        return values
    }

    // MARK: - What is there

    /// Objectives take part all, or as it comes: those that hooks can do without.
    private func isPresent(_ objective: String, _ step: Int) -> Bool {
        guard named.contains(objective), session.objectives.count > named.count || objective != session.objectives[0]
        else { return true }
        let own = ["index.\(objective)", "loss.\(objective)", "gradient_norm.\(objective)"]
        let arguments = hooks.flatMap(\.inputs).filter { own.contains($0.name) && !$0.isPrevious }
        guard let first = arguments.first, arguments.allSatisfy(\.isOptional) else { return true }
        return isChosen(first, step)
    }

    /// Optional inputs are all there, all absent, or as it comes. A name that another one depends on is not decided alone:
    /// the choice is made for the whole objective.
    private func isChosen(_ input: HookArgument, _ step: Int) -> Bool {
        if input.isPrevious && step == 0 { return false }
        switch trial.variation % 3 {
        case 0: return true
        case 1 where trial.variation % 2 == 1: return false
        default:
            let subject = input.name.split(separator: ".").last.map(String.init) ?? input.name
            var random = RandomGenerator(
                seed: seed, stream: RandomGenerator.stream(subject), UInt64(trial.variation), 77)
            return random.uniform() < 0.5
        }
    }

    // MARK: - Values

    private func generator(_ name: String, _ step: Int) -> RandomGenerator {
        RandomGenerator(
            seed: seed, stream: RandomGenerator.stream(name), UInt64(trial.variation), UInt64(step))
    }

    /// Gives every input of a point that is not the session's own a value.
    private func offerBatch(_ point: HookPoint, step: Int) {
        for input in hooks.filter({ $0.point == point }).flatMap(\.inputs) where !input.isPrevious {
            guard !Self.sessionFamilies.contains(Self.family(input.name)) else { continue }
            var random = generator(input.name, step)
            offer(input, step, &random)
        }
    }

    /// What the session itself knows.
    private static let sessionFamilies: Set<String> = [
        "step", "lr", "seed", "objectives", "gram", "weights", "losses", "rows", "index", "numel", "grads", "lambda",
        "gradient_norm", "block_group", "block_layer", "block_kind", "block_shape", "gram_cross", "drift_dot", "rate",
    ]

    /// What a value is: the start of its name, and for one of a probe or a data stream what comes after the probe's.
    private static func family(_ name: String) -> String {
        let pattern = NameRegistry.training.match(name)?.entry.pattern.description ?? name
        let parts = pattern.split(separator: ".").map(String.init)
        return parts.count > 2 && ["probe", "stream"].contains(parts[0])
            ? parts[2] : name.split(separator: ".").first.map(String.init) ?? name
    }

    private func offer(_ input: HookArgument, _ step: Int, _ random: inout RandomGenerator) {
        let family = Self.family(input.name)
        guard let axes = input.type.axes else {
            if input.type.element == .i64 {
                session.values.set(input.name, family == "steps" ? 100 : Int64(2 + random.next() % 6))
            } else if family != "loss" || session.values.double(input.name) == nil {
                session.values.set(input.name, scalar(family, input.name, step))
            }
            return
        }
        let letters = NameRegistry.training.match(input.name)?.type.axes
        let shape = axes.enumerated().map { place, axis in
            Int(axis) ?? letters.flatMap { sizes[$0[place]] } ?? 1 + Int(RandomGenerator.stream(axis) % 4)
        }
        let count = shape.reduce(1, *)
        switch input.type.element {
        case .i64 where family == "order":
            // Permutations, as somebody who gives orders would make them.
            let width = shape.last ?? 0
            let numbers = (0..<count / max(width, 1)).flatMap { _ -> [Int64] in
                var row = (0..<Int64(width)).map { $0 }
                for last in row.indices.reversed() { row.swapAt(last, Int(random.next() % UInt64(last + 1))) }
                return row
            }
            set(input, numbers, shape)
        case .i64:
            // Answer tokens are rows of the vocabulary; whose they are ascends.
            if family == "text_row" {
                set(input, (0..<count).map { Int64($0 * (sizes["b"] ?? 1) / count) }, shape)
                return
            }
            let limit = ["answer_ids", "text_ids"].contains(family) ? sizes["v"] ?? 8 : 1000
            set(input, (0..<count).map { _ in Int64(random.next() % UInt64(max(limit, 1))) }, shape)
        case .f64:
            set(input, (0..<count).map { _ in number(family, &random) }, shape)
        case .f32:
            let width = max(shape.last ?? 1, 1)
            // Every row of a mask has a token.
            let numbers = (0..<count).map { index in
                family == "mask"
                    ? (index % width == 0 || random.uniform() < 0.7 ? 1 : 0)
                    : Float(random.normal() * trial.kind.floatScale)
            }
            set(input, numbers, shape)
        }
    }

    private func number(_ family: String, _ random: inout RandomGenerator) -> Double {
        switch family {
        // Shares and factors.
        case "uniforms", "pull": random.uniform()
        case "drift2": abs(random.normal() * trial.kind.scale)
        default: random.normal() * trial.kind.scale
        }
    }

    private func set<Element: BitwiseCopyable>(_ input: HookArgument, _ numbers: [Element], _ shape: [Int]) {
        session.values.set(input.name, ArrayView(copying: numbers, as: input.type.element, shape: shape))
    }

    private func scalar(_ family: String, _ name: String, _ step: Int) -> Double {
        var random = generator(name, step)
        let number = random.normal() * trial.kind.scale
        return ["loss", "lambda"].contains(family) ? abs(number) : number
    }

    private func blocks(_ random: inout RandomGenerator) -> BlockFacts {
        var blocks = BlockFacts(numel: (0..<(sizes["k"] ?? 1)).map { _ in 1 + Int64(random.next() % 24) })
        // Each tensor a block, or blocks of several groups.
        guard trial.variation % 4 != 3 else { return blocks }
        func pick<Code: CaseIterable & RawRepresentable>(_ codes: Code.Type) -> Code where Code.RawValue == Int64 {
            let all = Array(codes.allCases)
            return all[Int(random.next() % UInt64(all.count))]
        }
        for block in blocks.numel.indices {
            blocks.group[block] = pick(BlockGroup.self).rawValue
            blocks.layer[block] = Int64(random.next() % 4) - 1
            blocks.kind[block] = pick(BlockKind.self).rawValue
        }
        return blocks
    }

    /// Vectors and their inner products: independent ones, and every fourth block each duplicates or opposed ones.
    private func gradients(coordinates: Int, _ random: inout RandomGenerator) -> GradientFacts {
        let rows = session.present.count
        var vectors = [[Double]](repeating: [], count: rows)
        var gram: [Double] = []
        for (block, size) in session.blocks.numel.enumerated() {
            var parts = (0..<rows).map { _ in (0..<Int(size)).map { _ in random.normal() } }
            let degenerate = (block + trial.variation) % 4
            if rows > 1 && degenerate >= 2 { parts[1] = parts[0].map { degenerate == 2 ? $0 : -$0 } }
            for row in parts {
                for column in parts { gram.append(zip(row, column).reduce(0) { $0 + $1.0 * $1.1 } * trial.kind.scale) }
            }
            for (row, part) in parts.enumerated() { vectors[row] += part }
        }
        let values = vectors.flatMap(\.self).map { Float($0 * trial.kind.floatScale) }
        var facts = GradientFacts(gram: gram, coordinates: coordinates) {
            ArrayView(copying: values, as: .f32, shape: [rows, coordinates])
        }
        facts.gramCross = gram.map { $0 + random.normal() * trial.kind.scale }
        facts.driftDot = (0..<session.blocks.count * rows).map { _ in random.normal() * trial.kind.scale }
        return facts
    }

    /// What the host makes itself, or what it has checked before a hook reads it: the results of earlier hooks in a chain.
    private static let checkedFamilies: Set<String> = ["weights", "combined", "rate", "pull", "mask", "uniforms"]

    private func poisoned(_ value: TrialValue, _ input: HookArgument, _ random: inout RandomGenerator) -> TrialValue {
        let family = Self.family(input.name)
        switch value {
        // The trainer's own numbers are always ordinary.
        case .f64 where family != "lr": return .f64(.nan)
        case .array(var bytes, let shape)
        where input.type.element != .i64 && !Self.checkedFamilies.contains(family) && !bytes.isEmpty:
            let size = input.type.element.size
            let everywhere = trial.variation % 2 == 0
            let chosen = Int(random.next() % UInt64(bytes.count / size))
            for element in 0..<bytes.count / size where everywhere || element == chosen {
                bytes.withUnsafeMutableBytes { buffer in
                    if size == 4 {
                        buffer.storeBytes(of: Float.nan, toByteOffset: 4 * element, as: Float.self)
                    } else {
                        buffer.storeBytes(of: Double.nan, toByteOffset: 8 * element, as: Double.self)
                    }
                }
            }
            return .array(bytes: bytes, shape: shape)
        default: return value
        }
    }
}
