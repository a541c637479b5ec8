import Foundation
import PluginRuntime
import TestSupport
import Testing

/// A shipped strategy, called on Gram matrices as the trainer would.
final class Strategy {
    let composition: Composition

    /// - Parameter list: a plugin list; its gradient_combine hooks are run.
    init(_ list: String) throws { composition = try compose(list) }

    /// The weights for every block: `grams` is `[k][m*m]`, `incoming` `[k][m]`. `rows` says which of `objectives` the rows
    /// are, where it is not the first ones.
    func weights(
        _ grams: [[Double]], incoming: [[Double]], step: Int = 0, losses: [String: Double] = [:],
        lambda: [String: Double] = [:],
        objectives: [String] = ["action", "retention", "answer", "fourth", "e", "f", "g", "h"], rows: [Int]? = nil
    ) throws -> [[Double]] {
        let (count, size) = (grams.count, incoming[0].count)
        let values = ValueStore()
        let gram = TestArray<Double>(grams.flatMap { $0 }, shape: [count, size, size])
        let weights = TestArray<Double>(incoming.flatMap { $0 }, shape: [count, size])
        let sizes = TestArray<Int64>(grams.map { _ in 1 }, shape: [count])
        values.set("gram", gram.view)
        values.set("weights", weights.view)
        values.set("numel", sizes.view)
        values.set("step", Int64(step))
        let numbers = rows ?? Array(0..<size)
        for (row, number) in numbers.enumerated() { values.set("index.\(objectives[number])", Int64(row)) }
        let list = TestArray<Double>(numbers.map { losses[objectives[$0]] ?? 1 }, shape: [size])
        let present = TestArray<Int64>(numbers.map { Int64($0) }, shape: [size])
        values.set("losses", list.view)
        if rows != nil {
            values.set("rows", present.view)
            values.set("objectives", Int64(objectives.count))
        }
        for (name, loss) in losses { values.set("loss.\(name)", loss) }
        for (name, value) in lambda { values.set("lambda.\(name)", value) }
        try composition.run(.gradientCombine, values: values, step: step)
        let combined = Array(try #require(values.array("weights")).doubles)
        return withExtendedLifetime((gram, weights, sizes, list, present)) {
            (0..<count).map { Array(combined[$0 * size..<($0 + 1) * size]) }
        }
    }

    /// The weights for one block; the incoming ones are 1 unless given.
    func weights(_ gram: [Double], _ incoming: [Double]? = nil, step: Int = 0) throws -> [Double] {
        let size = Int(Double(gram.count).squareRoot())
        let weights = incoming ?? [Double](repeating: 1, count: size)
        return try self.weights([gram], incoming: [weights], step: step)[0]
    }

    /// The weights for gradients given as rows.
    func weights(of gradients: [[Double]], _ incoming: [Double]? = nil, step: Int = 0) throws -> [Double] {
        try weights(gramMatrix(gradients), incoming, step: step)
    }
}

func dot(_ x: [Double], _ y: [Double]) -> Double { zip(x, y).reduce(0) { $0 + $1.0 * $1.1 } }

func norm(_ x: [Double]) -> Double { dot(x, x).squareRoot() }

/// `[m*m]` inner products of rows.
func gramMatrix(_ rows: [[Double]]) -> [Double] { rows.flatMap { a in rows.map { dot(a, $0) } } }

/// `G w`
func times(_ gram: [Double], _ weights: [Double]) -> [Double] {
    let size = weights.count
    return (0..<size).map { i in dot(Array(gram[i * size..<(i + 1) * size]), weights) }
}

/// `sum_i w_i g_i`
func combine(_ weights: [Double], _ rows: [[Double]]) -> [Double] {
    (0..<(rows.first?.count ?? 0)).map { column in zip(weights, rows).reduce(0) { $0 + $1.0 * $1.1[column] } }
}

/// `|x - y| / |y|`, in units of `scale` where `y` is zero beside it, up to the epsilons of the program it comes from.
func relativeError(_ x: [Double], _ y: [Double], scale: Double = 0) -> Double {
    let size = norm(y)
    return norm(zip(x, y).map { $0 - $1 }) / (size > 1e-6 * scale ? size : max(scale, .leastNormalMagnitude))
}

/// Gradients to try strategies on: random, with lengths and angles that make trouble.
struct GradientSample {
    let name: String
    var rows: [[Double]]
    var size: Int { rows.count }
    var gram: [Double] { gramMatrix(rows) }

