import Models
import Tensors
import TestSupport
import Testing
import Training

/// The consequences of the step's definition, each against the defect that it rules out.
@Suite struct StepTests {
    static let full = "BaselineL1,AnchorVariants,CRaFTProjection,CRaFTDual:budget=0.0001:lr=1"

    /// Two steps, so that the model has left its initial weights and the retention gradient is not zero.
    private func run(_ step: TrainingStep, _ source: any BatchSource, steps: Int) throws -> [StepReport] {
        try (0..<steps).map { try step.run(step: $0, from: source) }
    }

    @Test func retentionLossIsZeroAtTheFirstStep() throws {
        let fixture = try StepFixture()
        let step = try fixture.step(Self.full)
        let reports = try run(step, RandomBatches(fixture.model.config, batchSize: 4), steps: 2)
        #expect(reports[0].metrics["loss.retention"] == 0)
        #expect((reports[1].metrics["loss.retention"] ?? 0) > 0)
        #expect((reports[1].metrics["lambda.retention"] ?? 0) > 0)
    }

    /// What rounding the anchors' products adds: a drift at the start, of the square of bfloat16's precision.
    @Test(.enabled(if: BFloat16Products.isSupported)) func anchorsInBFloat16StartAtTheRounding() throws {
        let fixture = try StepFixture()
        var settings = StepSettings()
        settings.anchorPrecision = .bf16
        let step = try fixture.step("BaselineL1,AnchorVariants:distance=relative_mse", settings: settings)
        let reports = try run(step, RandomBatches(fixture.model.config, batchSize: 4), steps: 1)
        let drift = reports[0].metrics["loss.retention"] ?? 0
        #expect(drift > 0 && drift < 1e-3)
    }

    @Test func headAndProprioceptionKeepTheirGradients() throws {
        let fixture = try StepFixture()
        let step = try fixture.step(Self.full)
        let names = ["action_head.model.fc2.weight", "proprio_projector.fc1.weight"]
        let before = names.map(fixture.values)
        _ = try run(step, RandomBatches(fixture.model.config, batchSize: 4), steps: 3)
        for (name, old) in zip(names, before) {
            #expect(fixture.gradient(step, "action", name).contains { $0 != 0 }, "\(name)")
            #expect(fixture.gradient(step, "retention", name).allSatisfy { $0 == 0 }, "\(name)")
            #expect(fixture.values(name) != old, "\(name) did not move")
        }
    }

    /// With visual features alone, layers above the tapped one have no retention gradient and must train all the same.
    @Test func anUntouchedTensorKeepsItsActionGradient() throws {
        let fixture = try StepFixture()
        let step = try fixture.step("BaselineL1,AnchorVariants:type=raw_only:layer=1,CRaFTProjection,CRaFTDual")
        let name = "language_model.model.layers.2.mlp.up_proj.weight"
        let before = fixture.values(name)
        _ = try run(step, RandomBatches(fixture.model.config, batchSize: 4), steps: 3)
        #expect(fixture.gradient(step, "retention", name).allSatisfy { $0 == 0 })
        #expect(fixture.values(name) != before)
        let block = try #require(step.blocks.blocks.firstIndex { $0.name == name })
        #expect(step.combinationWeights[block * 2] == 1)
    }

    /// A sample without proprioception gives the projector's first weights no gradient.
    @Test func proprioceptionIsDroppedAtItsRate() throws {
        func dropped(_ probability: Double, steps: Int? = nil, seed: UInt64 = 0) throws -> [Bool] {
            let fixture = try StepFixture()
            var settings = StepSettings()
            settings.proprioDropout = probability
            settings.proprioDropoutSteps = steps
            settings.seed = seed
            // Weights stay where they are, so that no unit of the projector dies: that would look like a dropped sample.
            let step = try fixture.step("BaselineL1", settings: settings, learningRate: 1e-9, batchSize: 1)
            let source = RandomBatches(fixture.model.config, batchSize: 1)
            return try (0..<24).map { index in
                _ = try step.run(step: index, from: source)
                return fixture.gradient(step, "action", "proprio_projector.fc1.weight").allSatisfy { $0 == 0 }
            }
        }
        let half = try dropped(0.5)
        // 12 expected, with a standard deviation of 2.4.
        #expect((5...19).contains(half.count { $0 }))
        #expect(try dropped(0.5, seed: 1) != half)
        #expect(try dropped(0.5, steps: 12) == Array(half.prefix(12)) + Array(repeating: false, count: 12))
    }

