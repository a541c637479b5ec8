import PluginRuntime
import TestSupport
import Testing
import Training

@Suite struct BaselineL1Tests {
    @Test func lossCotangentAndMetrics() throws {
        let composition = try Composition(
            PluginRequest.parseList("BaselineL1"), search: .build, registry: .training)
        let values = ValueStore()
        try composition.run(.plan, values: values, step: 0)
        #expect(values.double("weight.action") == 1)
        #expect(composition.objectives == ["action"])

        // B=1, H=2, A=2; the third element is met exactly.
        let predicted = TestArray<Float>([1, -2, 0.5, 3], shape: [1, 2, 2])
        let target = TestArray<Float>([0, 0, 0.5, 1], shape: [1, 2, 2])
        values.set("predicted_actions", predicted.view)
        values.set("target_actions", target.view)
        try composition.run(.preBackward, values: values, step: 0)
        #expect(values.double("loss.action") == 1.25)
        #expect(values.double("metric.curr_action_l1") == 1.5)
        #expect(values.double("metric.next_actions_l1") == 1)
        let cotangent = try #require(values.array("cotangent.action.predicted_actions"))
        #expect(Array(cotangent.floats) == [0.25, -0.25, 0, 0.25])
    }
}
