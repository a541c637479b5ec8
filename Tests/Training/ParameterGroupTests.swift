import Formats
import Models
import PluginRuntime
import Tensors
import TestSupport
import Testing
import Training

/// Learning rates by parameter group.
@Suite struct ParameterGroupTests {
    @Test func everyTrainedParameterHasAGroup() throws {
        for adapter in [nil, AdapterSettings(rank: 2, alpha: 4)] {
            let fixture = try StepFixture(adapter: adapter)
            var found: Set<String> = []
            for parameter in fixture.model.parameters.parameters where parameter.isTrainable {
                let group = try #require(ParameterGroup(of: parameter.name), "\(parameter.name)")
                found.insert(group.rawValue)
            }
            #expect(found == Set(ParameterGroup.allCases.map(\.rawValue)))
        }
    }

    private func afterOneStep(
        rate: Double, scales: String = "", plugins: String = "BaselineL1,AnchorVariants"
    ) throws -> (StepFixture, TrainingStep) {
        let fixture = try StepFixture()
        var settings = StepSettings()
        if !scales.isEmpty { settings.learningRateScales = try LearningRateScales(parsing: scales) }
        let step = try fixture.step(plugins, settings: settings, learningRate: rate)
        _ = try step.run(step: 0, from: RandomBatches(fixture.model.config, batchSize: 4))
        return (fixture, step)
    }

    /// A group with factor s moves, decay included, as all of the model does at s times the rate; the others as before.
    @Test(arguments: [false, true]) func aGroupMovesAtItsOwnRate(_ fromPlugin: Bool) throws {
        let whole = try afterOneStep(rate: 1e-2).0
        let slow = try afterOneStep(rate: 1e-2 * 0.25).0
        let mixed: StepFixture
        if fromPlugin {
            let plugins = try CompiledPlugin()
            let path = try plugins.build(
                "Rates",
                """
                #define OUT(X) X(f64, vision, "lr_scale.vision", "") X(f64, policy, "lr_scale.policy", "")
                CRAFT_HOOK(plan, CRAFT_NONE, OUT) { *vision = 0.5; *policy = 0.25; return CRAFT_OK; }
                """, table: "CRAFT_HOOK_ENTRY(\"plan\", plan)")
            mixed = try afterOneStep(
                rate: 1e-2, scales: "vision=0.5", plugins: "BaselineL1,AnchorVariants,\(path)"
            ).0
        } else {
            mixed = try afterOneStep(rate: 1e-2, scales: "vision=0.25, policy=0.25").0
        }
        var counts = (slow: 0, whole: 0)
        for parameter in whole.model.parameters.parameters {
            let group = ParameterGroup(of: parameter.name)
            let isSlow = group == .vision || group == .policy
            let expected = (isSlow ? slow : whole).values(parameter.name)
            #expect(mixed.values(parameter.name) == expected, "\(parameter.name)")
            guard whole.values(parameter.name) != slow.values(parameter.name) else { continue }
            if isSlow { counts.slow += 1 } else { counts.whole += 1 }
        }
        #expect(counts.slow > 10 && counts.whole > 10, "\(counts)")
    }

    @Test func zeroHoldsAGroupInPlace() throws {
        let before = try StepFixture()
        let after = try afterOneStep(rate: 1e-2, scales: "decoder=0").0
        for parameter in before.model.parameters.parameters {
            let stays = before.values(parameter.name) == after.values(parameter.name)
            if ParameterGroup(of: parameter.name) == .decoder { #expect(stays, "\(parameter.name)") }
        }
        #expect(before.values("action_head.model.fc2.weight") != after.values("action_head.model.fc2.weight"))
    }

    @Test(arguments: [
        (
            "visoin=1",
            "`learningRateScales` names 'visoin'; the groups are vision, projector, decoder, queries, policy, proprio"
        ),
        ("vision", "'vision'; expected group=factor"), ("vision=fast", "expected group=factor"),
        ("vision=1,vision=2", "names vision twice"), ("vision=-1", "-1.0 for vision; expected 0 to 1000"),
        ("vision=inf", "expected 0 to 1000"), ("", "expected group=factor"),
    ]) func refuses(_ text: String, _ words: String) throws {
        let error = try #require(throws: TrainingError.self) { try LearningRateScales(parsing: text) }
        #expect(error.code == .settings && error.description.contains(words), "\(error)")
    }
}