    @Test func microBatchesEqualOneLargeBatch() throws {
        var losses: [[Double]] = []
        var gradients: [[Float]] = []
        for (size, accumulation) in [(6, 1), (2, 3)] {
            let fixture = try StepFixture()
            var settings = StepSettings()
            settings.accumulation = accumulation
            let step = try fixture.step(Self.full, settings: settings, batchSize: size)
            let reports = try run(step, RandomBatches(fixture.model.config, batchSize: size), steps: 3)
            losses.append(reports.flatMap { [$0.metrics["loss.action"] ?? 0, $0.metrics["loss.retention"] ?? 0] })
            gradients.append(fixture.gradient(step, "action", "language_model.model.layers.0.mlp.up_proj.weight"))
        }
        for (one, many) in zip(losses[0], losses[1]) { #expect(abs(one - many) <= 2e-4 * max(abs(one), 1e-3)) }
        let scale = gradients[0].map(abs).max() ?? 0
        #expect(scale > 0)
        #expect(zip(gradients[0], gradients[1]).allSatisfy { abs($0 - $1) < 2e-3 * scale })
    }

    /// `BaselineL1` alone is a plain loop: AdamW written out here in Double on the same gradients.
    @Test(arguments: [(0.9, 0.999, 1e-8, 0.01), (0.5, 0.75, 1e-3, 0.5), (0, 0.9375, 1e-6, 0)])
    func theBaselineIsPlainAdamW(_ beta1: Double, _ beta2: Double, _ epsilon: Double, _ decay: Double) throws {
        let fixture = try StepFixture()
        var optimizer = AdamWSettings()
        (optimizer.beta1, optimizer.beta2, optimizer.epsilon, optimizer.weightDecay) = (beta1, beta2, epsilon, decay)
        let step = try fixture.step("BaselineL1", learningRate: 1e-3, optimizer: optimizer)
        let source = RandomBatches(fixture.model.config, batchSize: 4)
        let name = "language_model.model.layers.1.self_attn.o_proj.weight"
        var weights = fixture.values(name).map(Double.init)
        var first = weights.map { _ in 0.0 }
        var second = first
        for index in 0..<3 {
            _ = try step.run(step: index, from: source)
            let gradient = fixture.gradient(step, "action", name).map(Double.init)
            let (c1, c2) = (1 - pow(beta1, index + 1), 1 - pow(beta2, index + 1))
            for i in weights.indices {
                first[i] = beta1 * first[i] + (1 - beta1) * gradient[i]
                second[i] = beta2 * second[i] + (1 - beta2) * gradient[i] * gradient[i]
                weights[i] *= 1 - 1e-3 * decay
                weights[i] -= 1e-3 * (first[i] / c1) / ((second[i] / c2).squareRoot() + epsilon)
            }
        }
        for (got, want) in zip(fixture.values(name), weights) { #expect(abs(Double(got) - want) < 2e-6) }
    }

    private func pow(_ base: Double, _ exponent: Int) -> Double {
        (0..<exponent).reduce(1) { value, _ in value * base }
    }

    @Test func aRunRepeatsBitForBit() throws {
        let runs = try (0..<2).map { _ in
            let fixture = try StepFixture()
            let step = try fixture.step(Self.full)
            _ = try run(step, RandomBatches(fixture.model.config, batchSize: 4, isQuiet: false), steps: 3)
            return fixture.allValues
        }
        #expect(runs[0] == runs[1])
    }

    @Test func clippingScalesTheCombinedGradient() throws {
        let fixture = try StepFixture()
        var settings = StepSettings()
        settings.clipNorm = 1e-30
        let step = try fixture.step("BaselineL1", settings: settings, weightDecay: 0)
        let before = fixture.allValues
        let report = try step.run(step: 0, from: RandomBatches(fixture.model.config, batchSize: 4))
        #expect((report.metrics["gradient_norm"] ?? 0) > 1e-3)
        // A gradient clipped to nothing is far below AdamW's epsilon: the weights stay.
        #expect(zip(before, fixture.allValues).allSatisfy { abs($0 - $1) < 1e-9 })
    }

    /// A strategy on whole gradients that changes nothing gives the same step as none: what it gets and gives is laid out as
    /// the optimizer reads it.
    @Test func wholeGradientsGoOutAndComeBack() throws {
        var updated: [[Float]] = []
        for plugins in ["BaselineL1", "BaselineL1,GradDrop"] {
            let fixture = try StepFixture()
            let step = try fixture.step(plugins)
            let reports = try run(step, RandomBatches(fixture.model.config, batchSize: 4), steps: 2)
            #expect((reports[1].metrics["gradient_norm"] ?? 0) > 0)
            updated.append(fixture.allValues)
        }
        #expect(updated[0] == updated[1])
    }
}
