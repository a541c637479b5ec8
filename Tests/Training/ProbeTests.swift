import Foundation
import Models
import PluginRuntime
import Tensors
import TestSupport
import Testing
import Training

/// Further forward passes with a plugin's own prompts: when they run, what they change, and that their gradients are right.
@Suite struct ProbeTests {
    private func run(_ step: TrainingStep, _ fixture: StepFixture, steps: Range<Int>) throws -> [StepReport] {
        let source = RandomBatches(fixture.model.config, batchSize: 4)
        return try steps.map { try step.run(step: $0, from: source) }
    }

    /// Until a probe is due, the run is what it is without it, bit for bit, whatever combines the gradients.
    @Test(arguments: [
        ("tensor", ""), ("tensor", ",AnchorVariants,CRaFTProjection,CRaFTDual:budget=0.0001:lr=1"),
        ("global", ",AnchorVariants,MGDA"), ("global", ",AnchorVariants,Mean,ClipGradNorm"),
        ("global", ",AnchorVariants,GradVac"), ("global", ",AnchorVariants,NashMTL"),
        ("global", ",AnchorVariants,GradDrop"), ("tensor", ",AnchorVariants,GradNorm"),
    ])
    func aProbeThatIsNotDueChangesNothing(_ scope: String, _ rest: String) throws {
        let probe = ",ProbeTokens:start=3,p=CRaFTProjection:constraint=probe:prefix=probe_:scope=\(scope)"
        let results = try ["", probe].map { probe in
            let fixture = try StepFixture()
            let step = try fixture.step("BaselineL1" + probe + rest)
            return (try run(step, fixture, steps: 0..<3), fixture.allValues)
        }
        #expect(results[0].1 == results[1].1)
        for (without, with) in zip(results[0].0, results[1].0) {
            #expect(with.metrics["loss.probe"] == nil && with.metrics["probe_text"] == nil)
            #expect(with.metrics["probe_conflict_ratio"] == nil, "no conflict with a loss that is not there")
            #expect(with.metrics["lambda.probe"] == 0.1)
            #expect(with.metrics["gradient_norm"] == without.metrics["gradient_norm"])
        }
    }

    @Test(arguments: [nil, AdapterSettings(rank: 3, alpha: 6)], [false, true])
    func lossIsZeroUntilWeightsMove(_ adapter: AdapterSettings?, _ checkpoints: Bool) throws {
        let fixture = try StepFixture(adapter: adapter)
        var settings = StepSettings()
        settings.checkpointsActivations = checkpoints
        let step = try fixture.step(
            "BaselineL1,ProbeTokens:interval=1:cameras=0,AnchorVariants", settings: settings,
            anchor: adapter == nil ? .copy : .adaptersOff)
        let reports = try run(step, fixture, steps: 0..<2)
        #expect(reports[0].metrics["loss.probe"] == 0)
        #expect((reports[1].metrics["loss.probe"] ?? 0) > 0)
        #expect((reports[1].metrics["loss.retention"] ?? 0) > 0)
        let reached = adapter == nil ? "language_model.model.layers.2.mlp.up_proj.weight" : "lora_B"
        let names = fixture.model.parameters.parameters.map(\.name).filter { $0.contains(reached) }
        #expect(names.contains { fixture.gradient(step, "probe", $0).contains { $0 != 0 } })
        for name in ["action_queries.weight", "action_head.model.fc2.weight"] {
            #expect(fixture.gradient(step, "probe", name).allSatisfy { $0 == 0 }, "\(name) has no part in a probe")
        }
    }

