import Foundation
import PluginRuntime
import Testing

/// CoTraining, Replay and ActionAnchor on small numbers; `StreamParityTests` compares them with PyTorch on a model.
@Suite final class StreamPluginTests {
    /// Array results are in the memory of the hooks that gave them.
    private var compositions: [Composition] = []

    private func run(_ plugin: String, _ arrays: [(String, ArrayView)]) throws -> ValueStore {
        let composition = try compose(plugin)
        compositions.append(composition)
        let values = ValueStore()
        for (name, view) in arrays { values.set(name, view) }
        try composition.run(.preBackward, values: values, step: 0)
        return values
    }

    private func answers(_ plugin: String, _ logits: TestArray<Float>, _ ids: [Int64]) throws -> ValueStore {
        let (ids, rows) = (TestArray(ids, shape: [3]), TestArray<Int64>([0, 0, 1], shape: [3]))
        return try withExtendedLifetime((ids, rows)) {
            try run(
                plugin,
                [
                    ("stream.vqa.text_logits", logits.view), ("stream.vqa.text_ids", ids.view),
                    ("stream.vqa.text_row", rows.view),
                ])
        }
    }

    /// Two answers, of two tokens and of one: log 4 a token that is undecided, nothing for one that is certain.
    @Test(arguments: [("CoTraining", 2.0 / 3), ("CoTraining:reduction=answer", 0.5)])
    func meansOverTokensOrAnswers(_ plugin: String, _ share: Double) throws {
        let logits = TestArray<Float>([0, 0, 0, 0, 0, 0, 0, 0, 50, -50, -50, -50], shape: [3, 4])
        let values = try answers(plugin, logits, [0, 2, 0])
        #expect(abs(try #require(values.double("loss.cotraining")) - share * log(4)) < 1e-12)
        #expect(values.double("metric.cotraining_accuracy") == 0.5)
        #expect(values.double("metric.cotraining_token_accuracy") == 2.0 / 3)
    }

    @Test(arguments: ["CoTraining", "CoTraining:reduction=answer"])
    func cotangentMatchesFiniteDifferences(_ plugin: String) throws {
        var numbers = TestNumbers(seed: 5)
        let logits = TestArray<Float>(numbers.array(15).map { Float(3 * $0) }, shape: [3, 5])
        let name = "cotangent.cotraining.stream.vqa.text_logits"
        let analytic = Array(try #require(try answers(plugin, logits, [4, 0, 2]).array(name)).floats)
        let worst = try worstGradientError(logits, count: 15, step: 1e-2, analytic) {
            try #require(try answers(plugin, logits, [4, 0, 2]).double("loss.cotraining"))
        }
        #expect(worst < 1e-4)
    }

    @Test func tokenOutsideTheVocabulary() throws {
        let logits = TestArray<Float>(Array(repeating: 0, count: 12), shape: [3, 4])
        let failure = try #require(throws: PluginFailure.self) { try answers("CoTraining", logits, [0, 4, 0]) }
        #expect(failure.message == "answer token 4 is not in the vocabulary of 4")
    }

    /// Predicted 1 2 3 4 or 1 0 3 4, the other actions 0 3 2 4 or 0 2 3 4.
    @Test(arguments: [
        ("Replay", "replay"), ("ActionAnchor", "action_anchor"), ("ActionAnchor:distance=mse", "action_anchor"),
    ])
    func distancesOfActions(_ plugin: String, _ objective: String) throws {
        let (isSquared, isReplay) = (plugin.hasSuffix("mse"), plugin == "Replay")
        let prefix = isReplay ? "stream.replay." : ""
        let predicted = TestArray<Float>(isSquared ? [1, 0, 3, 4] : [1, 2, 3, 4], shape: [1, 2, 2])
        let other = TestArray<Float>(isSquared ? [0, 2, 3, 4] : [0, 3, 2, 4], shape: [1, 2, 2])
        let otherName = isReplay ? "target_actions" : "anchor_actions"
        let values = try run(
            plugin, [(prefix + "predicted_actions", predicted.view), (prefix + otherName, other.view)])
        #expect(values.double("loss.\(objective)") == (isSquared ? 1.25 : 0.75))
        let cotangent = try #require(values.array("cotangent.\(objective).\(prefix)predicted_actions"))
        let expected: [Float] = isSquared ? [0.5, -1, 0, 0] : [0.25, -0.25, 0.25, 0]
        #expect(Array(cotangent.floats) == expected)
    }
}
