import Foundation
import PluginRuntime
import TestSupport
import Testing

/// What PyTorch gives (scripts/reference/method_cases.py), and rules that can be followed by hand.
@Suite struct MethodReferenceTests {
    private struct AnchorCase: Decodable {
        let full: Bool
        let shape: [Int]
        let layers: Int
        let mask: [Float]
        let calibration: [[Float]]
        let features: [Float]
        let loss: Double
        let meanPart: Double
        let cotangent: [Double]
    }

    private struct SampledStep: Decodable {
        let cross: [Double]
        let incoming: [Double]
        let weights: [Double]
    }

    private struct SampledCase: Decodable {
        let plugin: String
        let steps: [SampledStep]
    }

    private struct File: Decodable {
        let aegis: [AnchorCase]
        let doubleSampling: [SampledCase]
    }

    private func file() throws -> File {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try decoder.decode(File.self, from: Data(contentsOf: BuildFolder.fixture("methods.json")))
    }

    /// Moments over several steps, saved and loaded in between; then loss and cotangent.
    @Test func gaussianAnchors() throws {
        var (worst, worstLoss) = (0.0, 0.0)
        for item in try file().aegis {
            let list =
                "BaselineL1,AEGIS:calibration=\(item.calibration.count):covariance=\(item.full ? "full" : "diagonal")"
            let composition = try compose(list)
            let values = ValueStore()
            values.set("hidden_states", Int64(item.layers + 1))
            values.set("weights", TestArray([1.0], shape: [1, 1]).view)
            let mask = TestArray(item.mask, shape: Array(item.shape[..<2]))
            let weights = TestArray([1.0, 0.1], shape: [1, 2])
            let gram = TestArray([1.0, 0, 0, 1], shape: [1, 2, 2])
            let rates = TestArray([1.0], shape: [1])
            let actions = TestArray([Float(0)], shape: [1, 1, 1])
            try composition.run(.plan, values: values, step: 0)
            for (step, points) in (item.calibration + [item.features]).enumerated() {
                let features = TestArray(points, shape: item.shape)
                values.set("feature.AEGIS.layers", features.view)
                values.set("mask.AEGIS.layers", mask.view)
                values.set("predicted_actions", actions.view)
                values.set("target_actions", actions.view)
                values.set("weights", weights.view)
                values.set("gram", gram.view)
                values.set("rate", rates.view)
                try composition.run(.preBackward, values: values, step: step)
                let isGathering = step < item.calibration.count
                #expect((values.double("loss.aegis") == nil) == isGathering)
                if isGathering {
                    try composition.run(.gradientCombine, values: values, step: step)
                    #expect(Array(try #require(values.array("rate")).doubles) == [0])
                    let saved = try composition.saveState()
                    try composition.reset()
                    try composition.loadState(saved)
                    continue
                }
                let loss = try #require(values.double("loss.aegis"))
                worstLoss = max(worstLoss, abs(loss / item.loss - 1))
                worstLoss = max(worstLoss, abs((values.double("metric.aegis_mean_part") ?? 0) / item.meanPart - 1))
                let found = try #require(values.array("cotangent.aegis.feature.AEGIS.layers")).floats.map(Double.init)
                worst = max(worst, relativeError(found, item.cotangent))
                withExtendedLifetime(features) {}
            }
            withExtendedLifetime((mask, weights, gram, rates, actions)) {}
        }
        // The cotangent is in single precision.
        #expect(worst <= 1e-6 && worstLoss <= 1e-12, "\(worst) \(worstLoss)")
        print("worst relative error of AEGIS's loss: \(worstLoss), of its cotangent: \(worst)")
    }

