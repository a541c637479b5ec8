import Foundation
import PluginRuntime
import TestSupport
import Testing

/// The conditions that make a step the solution of its problem, checked to 1e-10.
@Suite struct StrategyOptimalityTests {
    private static let all =
        GradientSample.independent(seed: 31, sizes: 1...7) + GradientSample.degenerate
        + GradientSample.nearlyDegenerate
    private static let independent = GradientSample.independent(seed: 32, sizes: 1...7)
    private static let tolerance = 1e-10

    private func lengths(_ sample: GradientSample) -> [Double] { sample.rows.map(norm) }

    /// `w` solves min v'Gv over v >= u: v >= u, Gv >= 0, (v - u)'Gv = 0, with each gradient's length as its unit.
    private func expectDualConeKKT(
        _ sample: GradientSample, _ weights: [Double], _ target: [Double], _ note: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let units = lengths(sample)
        let reach = zip(target, units).reduce(Double.leastNormalMagnitude) { max($0, abs($1.0) * $1.1) }
        let products = times(sample.gram, weights)
        for row in 0..<sample.size {
            let raised = (weights[row] - target[row]) * units[row] / reach
            let slack = units[row] > 0 ? products[row] / units[row] / reach : 0
            #expect(raised >= -Self.tolerance, "\(sample.name) \(note)", sourceLocation: sourceLocation)
            #expect(slack >= -Self.tolerance, "\(sample.name) \(note)", sourceLocation: sourceLocation)
            #expect(abs(raised * slack) <= Self.tolerance, "\(sample.name) \(note)", sourceLocation: sourceLocation)
        }
    }

    @Test func dualProj() throws {
        let strategy = try Strategy("DualProj:preference=weights")
        var numbers = TestNumbers(seed: 1)
        for sample in Self.all {
            for _ in 0..<3 {
                let target = numbers.array(sample.size).map(abs)
                expectDualConeKKT(sample, try strategy.weights(sample.gram, target), target, "\(target)")
            }
        }
    }

    /// With one preference at a time every row's own projection shows.
    @Test func upgrad() throws {
        let strategy = try Strategy("UPGrad:preference=weights")
        for sample in Self.all {
            var sum = [Double](repeating: 0, count: sample.size)
            for row in 0..<sample.size {
                let target = (0..<sample.size).map { $0 == row ? 1.0 : 0 }
                let weights = try strategy.weights(sample.gram, target)
                expectDualConeKKT(sample, weights, target, "row \(row)")
                sum = zip(sum, weights).map { $0 + $1 }
            }
            #expect(relativeError(try strategy.weights(sample.gram), sum) <= 1e-12, "\(sample.name)")
        }
    }

    /// a in the simplex and <g_i, d> >= |d|^2.
    @Test func mgda() throws {
        let strategy = try Strategy("MGDA")
        for sample in Self.all {
            let weights = try strategy.weights(sample.gram)
            let scale = lengths(sample).max() ?? 1
            #expect(weights.allSatisfy { $0 >= 0 } && abs(weights.reduce(0, +) - 1) <= 1e-14, "\(sample.name)")
            let products = times(sample.gram, weights)
            let square = dot(weights, products)
            for (product, length) in zip(products, lengths(sample)) where length > 0 {
                #expect(product - square >= -Self.tolerance * length * scale, "\(sample.name)")
            }
        }
    }

