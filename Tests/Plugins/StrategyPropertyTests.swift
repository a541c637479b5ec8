import Foundation
import PluginRuntime
import TestSupport
import Testing

/// What must hold on any gradients, whatever the numbers.
@Suite struct StrategyPropertyTests {
    /// One of every strategy that makes weights of Gram matrices, with results that do not depend on an order.
    static let all = [
        "Sum", "Mean", "Constant:weights=0.5", "PCGrad:order=average", "PCGrad:order=ascending",
        "GradVac:order=ascending",
        "CAGrad:c=0.5", "CAGrad:c=1", "CAGrad:c=2", "MGDA", "UPGrad", "DualProj", "AnchorVariants,AGEM", "AlignedMTL",
        "AlignedMTL:scale_mode=median", "AlignedMTL:scale_mode=rmse", "IMTLG", "ConFIG", "NashMTL:max_norm=0",
        "NashMTL",
        "FairGrad:alpha=0.5", "FairGrad:alpha=1", "FairGrad:alpha=2", "ClipGradNorm:max_norm=inf",
    ]
    /// Those whose step grows with the gradients; the others' length follows its own rule.
    static let homogeneous = all.filter { !$0.hasPrefix("NashMTL") && !$0.hasPrefix("FairGrad") }
    /// Those without rows or orders of their own.
    static let symmetric = all.filter { !$0.contains("ascending") && !$0.contains("AGEM") }

    private static let samples = GradientSample.independent(seed: 11)

    /// `m` by `m` problem in which nothing may depend on the coordinates: a random rotation of every gradient.
    private func rotated(_ rows: [[Double]], _ numbers: inout TestNumbers) -> [[Double]] {
        var result = rows
        let width = rows[0].count
        for first in 0..<width - 1 {
            for second in first + 1..<width {
                let angle = 3 * numbers.next()
                for row in result.indices {
                    let (x, y) = (result[row][first], result[row][second])
                    result[row][first] = cos(angle) * x - sin(angle) * y
                    result[row][second] = sin(angle) * x + cos(angle) * y
                }
            }
        }
        return result
    }

    @Test(arguments: all)
    func rotation(plugin: String) throws {
        var numbers = TestNumbers(seed: 3)
        for sample in Self.samples {
            let strategy = try Strategy(plugin)
            let before = try strategy.weights(of: sample.rows)
            try strategy.composition.reset()
            let after = try strategy.weights(of: rotated(sample.rows, &numbers))
            let error = relativeError(combine(after, sample.rows), combine(before, sample.rows))
            #expect(error <= 1e-10, "\(sample.name): \(before) \(after)")
        }
    }

    /// A(sJ) = s A(J), from 1e-12 to 1e12.
    @Test(arguments: homogeneous)
    func homogeneity(plugin: String) throws {
        for sample in Self.samples + GradientSample.degenerate {
            let strategy = try Strategy(plugin)
            let weights = try strategy.weights(of: sample.rows)
            for scale in [1e-12, 1e-6, 1e6, 1e12] {
                try strategy.composition.reset()
                let scaled = try strategy.weights(of: sample.rows.map { $0.map { $0 * scale } })
                // A step that cancels has no relative error of its own.
                let length = sample.rows.map(norm).max() ?? 0
                let error = relativeError(combine(scaled, sample.rows), combine(weights, sample.rows), scale: length)
                #expect(error <= 1e-10, "\(sample.name) times \(scale): \(scaled) instead of \(weights)")
            }
        }
    }

    /// The Nash and alpha-fair step keeps its direction.
    @Test(arguments: ["NashMTL:max_norm=0", "FairGrad:alpha=0.5", "FairGrad:alpha=2"])
    func directionDoesNotScale(plugin: String) throws {
        let strategy = try Strategy(plugin)
        for sample in Self.samples {
            func direction(_ scale: Double) throws -> [Double] {
                let step = combine(try strategy.weights(of: sample.rows.map { $0.map { $0 * scale } }), sample.rows)
                let length = norm(step)
                return step.map { $0 / length }
            }
            let unit = try direction(1)
            for scale in [1e-12, 1e12] {
                #expect(relativeError(try direction(scale), unit) <= 1e-10, "\(sample.name) times \(scale)")
            }
        }
    }

