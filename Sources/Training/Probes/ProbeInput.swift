internal import Data
internal import Formats
internal import Models
internal import Tensors

extension Probe {
    /// The probe's samples for a micro-batch: a prompt, cameras and a perturbation for each, drawn from the run's seed,
    /// the probe, the step and the micro-batch alone.
    func input(
        _ batch: ModelInput, imageSize: Int, seed: UInt64, step: Int, micro: Int, _ parallel: Parallel
    ) throws -> ModelInput {
        let count = batch.prompts.count
        let stream = RandomGenerator.stream("probe \(name)")
        var generator = RandomGenerator(seed: seed, stream: stream, UInt64(step), UInt64(micro))
        let order = generator.shuffled(Array(prompts.indices))
        let perturbations = mixture.draw(count, &generator)
        let chosen = (0..<count).map { _ in
            cameras == 0
                ? Array(0..<batch.cameras)
                : generator.shuffled(Array(0..<batch.cameras)).prefix(min(cameras, batch.cameras)).sorted()
        }
        let images: ModelInput.Images
        switch batch.images {
        case .rgb(let pixels):
            let view = BatchImages(pixels: pixels, cameras: batch.cameras, side: imageSize)
            images = .rgb(
                view.perturbed(perturbations, cameras: chosen, parallel) { sample in
                    RandomGenerator(seed: seed, stream: stream, UInt64(step), UInt64(micro), UInt64(sample) + 1)
                })
        case .normalised(let pixels):
            guard !mixture.changesImages else {
                throw TrainingError(
                    .mismatch,
                    "probe \(name) perturbs images, for which they have to be 8-bit RGB; this batch has normalised pixels"
                )
            }
            let size = pixels.count / (count * batch.cameras)
            images = .normalised(
                chosen.enumerated().flatMap { sample, cameras in
                    cameras.flatMap { camera -> ArraySlice<Float> in
                        let start = (sample * batch.cameras + camera) * size
                        return pixels[start..<start + size]
                    }
                })
        }
        return ModelInput(
            images: images, cameras: chosen.first?.count ?? batch.cameras,
            prompts: (0..<count).map { prompts[order[$0 % order.count]] }, wantsAnswer: readsLogits)
    }

    /// The largest input the probe can make of a micro-batch, to plan memory and compute with.
    func largestInput(_ batch: ModelInput, imageSize: Int) -> ModelInput {
        let images = cameras == 0 ? batch.cameras : min(cameras, batch.cameras)
        let longest = prompts.max { $0.count < $1.count } ?? [0]
        return ModelInput(
            images: .rgb([UInt8](repeating: 0, count: batch.prompts.count * images * imageSize * imageSize * 3)),
            cameras: images, prompts: batch.prompts.map { _ in longest }, wantsAnswer: readsLogits)
    }
}

/// The images of a micro-batch, [B, C, S, S, 3].
private struct BatchImages {
    let pixels: [UInt8]
    let cameras: Int
    let side: Int

    private var size: Int { side * side * 3 }

    private func image(_ sample: Int, _ camera: Int) -> RGBImage {
        let start = (sample * cameras + camera) * size
        return RGBImage(height: side, width: side, pixels: Array(pixels[start..<start + size]))
    }

    /// Images of the chosen cameras of each sample, perturbed.
    ///
    /// - Parameter generator: random numbers of a sample.
    func perturbed(
        _ perturbations: [Perturbation], cameras chosen: [[Int]], _ parallel: Parallel,
        generator: (Int) -> RandomGenerator
    ) -> [UInt8] {
        let count = perturbations.count
        let images = chosen.first?.count ?? 0
        return [UInt8](unsafeUninitializedCapacity: count * images * size) { buffer, initialized in
            guard let base = buffer.baseAddress else { return }
            nonisolated(unsafe) let (start, generator) = (base, generator)
            parallel.ranges(count, grain: 1) { samples in
                for sample in samples {
                    var random = generator(sample)
                    // Which other sample a mixture takes in: any but itself, where there are others.
                    let partner = count > 1 ? (sample + 1 + Int(random.next() % UInt64(count - 1))) % count : sample
                    for (index, camera) in chosen[sample].enumerated() {
                        let made = perturbations[sample].applied(
                            to: image(sample, camera), other: { image(partner, camera) }, &random)
                        (start + (sample * images + index) * size).update(from: made.pixels, count: size)
                    }
                }
            }
            initialized = count * images * size
        }
    }
}
