internal import Data
internal import Foundation
internal import Models
internal import Tensors

/// Measures of a model outside of training: nothing is recorded, the policy's input is zero as at inference.
final class Evaluation {
    private let model: VLAModel
    private let prompts: PromptEncoder
    private let tape: Tape

    /// - `tape`: the training step's; between steps its memory is free.
    init(model: VLAModel, prompts: PromptEncoder, tape: Tape) {
        self.model = model
        self.prompts = prompts
        self.tape = tape
    }

    /// Mean absolute error of predicted action chunks, normalised, over all values of the batches.
    func actionL1(_ batches: [DemonstrationBatch]) -> Double? {
        var sum = 0.0
        var count = 0
        let weights = model.parameters.currentWeights()
        for batch in batches where batch.count > 0 {
            let input = TrainingBatch.demonstrations(
                batch, prompts: batch.instructions.map(prompts.action), policyInput: []
            ).input
            tape.reset(weights: weights, recording: false)
            guard let predicted = model.forward(input, on: tape).predictedActions else { continue }
            for index in 0..<predicted.count { sum += Double(abs(predicted.values[index] - batch.actions[index])) }
            count += predicted.count
        }
        return count == 0 ? nil : sum / Double(count)
    }

    /// Share of questions whose most likely answer, among the data set's answers, is the right one.
    func answerAccuracy(_ batches: VQABatches) throws -> Double? {
        let candidates = try batches.dataset.answers.map { (text: $0, id: Int(try prompts.answer($0))) }
        var right = 0
        var count = 0
        let weights = model.parameters.currentWeights()
        for index in 0..<batches.count {
            let batch = try batches.batch(index)
            let input = ModelInput(
                images: .rgb(batch.images), cameras: 1, prompts: batch.questions.map(prompts.question),
                wantsAnswer: true)
            tape.reset(weights: weights, recording: false)
            guard let logits = model.forward(input, on: tape).answerLogits else { continue }
            for row in 0..<logits.rows {
                let scores = logits.values + row * logits.columns
                let best = candidates.max { scores[$0.id] < scores[$1.id] }
                if best?.text == batch.answers[row] { right += 1 }
            }
            count += logits.rows
        }
        return count == 0 ? nil : Double(right) / Double(count)
    }
}