    /// Independent gradients: random, nearly opposed to their mean, and of lengths up to a thousand times each other's.
    static func independent(seed: UInt64, sizes: ClosedRange<Int> = 1...5) -> [GradientSample] {
        var numbers = TestNumbers(seed: seed)
        return sizes.flatMap { size -> [GradientSample] in
            let random = (0..<size).map { _ in numbers.array(size + 3) }
            let center = combine(random.map { _ in 1 / Double(size) }, random)
            let conflicting = random.map { row in zip(row, center).map { $0 - 0.9 * $1 } }
            let lengths = (0..<size).map { row in pow(10, Double(row % 4) - 1.5) }
            let unequal = zip(conflicting, lengths).map { row, length in row.map { $0 * length } }
            return [
                GradientSample(name: "random \(size)", rows: random),
                GradientSample(name: "conflicting \(size)", rows: conflicting),
                GradientSample(name: "unequal \(size)", rows: unequal),
            ]
        }
    }

    /// Almost equal, opposed or dependent: supports whose systems are close to singular.
    static let nearlyDegenerate: [GradientSample] = {
        let (a, b, c) = ([1.0, 2, -1, 0.5], [-2.0, 0.5, 1, 1], [0.3, -0.7, 0.2, 2])
        func near(_ row: [Double], _ distance: Double) -> [Double] { zip(row, c).map { $0 + distance * $1 } }
        return [1e-3, 1e-5, 1e-6, 1e-7, 1e-8, 1e-10].flatMap { distance in
            [
                GradientSample(name: "equal but for \(distance)", rows: [a, near(a, distance)]),
                GradientSample(name: "opposed but for \(distance)", rows: [a, near(a.map { -3 * $0 }, distance)]),
                GradientSample(name: "equal but for \(distance) and another", rows: [a, near(a, distance), b]),
                GradientSample(
                    name: "opposed but for \(distance) and another", rows: [near(a.map(-), distance), b, a]),
                GradientSample(
                    name: "dependent but for \(distance)", rows: [a, b, near(zip(a, b).map { -$0 - $1 }, distance)]),
            ]
        }
    }()

    /// Zero, equal, opposed, dependent.
    static let degenerate: [GradientSample] = {
        let (a, b, zero) = ([1.0, 2, -1], [-2.0, 0.5, 1], [0.0, 0, 0])
        let opposed = a.map { -2 * $0 }
        return [
            GradientSample(name: "all zero", rows: [zero, zero]),
            GradientSample(name: "one zero", rows: [a, zero]),
            GradientSample(name: "two of three zero", rows: [zero, a, zero]),
            GradientSample(name: "conflict and zero", rows: [a, zero, b]),
            GradientSample(name: "identical", rows: [a, a]),
            GradientSample(name: "opposed", rows: [a, opposed]),
            GradientSample(name: "opposed and another", rows: [a, opposed, b]),
            GradientSample(name: "twice the same and a conflict", rows: [a, a, b]),
            GradientSample(name: "rank two", rows: [a, b, zip(a, b).map { 2 * $0 - $1 }]),
            GradientSample(name: "cancelling", rows: [a, b, zip(a, b).map { -$0 - $1 }]),
            GradientSample(name: "a millionth", rows: [a, b.map { $0 * 1e-6 }]),
        ]
    }()
}
