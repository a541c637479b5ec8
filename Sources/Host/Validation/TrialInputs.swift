import PluginRuntime
import Tensors
import Training

/// The kinds of values a hook is tried with.
enum TrialKind: String, CaseIterable {
    case random, zero, tiny, huge, nan

    /// The size of the numbers in double precision.
    var scale: Double {
        switch self {
        case .random, .nan: 1
        case .zero: 0
        case .tiny: 1e-300
        case .huge: 1e150
        }
    }

    /// The size of the numbers in single precision, where squares have to stay representable too.
    var floatScale: Double {
        switch self {
        case .tiny: 1e-30
        case .huge: 1e15
        default: scale
        }
    }
}

/// One shape of a step, and one way of filling it.
struct TrialCase: CustomStringConvertible {
    var kind: TrialKind
    /// Sizes by the registry's axis letters.
    var sizes: [String: Int]
    /// Counts up from case to case: optional inputs present or absent, ordinary or degenerate gradients.
    var variation: Int

    var description: String {
        "\(kind.rawValue) input, m = \(sizes["m"] ?? 0), k = \(sizes["k"] ?? 0), case \(variation)"
    }

    /// m = 1, 2, 3 with several sizes of everything else.
    static func all(_ kind: TrialKind) -> [TrialCase] {
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

/// Makes up inputs that a trainer could give: Gram matrices of actual vectors, weights at the multipliers, rows distinct
/// and in range. Values depend on the seed, the case, the step and the name alone.
struct TrialInputs {
    let seed: UInt64

    /// Values of every input of `hook` in declared order.
    func values(of hook: HookTrial, in trial: TrialCase, step: Int) -> [TrialValue?] {
        let sizes = axisSizes(hook.inputs, trial)
        let floating = hook.inputs.indices.filter { hook.inputs[$0].type.element != .i64 }
        return hook.inputs.enumerated().map { index, input in
            if input.isOptional && !isPresent(input, trial, step) { return nil }
            var random = RandomGenerator(
                seed: seed, stream: RandomGenerator.stream(input.name), UInt64(trial.variation), UInt64(step),
                input.isPrevious ? 1 : 0)
            // Not a number everywhere, or in one element of one input.
            var isPoisoned = false
            if trial.kind == .nan {
                isPoisoned =
                    trial.variation % 2 == 0 || floating.isEmpty
                    || floating[(trial.variation / 2 + step) % floating.count] == index
            }
            return value(of: input, sizes, trial, step, isPoisoned, hook, &random)
        }
    }

    /// Optional inputs are all there, all absent, or as it comes. A name that another one depends on is not decided alone:
    /// the choice is made for the whole objective.
    private func isPresent(_ input: HookArgument, _ trial: TrialCase, _ step: Int) -> Bool {
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

    /// What the plugin's axis names stand for. The registry knows the letters of its names; a name it does not know gets
    /// sizes of its own.
    private func axisSizes(_ inputs: [HookArgument], _ trial: TrialCase) -> [String: Int] {
        var canonical = trial.sizes
        // Rows of the objectives the hook names have to exist.
        let rows = Set(inputs.filter { $0.name.hasPrefix("index.") }.map(\.name)).count
        canonical["m"] = max(canonical["m"] ?? 1, rows)
        let known = inputs.compactMap { input in
            input.type.axes.flatMap { axes in
                NameRegistry.training.match(input.name)?.type.axes.map { Array(zip(axes, $0)) }
            }
        }.flatMap { $0 }
        for (axis, letter) in known { if let fixed = Int(axis) { canonical[letter] = fixed } }
        var sizes: [String: Int] = [:]
        for (axis, letter) in known where sizes[axis] == nil { sizes[axis] = canonical[letter] ?? 3 }
        for axis in inputs.flatMap({ $0.type.axes ?? [] }) where sizes[axis] == nil {
            sizes[axis] = Int(axis) ?? 1 + Int(RandomGenerator.stream(axis) % 4)
        }
        return sizes
    }

    private func value(
        of input: HookArgument, _ sizes: [String: Int], _ trial: TrialCase, _ step: Int, _ isPoisoned: Bool,
        _ hook: HookTrial, _ random: inout RandomGenerator
    ) -> TrialValue {
        let family = Self.family(input.name)
        guard let axes = input.type.axes else {
            if input.type.element == .i64 {
                return .i64(integer(input.name, family, sizes, step, hook, &random))
            }
            return .f64(scalar(family, trial.kind, isPoisoned, &random))
        }
        let shape = axes.map { sizes[$0] ?? 1 }
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
            return .array(bytes: numbers.withUnsafeBytes { Array($0) }, shape: shape)
        case .i64:
            let limit = family == "answer_ids" ? vocabulary(hook, sizes, trial) : 1000
            let numbers = (0..<count).map {
                family == "rows"
                    ? Int64($0)
                    : family == "numel" ? 1 + Int64(random.next() % 1000) : Int64(random.next() % UInt64(max(limit, 1)))
            }
            return .array(bytes: numbers.withUnsafeBytes { Array($0) }, shape: shape)
        case .f64:
            var numbers = doubles(family, shape, trial, &random)
            // Weights are checked when they are made: they never reach a hook as NaN.
            if isPoisoned && family != "weights" { poison(&numbers, everywhere: trial.variation % 2 == 0, &random) }
            return .array(bytes: numbers.withUnsafeBytes { Array($0) }, shape: shape)
        case .f32:
            let width = max(shape.last ?? 1, 1)
            var numbers = (0..<count).map { index in
                // Every row of a mask has a token.
                family == "mask"
                    ? (index % width == 0 || random.uniform() < 0.7 ? 1 : 0) : random.normal() * trial.kind.floatScale
            }
            if isPoisoned && family != "mask" { poison(&numbers, everywhere: trial.variation % 2 == 0, &random) }
            return .array(bytes: numbers.map { Float($0) }.withUnsafeBytes { Array($0) }, shape: shape)
        }
    }

    /// What a value is: the start of its name, and for one of a probe what comes after the probe's.
    private static func family(_ name: String) -> String {
        let pattern = NameRegistry.training.match(name)?.entry.pattern.description ?? name
        let parts = pattern.split(separator: ".").map(String.init)
        return parts.count > 2 && parts[0] == "probe"
            ? parts[2] : name.split(separator: ".").first.map(String.init) ?? name
    }

    private func poison(_ numbers: inout [Double], everywhere: Bool, _ random: inout RandomGenerator) {
        guard !numbers.isEmpty else { return }
        if everywhere {
            numbers = numbers.map { _ in .nan }
        } else {
            numbers[Int(random.next() % UInt64(numbers.count))] = .nan
        }
    }

    /// Answer tokens are rows of the vocabulary axis of the logits, where the hook reads those too.
    private func vocabulary(_ hook: HookTrial, _ sizes: [String: Int], _ trial: TrialCase) -> Int {
        let logits = hook.inputs.first { $0.name == "answer_logits" }
        return logits?.type.axes?.last.flatMap { sizes[$0] } ?? trial.sizes["v"] ?? 8
    }

    private func integer(
        _ name: String, _ family: String, _ sizes: [String: Int], _ step: Int, _ hook: HookTrial,
        _ random: inout RandomGenerator
    ) -> Int64 {
        switch family {
        case "step": return Int64(step)
        case "steps": return 100
        case "objectives":
            return Int64(hook.inputs.first { $0.name == "rows" }?.type.axes?.first.flatMap { sizes[$0] } ?? 3)
        case "index":
            var names: [String] = []
            for input in hook.inputs where input.name.hasPrefix("index.") && !names.contains(input.name) {
                names.append(input.name)
            }
            return Int64(names.firstIndex(of: name) ?? 0)
        default: return 2 + Int64(random.next() % 6)
        }
    }

    private func scalar(
        _ family: String, _ kind: TrialKind, _ isPoisoned: Bool, _ random: inout RandomGenerator
    ) -> Double {
        switch family {
        // The trainer's own number: always positive and ordinary.
        case "lr": return 1e-4 * (1 + random.uniform())
        case _ where isPoisoned: return .nan
        case "loss", "lambda": return abs(random.normal()) * kind.scale
        default: return random.normal() * kind.scale
        }
    }

    private func doubles(
        _ family: String, _ shape: [Int], _ trial: TrialCase, _ random: inout RandomGenerator
    ) -> [Double] {
        let count = shape.reduce(1, *)
        switch family {
        case "gram" where shape.count == 3 && shape[1] == shape[2]: return gram(shape, trial, &random)
        case "uniforms": return (0..<count).map { _ in random.uniform() }
        case "weights":
            return (0..<count).map { _ in trial.variation % 2 == 0 ? 1 : 2 * random.uniform() }
        default: return (0..<count).map { _ in random.normal() * trial.kind.scale }
        }
    }

    /// Inner products of vectors: independent ones, and every fourth block each duplicates or opposed ones.
    private func gram(_ shape: [Int], _ trial: TrialCase, _ random: inout RandomGenerator) -> [Double] {
        let size = shape[1]
        var numbers: [Double] = []
        for block in 0..<shape[0] {
            let width = size + 2
            var vectors = (0..<size).map { _ in (0..<width).map { _ in random.normal() } }
            let degenerate = (block + trial.variation) % 4
            if size > 1 && degenerate >= 2 { vectors[1] = vectors[0].map { degenerate == 2 ? $0 : -$0 } }
            for row in vectors {
                for column in vectors {
                    numbers.append(zip(row, column).reduce(0) { $0 + $1.0 * $1.1 } * trial.kind.scale)
                }
            }
        }
        return numbers
    }
}
