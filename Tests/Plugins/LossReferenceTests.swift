import Foundation
import GradientMath
import PluginRuntime
import TestSupport
import Testing

/// What TorchJD 0.18.0 and LibMTL's formulas give on the same losses and gradients (scripts/reference/loss_strategies.py).
@Suite struct LossReferenceTests {
    private struct Case: Decodable {
        let plugin: String
        let losses: [[Double]]
        let factors: [[Double]]
    }

    private struct TrackedCase: Decodable {
        let plugin: String
        let gradients: [[[Float]]]
        let losses: [[Double]]
        let combined: [[Double]]
    }

    private struct CrossCase: Decodable {
        let matrices: [[[Double]]]
        let modo: [[Double]]
        let sdmgrad: [[Double]]
    }

    private struct File: Decodable {
        let cases: [Case]
        let tracked: [TrackedCase]
        let cross: [CrossCase]
    }

    private func file() throws -> File {
        try JSONDecoder().decode(File.self, from: Data(contentsOf: BuildFolder.fixture("loss-strategies.json")))
    }

    @Test(arguments: ["GeometricMean", "STCH", "IMTLL"])
    func factors(plugin: String) throws {
        let names = (0..<8).map { "o\($0)" }
        var (worst, count) = (0.0, 0)
        for item in try file().cases where item.plugin.hasPrefix(plugin) {
            let strategy = try Strategy(item.plugin)
            for (losses, expected) in zip(item.losses, item.factors) {
                let size = losses.count
                let found = try strategy.weights(
                    [[Double](repeating: 1, count: size * size)], incoming: [[Double](repeating: 1, count: size)],
                    losses: Dictionary(uniqueKeysWithValues: zip(names, losses)), objectives: names)[0]
                for (x, y) in zip(found, expected) where y > 1e-300 { worst = max(worst, abs(x / y - 1)) }
            }
            count += 1
        }
        #expect(count >= 8 && worst <= 1e-12)
        print("worst relative error of \(plugin) in \(count) cases: \(worst)")
    }

    @Test func trackedGradients() throws {
        var worst = 0.0
        for item in try file().tracked {
            let composition = try compose("BaselineL1,AnchorVariants," + item.plugin)
            for (step, (gradients, losses)) in zip(item.gradients, item.losses).enumerated() {
                let values = ValueStore()
                let (m, n) = (gradients.count, gradients[0].count)
                let matrix = TestArray(gradients.flatMap { $0 }, shape: [m, n])
                let list = TestArray(losses, shape: [m])
                values.set("grads", matrix.view)
                values.set("losses", list.view)
                try composition.run(.gradientCombine, values: values, step: step)
                let found = try withExtendedLifetime((matrix, list)) {
                    try #require(values.array("combined")).floats.map { Double($0) }
                }
                worst = max(worst, relativeError(found, item.combined[step]))
                // Saved and loaded between any two steps.
                let saved = try composition.saveState()
                try composition.reset()
                try composition.loadState(saved)
            }
        }
        // Tracked in single precision.
        #expect(worst <= 5e-7)
        print("worst relative error of MoCo: \(worst)")
    }

    /// Rules on the products of two batches' gradients, which no host gives yet.
    @Test func crossProducts() throws {
        var (worst, count) = (0.0, 0)
        for item in try file().cross {
            let size = item.matrices[0].count
            let even = [Double](repeating: 1 / Double(size), count: size)
            var (modo, kept) = (even, even)
            for (step, matrix) in item.matrices.enumerated() {
                let cross = CrossGram(size: size) { matrix[$0][$1] }
                modo = cross.moDo(modo, rate: 1e-7, rho: 1e5)
                let sdmgrad = cross.directionOriented(kept, preference: even)
                kept = sdmgrad.kept
                worst = max(
                    worst, relativeError(modo, item.modo[step]), relativeError(sdmgrad.weights, item.sdmgrad[step]))
                count += 1
            }
        }
        #expect(count == 24 && worst <= 1e-11)
        print("worst relative error of MoDo and SDMGrad in \(count) cases: \(worst)")
        // Without a positive product there is no scale, and the weights stay.
        let opposed = CrossGram(size: 2) { $0 == $1 ? -1 : 0 }
        #expect(opposed.directionOriented([0.25, 0.75], preference: [0.5, 0.5]).kept == [0.25, 0.75])
    }

    @Test func simplexProjection() {
        #expect(projectOntoSimplex([0.25, 0.75]) == [0.25, 0.75])
        #expect(projectOntoSimplex([3, 0, 1]) == [1, 0, 0])
        #expect(projectOntoSimplex([0, 0, 0, 0]) == [0.25, 0.25, 0.25, 0.25])
        #expect(projectOntoSimplex([1, 0.5, -4]) == [0.75, 0.25, 0])
    }

    @Test func geometricMeanOfZero() throws {
        let strategy = try Strategy("GeometricMean")
        func weights(_ losses: [String: Double]) throws -> [Double] {
            try strategy.weights([[1, 0, 0, 1]], incoming: [[3, 0.5]], losses: losses)[0]
        }
        // The loss of zero keeps its weight, and the mean is that of the other alone.
        #expect(try weights(["action": 2, "retention": 0]) == [3, 0.5])
        let failure = try #require(throws: PluginFailure.self) { try weights(["action": -2, "retention": 1]) }
        #expect(failure.message.contains("the loss of objective 0 is -2.0"), "\(failure)")
    }

    @Test func listsOfNumbers() throws {
        let problem = try #require(try problems("STCH:ideal=0 x").first)
        #expect(problem.problem.contains("ideal='0 x': 'x' is not a number"), "\(problem)")
        let failure = try #require(throws: PluginFailure.self) {
            try Strategy("STCH:ideal=0 1 2").weights([1, 0, 0, 1])
        }
        #expect(failure.message.contains("ideal lists 3 numbers, but there are 2 objectives"), "\(failure)")
    }

    /// Softmax of independent normal numbers: positive, sum 1, with the logarithm of a ratio of variance 2.
    @Test func randomWeights() throws {
        let strategy = try Strategy("RLW")
        let gram = [1.0, 0, 0, 1]
        let draws = try (0..<4000).map { try strategy.weights(gram, step: $0) }
        #expect(draws.allSatisfy { abs($0[0] + $0[1] - 1) <= 1e-15 && $0[0] > 0 && $0[1] > 0 })
        let ratios = draws.map { log($0[0] / $0[1]) }
        let mean = ratios.reduce(0, +) / 4000
        let variance = ratios.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 4000
        #expect(abs(mean) < 0.1 && abs(variance - 2) < 0.2, "\(mean) \(variance)")
        // The step, the seed and the instance each make a difference; nothing else does.
        #expect(try strategy.weights(gram, step: 7) == draws[7])
        #expect(Set(draws).count == draws.count)
        #expect(try Strategy("RLW:seed=1").weights(gram, step: 7) != draws[7])
        #expect(try Strategy("other=RLW").weights(gram, step: 7) != draws[7])
        // An objective's number is its own, whoever else has a loss.
        let three = try strategy.weights([[1, 0, 0, 0, 1, 0, 0, 0, 1]], incoming: [[1, 1, 1]], step: 7)[0]
        #expect(abs(three[0] / three[1] - draws[7][0] / draws[7][1]) <= 1e-12)
    }
}
