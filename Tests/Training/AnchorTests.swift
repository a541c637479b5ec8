import Formats
import Foundation
import Models
import Tensors
import TestSupport
import Testing
import Training

/// Anchor features come out the same from every source.
@Suite struct AnchorTests {
    /// Trains away from the start, then computes anchor features of one batch from each source.
    private func features(
        adapter: AdapterSettings?, sources: [AnchorWeights.Source]
    ) throws -> [[Float]] {
        let fixture = try StepFixture(adapter: adapter)
        let stored = fixture.folder.url.appendingPathComponent("stored").path
        try ModelFolder.save(fixture.model, to: stored, source: nil)
        let folder = try ModelFolder(path: stored)
        let anchors = try sources.map {
            try AnchorWeights(model: fixture.model, source: $0, folder: $0 == .copy ? nil : folder, initial: nil)
        }
        let batch = try RandomBatches(fixture.model.config, batchSize: 3).next()
        let taps = [
            FeatureTap(name: "visual", layer: 2, tokens: .visual, pooling: 1),
            FeatureTap(name: "query", layer: 3, tokens: .query, pooling: 0),
        ]
        let tape = Tape(parameters: fixture.model.parameters, parallel: fixture.parallel)
        func forward(_ weights: [WeightValues], _ usesAdapters: Bool) -> [Float] {
            tape.reset(weights: weights, recording: false)
            return fixture.model.forward(batch.input, taps: taps, usesAdapters: usesAdapters, on: tape).features
                .flatMap { Array(UnsafeBufferPointer(start: $0.tensor.values, count: $0.tensor.count)) }
        }
        let initial = forward(fixture.model.parameters.currentWeights(), true)
        let step = try fixture.step("BaselineL1", learningRate: 0.05)
        for index in 0..<3 {
            _ = try step.run(step: index, from: RandomBatches(fixture.model.config, batchSize: 3))
        }
        let moved = forward(fixture.model.parameters.currentWeights(), true)
        #expect(zip(initial, moved).contains { abs($0 - $1) > 1e-3 }, "training did not move the features")
        return [initial] + anchors.map { forward($0.table, $0.usesAdapters) }
    }

    private func expectEqual(_ results: [[Float]]) {
        for other in results.dropFirst() {
            #expect(zip(results[0], other).allSatisfy { abs($0 - $1) <= 1e-6 })
            #expect(results[0].count == other.count)
        }
    }

    @Test func adaptersOffSwapAndFileAgree() throws {
        expectEqual(
            try features(adapter: AdapterSettings(rank: 3, alpha: 6), sources: [.adaptersOff, .copy, .mapped]))
    }

    @Test func swapAndFileAgreeForFullFineTuning() throws {
        expectEqual(try features(adapter: nil, sources: [.copy, .mapped]))
    }

    /// Matrices of a file in 16 bits are read where they are: what is copied is small, and the features are the same.
    @Test func filesInSixteenBitsAreNotCopied() throws {
        let fixture = try StepFixture()
        let stored = fixture.folder.url.appendingPathComponent("stored").path
        try ModelFolder.save(fixture.model, to: stored, source: nil, storage: .bf16)
        let folder = try ModelFolder(path: stored)
        _ = try folder.load(into: fixture.model)
        let mapped = try AnchorWeights(model: fixture.model, source: .mapped, folder: folder, initial: nil)
        let copied = try AnchorWeights(model: fixture.model, source: .copy, folder: folder, initial: nil)
        #expect(mapped.residentBytes * 4 < copied.residentBytes)
        let batch = try RandomBatches(fixture.model.config, batchSize: 3).next()
        let tape = Tape(parameters: fixture.model.parameters, parallel: fixture.parallel)
        let features = [mapped, copied].map { anchor in
            tape.reset(weights: anchor.table, recording: false)
            let output = fixture.model.forward(
                batch.input, taps: [FeatureTap(name: "query", layer: 3, tokens: .query, pooling: 0)], on: tape)
            let tensor = output.features[0].tensor
            return Array(UnsafeBufferPointer(start: tensor.values, count: tensor.count))
        }
        expectEqual(features)
        #expect(features[0].contains { $0 != 0 })
    }

    /// A tap of all layers is the taps of each of them, sample by sample, one after the other.
    @Test(arguments: [0, 1])
    func allLayers(pooling: Int) throws {
        let fixture = try StepFixture()
        let batch = try RandomBatches(fixture.model.config, batchSize: 3).next()
        let tape = Tape(parameters: fixture.model.parameters, parallel: fixture.parallel)
        func features(_ layers: [Int]) -> [(values: [Float], mask: [Float], tokens: Int)] {
            tape.reset(weights: fixture.model.parameters.currentWeights(), recording: false)
            let taps = layers.map { FeatureTap(name: "t", layer: $0, tokens: .visualAndPrompt, pooling: pooling) }
            return fixture.model.forward(batch.input, taps: taps, on: tape).features.map { feature in
                (
                    Array(UnsafeBufferPointer(start: feature.tensor.values, count: feature.tensor.count)),
                    Array(UnsafeBufferPointer(start: feature.mask.values, count: feature.mask.count)), feature.tokens
                )
            }
        }
        let all = features([FeatureTap.allLayers])[0]
        let single = features([1, 2, 3])
        #expect(all.tokens == 3 * single[0].tokens)
        func interleaved(_ parts: [[Float]]) -> [Float] {
            let size = parts[0].count / 3
            return (0..<3).flatMap { sample in parts.flatMap { $0[sample * size..<(sample + 1) * size] } }
        }
        #expect(all.values == interleaved(single.map(\.values)))
        #expect(all.mask == interleaved(single.map(\.mask)))
    }

    /// The gradient reaches every layer's parameters, and nothing drifts in the first step.
    @Test(arguments: ["mse", "cosine", "linear_cka", "relative_mse"])
    func trainsOnAllLayers(distance: String) throws {
        let fixture = try StepFixture()
        let step = try fixture.step(
            "BaselineL1,AnchorVariants:layer=all:pooling=none:tokens=vision_plus_prompt:distance=\(distance),"
                + "CRaFTDual:budget=0.01:budget_unit=anchor_variance,UPGrad")
        let batches = RandomBatches(fixture.model.config, batchSize: 4)
        let first = try step.run(step: 0, from: batches)
        #expect(first.metrics["loss.retention"] == 0)
        let second = try step.run(step: 1, from: batches)
        #expect(try #require(second.metrics["loss.retention"]) > 0)
        let variance = try #require(second.metrics["retention_anchor_variance"])
        #expect(abs(try #require(second.metrics["retention_budget"]) - 0.01 * variance) <= 1e-12)
    }
}
