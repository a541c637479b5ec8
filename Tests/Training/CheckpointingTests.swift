import Foundation
import Models
import Tensors
import TestSupport
import Testing

/// What saves memory or time in the backward pass changes nothing else: blocks that run again, and passes that follow
/// only the rows a cotangent can have reached.
@Suite struct CheckpointingTests {
    private func gradients(
        _ name: String, checkpoints: Bool = false, shortcuts: Shortcuts = .all, featuresOnly: Bool = false
    ) throws -> (values: [Float], reached: [Bool], bytes: Int) {
        let folder = try ModelFolder(path: BuildFolder.fixture("vla/\(name)").path)
        let config = folder.config
        let model = VLAModel(config: config, fineTuning: folder.adapterSettings.map(FineTuning.lowRank) ?? .full)
        #expect(try folder.load(into: model) == [])
        let tape = Tape(parameters: model.parameters, parallel: Parallel(threads: 2))
        tape.checkpointsSegments = checkpoints
        tape.shortcuts = shortcuts
        tape.reset(weights: model.parameters.currentWeights(), recording: true)
        let pixels = 2 * config.cameras * config.imageSize * config.imageSize * 3
        let output = model.forward(
            ModelInput(
                images: .rgb((0..<pixels).map { UInt8(truncatingIfNeeded: $0 &* 97) }), cameras: config.cameras,
                prompts: [[1, 2, 3, 4], [5, 6]],
                action: .init(proprio: (0..<2 * config.proprioDim).map { Float($0) / 9 })),
            taps: [FeatureTap(name: "visual", layer: 1, tokens: featuresOnly ? .visual : .all, pooling: 1)], on: tape)
        let accumulator = GradientAccumulator(parameters: model.parameters)
        let actions = try #require(output.predictedActions)
        // Two backward passes over one forward pass, as with two objectives.
        for tensor in [actions, output.features[0].tensor].suffix(featuresOnly ? 1 : 2) {
            tape.backward(seeds: [(tensor, UnsafePointer(tensor.values))], scale: 0.5, into: accumulator)
        }
        let values = Array(
            UnsafeBufferPointer(start: accumulator.values.base, count: model.parameters.trainableCount))
        return (values, accumulator.isReached, tape.bytes)
    }

    @Test(arguments: ["two-towers-qwen2-pro", "two-towers-qwen2-base-lora", "one-tower-llama-base"])
    func sameGradients(_ name: String) throws {
        let kept = try gradients(name, checkpoints: false)
        let again = try gradients(name, checkpoints: true)
        // Cotangents may be added in another order.
        let scale = kept.values.reduce(Float(0)) { max($0, abs($1)) }
        let worst = zip(kept.values, again.values).reduce(Float(0)) { max($0, abs($1.0 - $1.1)) }
        #expect(scale > 0 && worst / scale < 1e-5)
        let reached = kept.reached == again.reached
        #expect(reached)
    }

    @Test(arguments: ["two-towers-qwen2-pro", "two-towers-qwen2-base-lora", "one-tower-llama-base"])
    func rowsThatNoCotangentReachesAreLeftOut(_ name: String) throws {
        let limited = try gradients(name, featuresOnly: true)
        let whole = try gradients(name, shortcuts: [], featuresOnly: true)
        let scale = whole.values.reduce(Float(0)) { max($0, abs($1)) }
        let worst = zip(limited.values, whole.values).reduce(Float(0)) { max($0, abs($1.0 - $1.1)) }
        #expect(scale > 0 && worst / scale < 1e-5)
        #expect(limited.reached == whole.reached)
    }
}