    /// Feasible, and as good as the dual bound F(z) = <g_z, g_0> + c |g_0| |g_z| that its own multipliers give.
    @Test(arguments: [0.1, 0.5, 1, 3])
    func cagrad(radius: Double) throws {
        let strategy = try Strategy("CAGrad:c=\(radius)")
        let mgda = try Strategy("MGDA")
        // Near degeneracy the length of the mean gradient is itself lost in the Gram matrix's rounding.
        let samples = Self.all.filter { !$0.name.contains("but for") }
        for sample in samples where lengths(sample).allSatisfy({ $0 > 0 }) {
            let weights = try strategy.weights(sample.gram)
            let center = weights.map { _ in 1 / Double(sample.size) }
            let mean = combine(center, sample.rows)
            let step = combine(weights, sample.rows)
            let added = zip(weights, center).map { $0 - $1 }
            let scale = norm(mean) * (1 + radius)
            #expect(
                norm(zip(step, mean).map { $0 - $1 }) <= radius * norm(mean) + Self.tolerance * scale, "\(sample.name)")
            let total = added.reduce(0, +)
            let worst = sample.rows.map { dot($0, step) }.min() ?? 0
            let longest = lengths(sample).max() ?? 1
            guard total > Self.tolerance else {
                #expect(norm(mean) <= 1e-12 * longest, "\(sample.name)")
                continue
            }
            let direction = combine(added.map { $0 / total }, sample.rows)
            let bound = dot(direction, mean) + radius * norm(mean) * norm(direction)
            // Where some combination vanishes nothing can improve; a step that makes nothing worse is then optimal too.
            let tolerance = Self.tolerance * longest * scale
            let isStationary = norm(combine(try mgda.weights(sample.gram), sample.rows)) <= 1e-12 * longest
            #expect(
                abs(worst - bound) <= tolerance || (isStationary && worst >= -tolerance),
                "\(sample.name): \(worst) \(bound)")
            #expect(added.allSatisfy { $0 >= -1e-12 }, "\(sample.name)")
        }
    }

    @Test(arguments: [
        ("NashMTL:max_norm=0", 1.0), ("FairGrad:alpha=1", 1), ("FairGrad:alpha=0.5", 2), ("FairGrad:alpha=2", 0.5),
        ("FairGrad:alpha=10", 0.1),
    ])
    func fairness(plugin: String, power: Double) throws {
        let strategy = try Strategy(plugin)
        for sample in Self.independent {
            let weights = try strategy.weights(sample.gram)
            let products = times(sample.gram, weights)
            for (weight, product) in zip(weights, products) {
                #expect(weight > 0)
                #expect(abs(product * pow(weight, power) - 1) <= Self.tolerance, "\(sample.name): \(weights)")
            }
        }
    }

    /// Rank-deficient gradients that do not cancel have a bargaining solution too.
    @Test func nashOnDependentGradients() throws {
        let sample = try #require(GradientSample.degenerate.first { $0.name == "identical" })
        let weights = try Strategy("NashMTL:max_norm=0").weights(sample.gram)
        for (weight, product) in zip(weights, times(sample.gram, weights)) {
            #expect(abs(product * weight - 1) <= Self.tolerance)
        }
    }

    @Test func nashLimit() throws {
        for sample in Self.independent {
            let weights = try Strategy("NashMTL:max_norm=0.5").weights(sample.gram)
            #expect(abs(norm(combine(weights, sample.rows)) - 0.5) <= 1e-12)
        }
    }

    /// Projections on all gradients' directions are equal, and the weights sum to 1.
    @Test func imtlg() throws {
        for sample in Self.independent {
            let weights = try Strategy("IMTLG").weights(sample.gram)
            let projections = zip(times(sample.gram, weights), lengths(sample)).map { $0 / $1 }
            #expect(abs(weights.reduce(0, +) - 1) <= 1e-12)
            for projection in projections {
                #expect(abs(projection / projections[0] - 1) <= Self.tolerance, "\(sample.name): \(projections)")
            }
        }
    }

    /// Cosines are in proportion to the weights, and the length is the sum of projections.
    @Test func config() throws {
        for sample in Self.independent {
            let wanted = (0..<sample.size).map { 1 + 0.5 * Double($0) }
            let step = combine(try Strategy("ConFIG").weights(sample.gram, wanted), sample.rows)
            let cosines = sample.rows.map { dot($0, step) / norm($0) / norm(step) }
            for (cosine, share) in zip(cosines, wanted) {
                #expect(abs(cosine / cosines[0] - share / wanted[0]) <= 1e-9, "\(sample.name): \(cosines)")
            }
            let projections = sample.rows.reduce(0) { $0 + dot($1, step) / norm(step) }
            #expect(abs(projections / norm(step) - 1) <= 1e-9, "\(sample.name)")
        }
    }

    /// Any preference gives a step of the same length per unit: w'Gw = scale |u|^2 on independent gradients.
    @Test func alignedMTL() throws {
        let strategy = try Strategy("AlignedMTL:preference=weights")
        for sample in Self.independent {
            let squares = try (0..<sample.size).map { row in
                let weights = try strategy.weights(sample.gram, (0..<sample.size).map { $0 == row ? 1 : 0 })
                return dot(weights, times(sample.gram, weights))
            }
            for square in squares { #expect(abs(square / squares[0] - 1) <= 1e-9, "\(sample.name): \(squares)") }
        }
    }

    // MARK: - No conflict, and controls that show the check can fail

    private func leastProduct(_ plugin: String, _ sample: GradientSample, mean: Bool) throws -> Double {
        let incoming = sample.rows.map { _ in mean ? 1 / Double(sample.size) : 1 }
        let products = times(sample.gram, try Strategy(plugin).weights(sample.gram, incoming))
        let trace = sample.rows.reduce(0) { $0 + dot($1, $1) }
        return (products.min() ?? 0) / max(trace, .leastNormalMagnitude)
    }

    @Test(arguments: ["UPGrad", "DualProj", "MGDA", "CAGrad:c=1", "CAGrad:c=2"])
    func conflictWithNothing(plugin: String) throws {
        for sample in Self.all {
            #expect(try leastProduct(plugin, sample, mean: true) >= -1e-12, "\(sample.name)")
        }
    }

    @Test(arguments: [
        ("Mean", "r04_m2_n20_imbalanced_conflict"), ("Mean", "e01_torchjd_J_base"),
        ("CAGrad:c=0.5", "e05_exactly_opposed"),
        ("AlignedMTL", "r12_m3_n12_rank2"),
    ])
    func controlsDoConflict(plugin: String, id: String) throws {
        let item = try #require(GradientCaseTests.cases.first { $0.id == id })
        let sample = GradientSample(name: id, rows: item.rows)
        #expect(try leastProduct(plugin, sample, mean: true) < -1e-4)
    }
}
