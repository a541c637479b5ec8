import Formats
import Foundation
import Models
import Tensors
import TestSupport
import Testing
import Training

/// Forward values, losses and gradients against PyTorch (float64, stored as float32) on scaled-down checkpoints that
/// `scripts/reference/vla_reference.py` wrote.
@Suite struct ParityTests {
    static let cases: [String] =
        ((try? FileManager.default.contentsOfDirectory(atPath: BuildFolder.fixture("vla").path)) ?? []).sorted()

    @Test func thereAreCases() { #expect(Self.cases.count >= 4) }

    @Test(arguments: cases) func agreesWithPyTorch(_ name: String) throws {
        let path = BuildFolder.fixture("vla/\(name)").path
        let folder = try TemporaryFolder()
        let trace = try ModelTrace(folder: path, threads: 2)
        _ = try trace.write(
            inputs: path + "/inputs.safetensors", anchor: path + "/anchor.safetensors", multiplier: 0.3,
            to: folder.path("got.safetensors"))
        let got = try SafetensorsFile(path: folder.path("got.safetensors"))
        let expected = try SafetensorsFile(path: path + "/expected.safetensors")
        var worst = (forward: 0.0, gradient: 0.0)
        for key in expected.names where key != "hidden_mask" {
            let (have, want) = (try got.requiredEntry(key), try expected.requiredEntry(key))
            #expect(have.shape == want.shape, "\(key)")
            let error = Self.error(try got.floats(key), try expected.floats(key))
            let isGradient = key.hasPrefix("grad.")
            #expect(error < (isGradient ? 1e-3 : key == "conflict_ratio" ? 1e-6 : 1e-4), "\(name) \(key): \(error)")
            if isGradient {
                worst.gradient = max(worst.gradient, error)
            } else {
                worst.forward = max(worst.forward, error)
            }
        }
        // What PyTorch gives no gradient must get none here.
        for key in got.names where key.hasPrefix("grad.") && expected.entry(key) == nil {
            #expect(try got.floats(key).allSatisfy { $0 == 0 }, "\(name): \(key) has a gradient in craft alone")
        }
        print("parity \(name): forward \(worst.forward), gradients \(worst.gradient), \(expected.names.count) tensors")
    }

    /// Largest difference, relative to the largest expected value.
    static func error(_ got: [Float], _ want: [Float]) -> Double {
        guard got.count == want.count else { return .infinity }
        let scale = want.reduce(Float(1e-12)) { max($0, abs($1)) }
        let worst = zip(got, want).reduce(Float(0)) { max($0, $1.0.isFinite ? abs($1.0 - $1.1) : .infinity) }
        return Double(worst / scale)
    }

    /// An objective's gradients, each within 1e-3 of what `expected` has as `grad.OBJECTIVE.PARAMETER`, and zero where it has none.
    static func compareGradients(
        of objective: String, in step: TrainingStep, _ model: VLAModel, _ expected: SafetensorsFile
    ) throws {
        let accumulator = try #require(step.gradient(of: objective))
        var worst = 0.0
        var compared = 0
        for parameter in model.parameters.parameters where parameter.isTrainable {
            let got = (0..<parameter.count).map { accumulator.values.base[parameter.offset + $0] }
            let key = "grad.\(objective).\(parameter.name)"
            guard expected.entry(key) != nil else {
                #expect(got.allSatisfy { $0 == 0 }, "\(parameter.name) has a gradient of \(objective) in craft alone")
                continue
            }
            let error = error(got, try expected.floats(key))
            worst = max(worst, error)
            compared += 1
            #expect(error < 1e-3, "\(objective), \(parameter.name): \(error)")
        }
        #expect(compared == expected.names.filter { $0.hasPrefix("grad.\(objective).") }.count)
        print("parity \(objective): \(compared) gradients, worst relative error \(worst)")
    }
}
