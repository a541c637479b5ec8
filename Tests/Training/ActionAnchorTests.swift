import Foundation
import Models
import PluginRuntime
import Tensors
import TestSupport
import Testing
import Training

/// Actions under the initial weights, head and all.
@Suite struct ActionAnchorTests {
    private static let adapters: [AdapterSettings?] = [nil, AdapterSettings(rank: 3, alpha: 6)]

    private func step(_ fixture: StepFixture, _ adapter: AdapterSettings?, proprioDropout: Double = 0) throws
        -> TrainingStep
    {
        var settings = StepSettings()
        settings.proprioDropout = proprioDropout
        return try fixture.step(
            "BaselineL1,ActionAnchor", settings: settings, anchor: adapter == nil ? .copy : .adaptersOff)
    }

    private func anchorActions(_ step: TrainingStep) throws -> [Float] {
        Array(try #require(step.session.values.array("anchor_actions")).floats)
    }

    /// The policy's noise and the zeros in place of the arm's state are the same in both passes.
    @Test(arguments: adapters, [0, 0.5])
    func theFirstStepHasNoDrift(_ adapter: AdapterSettings?, _ dropout: Double) throws {
        let fixture = try StepFixture(adapter: adapter)
        let step = try step(fixture, adapter, proprioDropout: dropout)
        let source = RandomBatches(fixture.model.config, batchSize: 4, isQuiet: false)
        let first = try step.run(step: 0, from: source).metrics
        let predicted = Array(try #require(step.session.values.array("predicted_actions")).floats)
        let anchors = try anchorActions(step)
        #expect(zip(predicted, anchors).allSatisfy { abs($0 - $1) <= 1e-6 })
        if adapter == nil { #expect(predicted == anchors && first["loss.action_anchor"] == 0) }
        let second = try step.run(step: 1, from: source).metrics
        #expect((second["loss.action_anchor"] ?? 0) > 1e-3)
    }

    /// After some steps they are still those of a model that was kept aside.
    @Test(arguments: adapters)
    func areThoseOfTheModelKeptAside(_ adapter: AdapterSettings?) throws {
        let (fixture, kept) = (try StepFixture(adapter: adapter), try StepFixture(adapter: adapter))
        let step = try step(fixture, adapter)
        let source = RandomBatches(fixture.model.config, batchSize: 4)
        for index in 0..<4 { _ = try step.run(step: index, from: source) }
        #expect(fixture.allValues != kept.allValues)
        let batches = RandomBatches(kept.model.config, batchSize: 4)
        for _ in 0..<3 { _ = try batches.next() }
        let batch = try batches.next()
        let tape = Tape(parameters: kept.model.parameters, parallel: kept.parallel)
        tape.reset(weights: kept.model.parameters.currentWeights(), recording: false)
        let actions = try #require(kept.model.forward(batch.input, on: tape).predictedActions)
        let expected = Array(UnsafeBufferPointer(start: actions.values, count: actions.count))
        #expect(zip(try anchorActions(step), expected).allSatisfy { abs($0 - $1) <= 1e-6 })
    }

    /// Anchors of features stay what they are when actions are asked for too.
    @Test(arguments: adapters)
    func featuresDoNotNotice(_ adapter: AdapterSettings?) throws {
        let losses = try ["BaselineL1,AnchorVariants", "BaselineL1,AnchorVariants,ActionAnchor:weight=0"].map {
            plugins in
            let fixture = try StepFixture(adapter: adapter)
            let step = try fixture.step(plugins, anchor: adapter == nil ? .copy : .adaptersOff)
            let source = RandomBatches(fixture.model.config, batchSize: 4)
            return try (0..<3).map { try step.run(step: $0, from: source).metrics["loss.retention"] }
        }
        #expect(losses[0] == losses[1] && losses[0][0] == 0)
    }
}