    /// The loss is there every second step from step 1 on, its multiplier moves then and only then, and steps without it
    /// follow the other objectives in full.
    @Test func runsWhenItIsDue() throws {
        let fixture = try StepFixture()
        let step = try fixture.step(
            "BaselineL1,ProbeTokens:interval=2:start=1,Mean,CRaFTDual:objective=probe:budget=0:lr=1:init=0.5")
        var multiplier = 0.5
        let source = RandomBatches(fixture.model.config, batchSize: 4)
        for index in 0..<6 {
            let report = try step.run(step: index, from: source)
            let loss = report.metrics["loss.probe"]
            #expect((loss != nil) == (index % 2 == 1), "step \(index)")
            #expect(report.metrics["probe_over_budget"] == nil || loss != nil)
            multiplier += loss ?? 0
            #expect(report.metrics["lambda.probe"] == multiplier, "step \(index)")
            #expect(
                step.combinationWeights[0] == (loss == nil ? 1 : 0.5), "the mean is that of the objectives there are")
        }
        #expect(multiplier > 0.5)
    }

    /// Strategies with a memory of each objective keep it over steps in which one is missing.
    @Test(arguments: [
        "GradVac", "NashMTL:update_weights_every=3", "GradNorm", "FAMO", "UW", "DWA:interval=2", "PCGrad", "UPGrad",
        "AlignedMTL", "GradDrop", "Constant:weights=1 0.5 2",
    ])
    func strategiesGetWhatIsThere(_ strategy: String) throws {
        let fixture = try StepFixture()
        let step = try fixture.step("BaselineL1,ProbeTokens:interval=2:start=1,AnchorVariants,\(strategy)")
        let source = RandomBatches(fixture.model.config, batchSize: 4)
        for index in 0..<5 {
            let report = try step.run(step: index, from: source)
            #expect((report.metrics["gradient_norm"] ?? 0) > 0)
            #expect(step.combinationWeights.count.isMultiple(of: index % 2 == 1 ? 3 : 2))
            if strategy.hasPrefix("Constant") {
                #expect(
                    Array(step.combinationWeights.prefix(index % 2 == 1 ? 3 : 2))
                        == (index % 2 == 1 ? [1, 0.5, 2] : [1, 2]))
            }
        }
    }

    /// With nothing but a probe, a step without it does nothing.
    @Test func worksAlone() throws {
        let fixture = try StepFixture()
        let step = try fixture.step("ProbeTokens:interval=2:start=1", weightDecay: 0.1)
        let before = fixture.allValues
        let first = try run(step, fixture, steps: 0..<1)[0]
        #expect(fixture.allValues == before && first.metrics["gradient_norm"] == nil)
        let second = try run(step, fixture, steps: 1..<2)[0]
        #expect(second.metrics["loss.probe"] == 0 && second.metrics["gradient_norm"] == 0)
    }

    /// Along the gradient, the loss changes as fast as the gradient is long.
    @Test(arguments: ["", ":text_share=1:cameras=0", ":text_share=0:unchanged=0:jitter=0:mix=0"])
    func gradientAgainstFiniteDifferences(_ settings: String) throws {
        try expectDerivative(of: "probe", "ProbeTokens:interval=1\(settings)")
    }

    @Test func gradientOfLogitsAgainstFiniteDifferences() throws {
        let plugins = try CompiledPlugin()
        try expectDerivative(of: "distillation", try Self.distillation(plugins))
    }

    private func expectDerivative(of objective: String, _ plugin: String) throws {
        let fixture = try StepFixture()
        let step = try fixture.step(plugin, learningRate: 0)
        try fixture.expectDerivative(of: objective, in: step) { try run(step, fixture, steps: 0..<1)[0].metrics }
    }

    /// Two equal micro-batches are one.
    @Test func gradientsAreMeansOverMicroBatches() throws {
        final class Same: BatchSource {
            let batch: TrainingBatch
            init(_ batch: TrainingBatch) { self.batch = batch }
            func next() throws -> TrainingBatch { batch }
        }
        let name = "language_model.model.layers.0.mlp.up_proj.weight"
        let gradients = try [1, 2].map { accumulation in
            let fixture = try StepFixture()
            var settings = StepSettings()
            settings.accumulation = accumulation
            let step = try fixture.step(
                "ProbeTokens:prompts=one:jitter=0:shuffle=0:mix=0:cameras=0", settings: settings, learningRate: 0)
            let values = fixture.model.parameters.trainable
            for index in 0..<fixture.model.parameters.trainableCount { values[index] *= 1.1 }
            let batch = try RandomBatches(fixture.model.config, batchSize: 3).next()
            _ = try step.run(step: 0, from: Same(batch))
            return fixture.gradient(step, "probe", name)
        }
        let scale = gradients[0].map(abs).max() ?? 0
        #expect(scale > 0 && zip(gradients[0], gradients[1]).allSatisfy { abs($0 - $1) < 1e-5 * scale })
    }

    /// What a probe sees depends on the seed and the step, not on what ran before.
    @Test func aStepDependsOnItsNumberAlone() throws {
        let losses = try [0..<5, 4..<5].map { steps in
            let fixture = try StepFixture()
            let step = try fixture.step("ProbeTokens:interval=1", learningRate: 0)
            let values = fixture.model.parameters.trainable
            for index in 0..<fixture.model.parameters.trainableCount { values[index] *= 1.1 }
            let batches = RandomBatches(fixture.model.config, batchSize: 4)
            for _ in 0..<steps.lowerBound { _ = try batches.next() }
            return try steps.map { try step.run(step: $0, from: batches).metrics["loss.probe"] ?? .nan }
        }
        #expect(losses[0].last == losses[1].last)
        #expect(Set(losses[0]).count == 5)
    }

    /// The guide's example of a probe: KL(softmax(z~) || softmax(z)) of the logits, mean over samples.
    static func distillation(_ plugins: CompiledPlugin) throws -> String {
        let guide = try String(
            contentsOf: BuildFolder.repository.appendingPathComponent("docs/PLUGINS.md"), encoding: .utf8)
        let section = try #require(guide.components(separatedBy: "\n### Probes\n").last)
        let code = try #require(section.components(separatedBy: "```c\n").dropFirst().first)
        let source = try #require(code.components(separatedBy: "```").first)
        return try plugins.build("Distillation", source: source)
    }
}
