import PluginRuntime
import Testing

@Suite struct BaselineL1Tests {
    private func run(_ predicted: [Float], _ target: [Float], shape: [Int]) throws -> ValueStore {
        let values = ValueStore()
        let first = TestArray<Float>(predicted, shape: shape)
        let second = TestArray<Float>(target, shape: shape)
        values.set("predicted_actions", first.view)
        values.set("target_actions", second.view)
        try compose("BaselineL1").run(.preBackward, values: values, step: 0)
        // The values outlive the composition.
        let cotangent = try #require(values.array("cotangent.action.predicted_actions"))
        #expect(cotangent.shape == shape)
        let sign = Float(1) / Float(predicted.count)
        let expected = zip(predicted, target).map { $0 > $1 ? sign : $0 < $1 ? -sign : 0 }
        #expect(Array(cotangent.floats) == expected)
        return values
    }

    @Test func lossCotangentAndMetrics() throws {
        // B=1, H=2, A=2; the third element is met exactly.
        let values = try run([1, -2, 0.5, 3], [0, 0, 0.5, 1], shape: [1, 2, 2])
        #expect(values.double("loss.action") == 1.25)
        #expect(values.double("metric.curr_action_l1") == 1.5)
        #expect(values.double("metric.next_actions_l1") == 1)
    }

    @Test func chunksOfOneStepHaveNoNextActions() throws {
        let values = try run([1, 2, 3], [0, 0, 0], shape: [3, 1, 1])
        #expect(values.double("loss.action") == 2)
        #expect(values.double("metric.curr_action_l1") == 2)
        #expect(values.double("metric.next_actions_l1") == nil)
    }

    @Test func weightAndObjective() throws {
        let composition = try compose("BaselineL1:objective=imitation:weight=2.5")
        let values = ValueStore()
        try composition.run(.plan, values: values, step: 0)
        #expect(values.double("weight.imitation") == 2.5)
        #expect(composition.objectives == ["imitation"])
        #expect(composition.provider(of: "loss.imitation") == "BaselineL1")
        #expect(composition.provider(of: "lambda.imitation") == nil)
    }

    @Test func emptyBatchAndNonFiniteActions() throws {
        let composition = try compose("BaselineL1")
        let values = ValueStore()
        let empty = TestArray<Float>([], shape: [0, 8, 7])
        values.set("predicted_actions", empty.view)
        values.set("target_actions", empty.view)
        var failure = try #require(throws: PluginFailure.self) {
            try composition.run(.preBackward, values: values, step: 3)
        }
        #expect(failure.message == "the batch has no actions (shape [0, 8, 7])")

        let broken = TestArray<Float>([.nan, 1], shape: [1, 1, 2])
        let target = TestArray<Float>([0, 1], shape: [1, 1, 2])
        values.set("predicted_actions", broken.view)
        values.set("target_actions", target.view)
        failure = try #require(throws: PluginFailure.self) {
            try composition.run(.preBackward, values: values, step: 4)
        }
        #expect(failure.kind == .nonFinite("loss.action"))
        #expect(failure.step == 4)

        let short = TestArray<Float>([0], shape: [1, 1, 1])
        values.set("target_actions", short.view)
        failure = try #require(throws: PluginFailure.self) {
            try composition.run(.preBackward, values: values, step: 4)
        }
        #expect(failure.message.contains("axis 'a' is 2 in 'predicted_actions' but 1 in 'target_actions'"))
    }
}
