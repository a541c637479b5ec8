internal import Collectives
internal import Data
internal import Formats
internal import Foundation
internal import Models
internal import Tensors

/// Measures of a model outside of training: nothing is recorded, the policy's input is zero as at inference.
final class Evaluation {
    private let model: VLAModel
    private let prompts: PromptEncoder
    private let tape: Tape
    private let ranks: any Collective

    /// - `tape`: the training step's; between steps its memory is free.
    /// - `ranks`: the processes that divide the batches; all of them measure the same.
    init(model: VLAModel, prompts: PromptEncoder, tape: Tape, ranks: any Collective = OneRank()) {
        self.ranks = ranks
        self.model = model
        self.prompts = prompts
        self.tape = tape
    }

    /// `shouldStop` was true between two batches: there is no value.
    struct Stopped: Error {}

    /// What a sample gets from another one.
    enum Exchange: String, CaseIterable { case images, instructions }

    /// Every measure there is data for, by internal metric name; nil where there is none after all.
    ///
    /// - `exchanging`: whether the policy is also measured with images and instructions of other samples.
    /// - `average`: measured as well, under names that end in `_average`.
    /// - Throws: ``Stopped``, and when answers cannot be read.
    func measures(
        of data: EvaluationData, exchanging: Bool, average: WeightAverage? = nil, shouldStop: () -> Bool
    ) throws -> [(String, Double?)] {
        func measures(_ suffix: String, _ exchanges: [Exchange?], _ weights: [WeightValues]?) throws -> [(
            String, Double?
        )] {
            var values: [(String, Double?)] = []
            for exchange in exchanges where !data.demonstrations.isEmpty {
                let value = try actionL1(
                    data.demonstrations, exchanging: exchange, weights: weights, shouldStop: shouldStop)
                values.append(
                    ("held_out_action_l1\(exchange.map { "_other_\($0.rawValue)" } ?? "")\(suffix)", value))
            }
            if let questions = data.questions {
                let value = try answerAccuracy(questions, weights: weights, shouldStop: shouldStop)
                values.append(("held_out_answer_accuracy\(suffix)", value))
            }
            return values
        }
        let values = try measures("", [nil] + (exchanging ? Exchange.allCases : []), nil)
        return try values + (average.map { try measures("_average", [nil], $0.weights) } ?? [])
    }

    /// Mean absolute error of predicted action chunks, normalised, over all values of the batches.
    ///
    /// - `exchange`: gives each sample the images of another, or another instruction, and leaves the rest: an error that stays
    ///   the same says that the policy does without them.
    /// - `weights`: where the parameters' values are, by id; nil takes the model's own.
    /// - Returns: nil when there is no sample, or nothing to exchange.
    /// - Throws: ``Stopped``.
    func actionL1(
        _ batches: [DemonstrationBatch], exchanging exchange: Exchange? = nil, weights: [WeightValues]? = nil,
        shouldStop: () -> Bool
    ) throws -> Double? {
        let batches = batches.filter { $0.count > 0 }
        var inputs = batches.map { batch in
            TrainingBatch.demonstrations(batch, prompts: batch.instructions.map(prompts.action)).input
        }
        switch exchange {
        case .images: guard Self.exchangeImages(&inputs) else { return nil }
        case .instructions: guard Self.exchangePrompts(&inputs) else { return nil }
        case nil: break
        }
        var sum = 0.0
        var count = 0
        let weights = weights ?? model.parameters.currentWeights()
        var wasStopped = false
        for (index, (batch, input)) in zip(batches, inputs).enumerated() where index % ranks.size == ranks.rank {
            wasStopped = shouldStop()
            if wasStopped { break }
            tape.reset(weights: weights, recording: false)
            guard let predicted = model.forward(input, on: tape).predictedActions else { continue }
            for index in 0..<predicted.count { sum += Double(abs(predicted.values[index] - batch.actions[index])) }
            count += predicted.count
        }
        (sum, count) = try joined(sum, count, wasStopped)
        return count == 0 ? nil : sum / Double(count)
    }

