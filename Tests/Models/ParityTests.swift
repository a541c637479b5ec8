import Foundation
import Models
import Tensors
import TestSupport
import Testing

/// Forward values, losses and gradients against PyTorch (float64, stored as float32).
@Suite struct ParityTests {
    static let cases: [String] =
        ((try? FileManager.default.contentsOfDirectory(atPath: BuildFolder.fixture("vla").path)) ?? []).sorted()

    @Test func thereAreCases() { #expect(Self.cases.count >= 3) }

    @Test(arguments: cases) func agreesWithPyTorch(_ name: String) throws {
        let reference = try ReferenceCase(name)
        let (model, tape, expected) = (reference.model, reference.tape, reference.expected)
        let input = try reference.input()
        let batch = input.prompts.count

        var buffers: [FloatBuffer] = []
        tape.reset(weights: try reference.anchorTable(&buffers), recording: false)
        let anchorOutput = model.forward(input, taps: reference.taps, on: tape)
        let anchor = anchorOutput.features.map { ReferenceCase.values($0.tensor) }

        tape.reset(weights: model.parameters.currentWeights(), recording: true)
        let output = model.forward(input, taps: reference.taps, on: tape)
        var forwardErrors: [String: Double] = [:]
        func check(_ key: String, _ got: [Float]) throws {
            forwardErrors[key] = ReferenceCase.error(got, try expected.floats(key))
        }

        let mask = try expected.integersOrFloats("hidden_mask")
        for (index, state) in output.hiddenStates.enumerated() {
            var values = ReferenceCase.values(state)
            for row in 0..<state.rows where mask[row] == 0 {
                for column in 0..<state.columns { values[row * state.columns + column] = 0 }
            }
            try check("hidden_states.\(index)", values)
        }
        try check("projected_patches", ReferenceCase.values(output.projectedPatches))
        let predictedTensor = try #require(output.predictedActions)
        let predicted = ReferenceCase.values(predictedTensor)
        try check("predicted_actions", predicted)
        let width = model.config.decoder.hiddenSize
        let features = output.features.map { ReferenceCase.values($0.tensor) }
        func joined(_ parts: [[Float]]) -> [Float] {
            (0..<batch).flatMap { row in parts.flatMap { $0[row * width..<(row + 1) * width] } }
        }
        try check("features", joined(features))
        try check("features.anchor", joined(anchor))
        let actions = try reference.inputs.floats("actions")
        let l1 = zip(predicted, actions).reduce(0.0) { $0 + Double(abs($1.0 - $1.1)) } / Double(actions.count)
        try check("loss.action", [Float(l1)])
        let count = Double(2 * width * batch)
        let retention =
            zip(features.joined(), anchor.joined()).reduce(0.0) { $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) } / count
        try check("loss.retention", [Float(retention)])
        for (key, error) in forwardErrors { #expect(error < 1e-4, "\(name) \(key): \(error)") }

        let signs = zip(predicted, actions).map { Float($0 > $1 ? 1 : $0 < $1 ? -1 : 0) / Float(actions.count) }
        let action = GradientAccumulator(parameters: model.parameters)
        let drift = GradientAccumulator(parameters: model.parameters)
        signs.withUnsafeBufferPointer { seed in
            if let start = seed.baseAddress { tape.backward(seeds: [(predictedTensor, start)], scale: 1, into: action) }
        }
        let cotangents = zip(features, anchor).map { zip($0, $1).map { 2 * ($0 - $1) / Float(count) } }
        cotangents[0].withUnsafeBufferPointer { visual in
            cotangents[1].withUnsafeBufferPointer { query in
                if let visual = visual.baseAddress, let query = query.baseAddress {
                    tape.backward(
                        seeds: [(output.features[0].tensor, visual), (output.features[1].tensor, query)], scale: 1,
                        into: drift)
                }
            }
        }
        var compared = 0
        var gradientErrors: [String: Double] = [:]
        for key in expected.names where key.hasPrefix("grad.") {
            let parts = key.split(separator: ".", maxSplits: 2).map(String.init)
            let id = try #require(model.parameters.id(of: parts[2]), "\(key)")
            let parameter = model.parameters[id]
            func slice(_ source: GradientAccumulator) -> [Float] {
                Array(UnsafeBufferPointer(start: source.values.base + parameter.offset, count: parameter.count))
            }
            let got: [Float]
            switch parts[1] {
            case "action": got = slice(action)
            case "retention": got = slice(drift)
            default:
                let (a, r) = (slice(action), slice(drift))
                let dot = zip(a, r).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
                let norm = r.reduce(0.0) { $0 + Double($1) * Double($1) }
                let weight = Float(0.3 + (dot < 0 ? -dot / (norm + 1e-8) : 0))
                got = drift.isReached[id] ? zip(a, r).map { $0 + weight * $1 } : a
            }
            gradientErrors[key] = ReferenceCase.error(got, try expected.floats(key))
            compared += 1
        }
        for (key, error) in gradientErrors { #expect(error < 1e-3, "\(name) \(key): \(error)") }
        #expect(compared > 50)
        let worst = (forwardErrors.values.max() ?? 0, gradientErrors.values.max() ?? 0)
        print("parity \(name): forward \(worst.0), gradients \(worst.1), \(compared) gradients")
    }
}

extension SafetensorsFile {
    func integersOrFloats(_ name: String) throws -> [Int64] {
        if let values = try? integers(name) { return values }
        return try floats(name).map { Int64($0) }
    }
}
