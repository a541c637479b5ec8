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

    /// What a sample gets from another one.
    enum Exchange { case images, instructions }

    /// Mean absolute error of predicted action chunks, normalised, over all values of the batches.
    ///
    /// - `exchange`: takes the images of a sample elsewhere in the data, or another instruction, and leaves the rest: an error
    ///   that stays the same says that the policy does without them.
    /// - Returns nil without samples, or when there is only one instruction to exchange.
    func actionL1(_ batches: [DemonstrationBatch], exchanging exchange: Exchange? = nil) -> Double? {
        var sum = 0.0
        var count = 0
        let weights = model.parameters.currentWeights()
        let instructions = Set(batches.flatMap(\.instructions)).sorted()
        if exchange == .instructions && instructions.count < 2 { return nil }
        var first = 0
        for batch in batches where batch.count > 0 {
            var prompts = batch.instructions
            if exchange == .instructions {
                prompts = prompts.map { own in
                    let index = instructions.firstIndex(of: own) ?? 0
                    return instructions[(index + 1) % instructions.count]
                }
            }
            var input = TrainingBatch.demonstrations(
                batch, prompts: prompts.map(self.prompts.action), policyInput: []
            ).input
            if exchange == .images {
                input.images = .rgb(Self.images(halfWayFrom: first, count: batch.count, in: batches))
            }
            first += batch.count
            tape.reset(weights: weights, recording: false)
            guard let predicted = model.forward(input, on: tape).predictedActions else { continue }
            for index in 0..<predicted.count { sum += Double(abs(predicted.values[index] - batch.actions[index])) }
            count += predicted.count
        }
        return count == 0 ? nil : sum / Double(count)
    }

    /// The images of the samples that lie half of all samples further on.
    private static func images(halfWayFrom first: Int, count: Int, in batches: [DemonstrationBatch]) -> [UInt8] {
        let samples = batches.flatMap { batch in (0..<batch.count).map { (batch, $0) } }
        return (first..<first + count).flatMap { index in
            let (batch, row) = samples[(index + samples.count / 2) % samples.count]
            let length = batch.images.count / batch.count
            return batch.images[row * length..<(row + 1) * length]
        }
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