    /// What all ranks found. Throws ``Stopped`` when one of them was stopped.
    private func joined(_ sum: Double, _ count: Int, _ wasStopped: Bool) throws -> (sum: Double, count: Int) {
        guard !ranks.isAlone else {
            if wasStopped { throw Stopped() }
            return (sum, count)
        }
        var message = MessageWriter()
        message.add(sum)
        message.add(count)
        message.add(wasStopped ? 1 : 0)
        var (total, number, isStopped) = (0.0, 0, false)
        for bytes in try ranks.gather(message.bytes, phase: "measuring") {
            var reader = MessageReader(bytes)
            total += try reader.number()
            number += try reader.integer()
            if try reader.integer() != 0 { isStopped = true }
        }
        if isStopped { throw Stopped() }
        return (total, number)
    }

    /// Gives every sample the images of another, drawn at random: at a fixed distance it might be the same moment of
    /// another episode.
    private static func exchangeImages(_ inputs: inout [ModelInput]) -> Bool {
        var images: [ArraySlice<UInt8>] = []
        for input in inputs {
            guard case .rgb(let pixels) = input.images else { return false }
            let length = pixels.count / input.prompts.count
            images += input.prompts.indices.map { pixels[$0 * length..<($0 + 1) * length] }
        }
        guard images.count > 1 else { return false }
        // Sattolo's algorithm: a permutation that leaves nothing in its place.
        var generator = RandomGenerator(seed: 0, stream: RandomGenerator.stream("exchanged images"))
        for last in (1..<images.count).reversed() {
            images.swapAt(last, Int(generator.next() % UInt64(last)))
        }
        var first = 0
        for index in inputs.indices {
            let count = inputs[index].prompts.count
            inputs[index].images = .rgb(images[first..<first + count].flatMap { $0 })
            first += count
        }
        return true
    }

    /// Gives every sample the next of the instructions that there are, as the model reads them.
    private static func exchangePrompts(_ inputs: inout [ModelInput]) -> Bool {
        let prompts = Set(inputs.flatMap(\.prompts)).sorted { $0.lexicographicallyPrecedes($1) }
        guard prompts.count > 1 else { return false }
        let next = Dictionary(uniqueKeysWithValues: zip(prompts, prompts.dropFirst() + prompts.prefix(1)))
        for index in inputs.indices { inputs[index].prompts = inputs[index].prompts.map { next[$0] ?? $0 } }
        return true
    }

    /// Share of questions for which decoding, token by token the most likely that some answer of the data set goes on with,
    /// arrives at the right answer.
    ///
    /// - `weights`: where the parameters' values are, by id; nil takes the model's own.
    /// - Throws: ``Stopped``, and when the answers cannot be read.
    func answerAccuracy(
        _ batches: VQABatches, weights: [WeightValues]? = nil, shouldStop: () -> Bool
    ) throws -> Double? {
        let candidates = try batches.dataset.answers.map { Array(try prompts.answer($0)) }
        var right = 0
        var count = 0
        let weights = weights ?? model.parameters.currentWeights()
        var wasStopped = false
        for index in 0..<batches.count where index % ranks.size == ranks.rank {
            wasStopped = shouldStop()
            if wasStopped { break }
            let batch = try batches.batch(index)
            let questions = try TrainingBatch.questions(batch, prompts: prompts)
            var input = questions.input
            input.wantsAnswer = true
            tape.reset(weights: weights, recording: false)
            guard let logits = model.forward(input, on: tape).answerLogits else { continue }
            var row = 0
            for length in input.answerLengths {
                let answer = questions.answerIDs[row..<row + length].map { Int32($0) }
                // As long as decoding follows the answer, it sees what is in the sequence.
                let isRight = answer.indices.allSatisfy { place in
                    let scores = logits.values + (row + place) * logits.columns
                    let next = candidates.filter { $0.count > place && $0[..<place] == answer[..<place] }.map {
                        $0[place]
                    }
                    return next.max { scores[Int($0)] < scores[Int($1)] } == answer[place]
                }
                if isRight { right += 1 }
                row += length
            }
            count += batch.count
        }
        let found = try joined(Double(right), count, wasStopped)
        return found.count == 0 ? nil : found.sum / Double(found.count)
    }
}