    @Test func doubleSampling() throws {
        var worst = 0.0
        for item in try file().doubleSampling {
            let composition = try compose("BaselineL1,\(item.plugin)")
            for (step, facts) in item.steps.enumerated() {
                let m = facts.incoming.count
                let values = ValueStore()
                let arrays = (TestArray(facts.cross, shape: [1, m, m]), TestArray(facts.incoming, shape: [1, m]))
                values.set("gram_cross", arrays.0.view)
                values.set("weights", arrays.1.view)
                try composition.run(.gradientCombine, values: values, step: step)
                let found = Array(try #require(values.array("weights")).doubles)
                worst = max(worst, relativeError(found, facts.weights))
                let saved = try composition.saveState()
                try composition.reset()
                try composition.loadState(saved)
                withExtendedLifetime(arrays) {}
            }
        }
        #expect(worst <= 1e-12, "\(worst)")
        print("worst relative error of MoDo and SDMGrad: \(worst)")
    }

    /// The derivative of -log p(y) in every row, for answers that come as often as p says.
    @Test func importanceDrawsItsAnswers() throws {
        let composition = try compose("EWC:steps=1000000")
        let logits: [Float] = [0, 1, -1, 3, 3, 2]
        let rows = [Array(logits[..<3]), Array(logits[3...])].map { row -> [Double] in
            let weights = row.map { exp(Double($0)) }
            return weights.map { $0 / weights.reduce(0, +) }
        }
        let array = TestArray(logits, shape: [2, 3])
        var counts = [[0, 0, 0], [0, 0, 0]]
        for step in 0..<4000 {
            let values = ValueStore()
            values.set("probe.EWC.logits", array.view)
            values.set("step", Int64(step))
            values.set("seed", Int64(1))
            try composition.run(.preBackward, values: values, step: step)
            let found = try #require(values.array("cotangent.importance.probe.EWC.logits")).floats.map(Double.init)
            var loss = 0.0
            for (row, shares) in rows.enumerated() {
                let part = Array(found[row * 3..<row * 3 + 3])
                let answer = try #require(part.firstIndex { $0 < 0 })
                counts[row][answer] += 1
                loss -= log(shares[answer]) / 2
                for column in 0..<3 {
                    let expected = (shares[column] - (column == answer ? 1 : 0)) / 2
                    #expect(abs(part[column] - expected) < 1e-7)
                }
            }
            #expect(abs((values.double("loss.importance") ?? 0) - loss) < 1e-12)
        }
        for (row, shares) in rows.enumerated() {
            for column in 0..<3 {
                #expect(abs(Double(counts[row][column]) / 4000 - shares[column]) < 0.03, "\(counts)")
            }
        }
        withExtendedLifetime(array) {}
    }

    // MARK: - EarlyStop

    /// What a series of evaluations gives as `stop`, saved and loaded in between; the first is before training.
    private func stops(_ settings: String, _ measures: [Double]) throws -> [Double?] {
        let composition = try compose("BaselineL1,EarlyStop:\(settings)")
        return try measures.enumerated().map { index, measure in
            let values = ValueStore()
            values.set("eval.held_out_answer_accuracy", measure)
            values.set("step", Int64(10 * index))
            try composition.run(.evaluate, values: values, step: 10 * index)
            let saved = try composition.saveState()
            try composition.reset()
            try composition.loadState(saved)
            return values.double("stop")
        }
    }

    @Test func runsEndForAReason() throws {
        #expect(try stops("floor=0.8", [0.7, 0.9, 0.8, 0.79]) == [nil, nil, nil, 1])
        #expect(try stops("goal=min:ceiling=0.5:patience=0", [0.6, 0.4, 0.51]) == [nil, nil, 2])
        #expect(try stops("drop=0.1", [0.9, 0.81, 0.95, 0.79]) == [nil, nil, nil, 3])
        #expect(try stops("patience=2:min_delta=0.05", [0.5, 0.56, 0.6, 0.5, 0.6]) == [nil, nil, nil, 4, 4])
        #expect(try stops("goal=min:patience=2", [0.5, 0.6, 0.4, 0.45, 0.39]) == [nil, nil, nil, nil, nil])
    }

    @Test func aLossEndsARunAfterSomeStepsOnEnd() throws {
        let composition = try compose("BaselineL1,AnchorVariants,EarlyStop:loss_ceiling=1:loss_steps=2:patience=0")
        let found = try [2.0, 0.5, 2, 3].enumerated().map { step, loss in
            let values = ValueStore()
            values.set("loss.retention", loss)
            try composition.run(.postStep, values: values, step: step)
            return values.double("stop")
        }
        #expect(found == [nil, nil, nil, 5])
    }

    @Test func whatIsNotMeasuredIsAnError() throws {
        let failure = try #require(throws: PluginFailure.self) {
            try compose("BaselineL1,EarlyStop:metric=held_out").run(
                .evaluate,
                values: {
                    let values = ValueStore()
                    values.set("step", Int64(0))
                    return values
                }(), step: 0)
        }
        #expect(failure.message.hasPrefix("this run does not measure 'held_out'"), "\(failure)")
    }

    @Test(arguments: [
        ("L2SP,BaselineL1", nil), ("KnowledgeInsulation:groups=towers,BaselineL1", "'towers' is not a parameter group"),
        ("EarlyStop:patience=0,BaselineL1", "there is nothing to watch"),
        ("EWC:importance=given,BaselineL1", "needs the source of another plugin"),
    ])
    func settingsThatCannotWorkAreRefused(_ list: String, _ sentence: String?) throws {
        guard let sentence else {
            _ = try compose(list)
            return
        }
        let found = try problems(list)
        #expect(found.contains { $0.problem.contains(sentence) }, "\(found)")
    }
}
