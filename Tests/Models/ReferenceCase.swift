import Foundation
import Models
import Tensors
import TestSupport

/// A scaled-down checkpoint written by the PyTorch reference (`scripts/reference/vla_reference.py`), run through our
/// model: forward pass, anchor features, both backward passes.
struct ReferenceCase {
    let folder: ModelFolder
    let model: VLAModel
    let inputs: SafetensorsFile
    let expected: SafetensorsFile
    let tape: Tape
    let layer: Int

    init(_ name: String) throws {
        let path = BuildFolder.fixture("vla/\(name)").path
        folder = try ModelFolder(path: path)
        model = VLAModel(
            config: folder.config, fineTuning: folder.adapterSettings.map(FineTuning.lowRank) ?? .full)
        let absent = try folder.load(into: model)
        guard absent.isEmpty else { throw ModelError("\(path): not stored: \(absent)") }
        inputs = try SafetensorsFile(path: path + "/inputs.safetensors")
        expected = try SafetensorsFile(path: path + "/expected.safetensors")
        tape = Tape(parameters: model.parameters, parallel: Parallel(threads: 2))
        layer = (folder.config.decoder.layers + 1) / 2
    }

    var taps: [FeatureTap] {
        [
            FeatureTap(name: "visual", layer: layer, tokens: .visual, pooling: 1),
            FeatureTap(name: "query", layer: folder.config.decoder.layers, tokens: .query, pooling: 1),
        ]
    }

    func input() throws -> ModelInput {
        let ids = try inputs.integers("input_ids")
        let mask = try inputs.integers("attention_mask")
        let batch = inputs.entry("proprio")?.shape[0] ?? 0
        let width = ids.count / batch
        let prompts = (0..<batch).map { sample in
            (0..<width).filter { mask[sample * width + $0] == 1 }.map { Int32(ids[sample * width + $0]) }
        }
        return ModelInput(
            images: .normalised(try inputs.floats("pixel_values")), cameras: folder.config.cameras, prompts: prompts,
            action: .init(proprio: try inputs.floats("proprio")))
    }

    /// Weights by parameter id with the anchor file's tensors in place of the current ones.
    func anchorTable(_ buffers: inout [FloatBuffer]) throws -> [UnsafePointer<Float>] {
        let anchor = try SafetensorsFile(path: folder.path + "/anchor.safetensors")
        var table = model.parameters.currentWeights()
        for name in anchor.names {
            guard let id = model.parameters.id(of: name) else { throw ModelError("anchor tensor \(name) is unknown") }
            let buffer = FloatBuffer(count: model.parameters[id].count)
            try anchor.copyFloats(name, into: buffer.base, count: buffer.count)
            buffers.append(buffer)
            table[id] = UnsafePointer(buffer.base)
        }
        return table
    }

    static func values(_ tensor: Tensor) -> [Float] {
        Array(UnsafeBufferPointer(start: tensor.values, count: tensor.count))
    }

    /// Largest difference, relative to the largest expected value.
    static func error(_ got: [Float], _ want: [Float]) -> Double {
        guard got.count == want.count else { return .infinity }
        let scale = want.reduce(Float(1e-12)) { max($0, abs($1)) }
        let worst = zip(got, want).reduce(Float(0)) { max($0, $1.0.isFinite ? abs($1.0 - $1.1) : .infinity) }
        return Double(worst / scale)
    }
}