    @Test(arguments: symmetric)
    func permutation(plugin: String) throws {
        for sample in Self.samples {
            let strategy = try Strategy(plugin)
            let incoming = plugin.hasPrefix("Constant") ? nil : (0..<sample.size).map { 1 + 0.25 * Double($0) }
            let weights = try strategy.weights(of: sample.rows, incoming)
            try strategy.composition.reset()
            let reversed = try strategy.weights(of: sample.rows.reversed(), incoming?.reversed())
            let error = relativeError(combine(reversed.reversed(), sample.rows), combine(weights, sample.rows))
            #expect(error <= 1e-10, "\(sample.name): \(weights) \(reversed)")
        }
    }

    /// Strategies whose step conflicts with no gradient.
    private static let nonconflicting = ["UPGrad", "DualProj", "MGDA"]
    /// How much longer than all gradients in a row a step can be; the others' length is a rule of its own.
    private static func reach(_ plugin: String) -> Double? {
        if plugin.hasPrefix("CAGrad") { return 1 + (Double(plugin.drop { $0 != "=" }.dropFirst()) ?? 0) }
        return ["IMTLG", "NashMTL", "FairGrad"].contains { plugin.hasPrefix($0) } ? nil : 1
    }

    /// What holds of a strategy's step on any gradients, however they lie.
    private func expectSoundStep(
        _ plugin: String, _ sample: GradientSample, _ weights: [Double], _ note: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let name = "\(plugin) on \(sample.name) \(note): \(weights)"
        #expect(weights.count == sample.size, "\(name)", sourceLocation: sourceLocation)
        let lengths = sample.rows.map(norm)
        let longest = lengths.reduce(0, +)
        let step = combine(weights, sample.rows)
        // Everything that rounds a step does so in proportion to the terms of its sum.
        let terms = zip(weights, lengths).reduce(0) { $0 + abs($1.0) * $1.1 }
        let rounding = 1e-12 * (longest + terms)
        if let reach = Self.reach(plugin) {
            #expect(norm(step) <= reach * longest + rounding, "\(name)", sourceLocation: sourceLocation)
        }
        if Self.nonconflicting.contains(plugin) {
            for (row, length) in zip(sample.rows, lengths) {
                let product = dot(step, row)
                #expect(product >= -(1e-10 * longest + rounding) * length, "\(name)", sourceLocation: sourceLocation)
            }
        }
        switch plugin {
        // Capped in length, as far as the Gram matrix knows it.
        case "NashMTL": #expect(norm(step) <= 1 + 1e-12 + 1e-7 * terms, "\(name)", sourceLocation: sourceLocation)
        // Weights of sum 1, or the incoming ones where no direction has equal projections.
        case "IMTLG":
            let isEqual = weights.allSatisfy { $0 == 1 }
            #expect(
                isEqual || lengths.allSatisfy { $0 == 0 }
                    || abs(weights.reduce(0, +) - 1) <= 1e-6 + 1e-14 * weights.reduce(0) { $0 + abs($1) },
                "\(name)", sourceLocation: sourceLocation)
        case _ where plugin.hasPrefix("FairGrad") || plugin.hasPrefix("NashMTL"):
            let positive = zip(weights, lengths).allSatisfy { $0 > 0 || $1 == 0 }
            #expect(positive, "\(name)", sourceLocation: sourceLocation)
        default: break
        }
    }

    /// Defined results, and a step that is sound, where gradients vanish, agree, oppose or depend.
    @Test(arguments: all)
    func degenerate(plugin: String) throws {
        for sample in GradientSample.degenerate + GradientSample.nearlyDegenerate {
            for scale in [1e-12, 1, 1e12] {
                var scaled = sample
                scaled.rows = sample.rows.map { $0.map { $0 * scale } }
                expectSoundStep(plugin, scaled, try Strategy(plugin).weights(of: scaled.rows), "times \(scale)")
            }
        }
    }

    @Test(arguments: all)
    func upToEightObjectives(plugin: String) throws {
        guard !plugin.contains("average") else { return }
        for sample in GradientSample.independent(seed: 4, sizes: 6...8) {
            expectSoundStep(plugin, sample, try Strategy(plugin).weights(of: sample.rows), "")
        }
    }

    /// One call on several blocks is as many calls on one.
    @Test(arguments: all)
    func blocksAreIndependent(plugin: String) throws {
        let samples =
            GradientSample.independent(seed: 8, sizes: 3...3) + GradientSample.degenerate.filter { $0.size == 3 }
        let ones = samples.map { _ in [1.0, 1, 1] }
        let together = try Strategy(plugin).weights(samples.map(\.gram), incoming: ones)
        for (sample, weights) in zip(samples, together) {
            let alone = try Strategy(plugin).weights(sample.gram)
            #expect(alone == weights, "\(sample.name)")
        }
    }

    /// No conflict: nothing is touched, to the bit.
    @Test(arguments: [
        "PCGrad", "UPGrad:preference=weights", "DualProj:preference=weights", "GradVac",
        "BaselineL1,AnchorVariants,CRaFTProjection",
    ])
    func noConflictIsIdentity(plugin: String) throws {
        let strategy = try Strategy(plugin)
        var numbers = TestNumbers(seed: 21)
        for _ in 0..<50 {
            let rows = (0..<4).map { _ in numbers.array(6).map { abs($0) * 1e-3 } }
            let incoming = numbers.array(4).map(abs)
            try strategy.composition.reset()
            let weights = try strategy.weights(of: rows, incoming)
            #expect(weights == incoming)
        }
        try strategy.composition.reset()
        let orthogonal = [[2.0, 0, 0], [0, 3, 0]]
        #expect(try strategy.weights(of: orthogonal, [1, 0.1]) == [1, 0.1])
    }

    /// A-GEM never follows the reference: everything else stays.
    @Test func agemWithoutConflict() throws {
        let strategy = try Strategy("AnchorVariants,AGEM")
        #expect(try strategy.weights(of: [[2, 0], [1, 3]], [0.3, 0.7]) == [0.3, 0])
        #expect(try strategy.weights(of: [[2, 0], [0, 0]], [0.3, 0.7]) == [0.3, 0])
        #expect(
            try problems("AGEM:constraint=action").first?.problem.contains("objective and constraint are both 'action'")
                == true)
        // Without the objective in the run.
        #expect(try Strategy("AGEM:constraint=nobody").weights(of: [[1, 0], [-1, 1]], [0.3, 0.7]) == [0.3, 0.7])
    }

    @Test(arguments: all)
    func notANumberIsAnError(plugin: String) throws {
        for bad in [Double.nan, .infinity] {
            let failure = try #require(throws: PluginFailure.self) { try Strategy(plugin).weights([1, bad, bad, 1]) }
            #expect(failure.message.contains("gram[0,0,1]"), "\(failure)")
        }
        let failure = try #require(throws: PluginFailure.self) {
            try Strategy(plugin).weights([1, 0, 0, 1], [1, .nan])
        }
        #expect(failure.message.contains("weights[0,1]"), "\(failure)")
    }

    /// On two objectives PCGrad is UPGrad.
    @Test func pcgradIsUPGradOnTwo() throws {
        var numbers = TestNumbers(seed: 2)
        for _ in 0..<100 {
            let rows = (0..<2).map { _ in numbers.array(3) }
            let incoming = numbers.array(2).map { abs($0) }
            let first = try Strategy("PCGrad").weights(of: rows, incoming)
            #expect(
                relativeError(try Strategy("UPGrad:preference=weights").weights(of: rows, incoming), first) <= 1e-14)
        }
    }
}
