import Foundation
import PluginRuntime
import Testing

@Suite struct AnswerLossTests {
    private let composition: Composition

    init() throws { composition = try compose("AnswerLoss") }

    private func run(_ logits: TestArray<Float>, _ ids: TestArray<Int64>) throws -> ValueStore {
        let values = ValueStore()
        values.set("answer_logits", logits.view)
        values.set("answer_ids", ids.view)
        try composition.run(.preBackward, values: values, step: 0)
        return values
    }

    @Test func uniformAndCertainRows() throws {
        let logits = TestArray<Float>([0, 0, 0, 0, 50, -50, -50, -50], shape: [2, 4])
        let values = try run(logits, TestArray([2, 0], shape: [2]))
        #expect(abs(try #require(values.double("loss.answer")) - log(4) / 2) < 1e-12)
        #expect(values.double("metric.answer_accuracy") == 0.5)
        let cotangent = Array(try #require(values.array("cotangent.answer.answer_logits")).floats)
        #expect(Array(cotangent[0..<4]) == [0.125, 0.125, -0.375, 0.125])
        #expect(cotangent[4...].allSatisfy { abs($0) < 1e-30 })
    }

    @Test func shiftsAndExtremesAreHarmless() throws {
        for shift in [Float(-3e38), -1e4, 0, 1e4, 3e38] {
            let values = try run(TestArray([shift, shift], shape: [1, 2]), TestArray([0], shape: [1]))
            #expect(abs(try #require(values.double("loss.answer")) - log(2)) < 1e-12)
        }
    }

    @Test func cotangentMatchesFiniteDifferences() throws {
        var numbers = TestNumbers(seed: 3)
        let logits = TestArray<Float>(numbers.array(15).map { Float(3 * $0) }, shape: [3, 5])
        let ids = TestArray<Int64>([4, 0, 2], shape: [3])
        let analytic = Array(try #require(try run(logits, ids).array("cotangent.answer.answer_logits")).floats)
        let worst = try worstGradientError(logits, count: 15, step: 1e-2, analytic) {
            try #require(try run(logits, ids).double("loss.answer"))
        }
        #expect(worst < 1e-4)
    }

    @Test func batchWithoutQuestions() throws {
        let values = try run(TestArray([], shape: [0, 7]), TestArray([], shape: [0]))
        #expect(values.double("loss.answer") == 0)
        #expect(values.double("metric.answer_accuracy") == nil)
    }

    @Test(arguments: [Int64(-1), 4, .max])
    func tokenOutsideTheVocabulary(id: Int64) throws {
        let failure = try #require(throws: PluginFailure.self) {
            try run(TestArray([0, 0, 0, 0], shape: [1, 4]), TestArray([id], shape: [1]))
        }
        #expect(failure.message == "answer token \(id) is not in the vocabulary of 4")
    }
}
