internal import Formats

/// B samples, as the policy takes them.
package struct DemonstrationBatch: Sendable {
    /// B.
    package let count: Int
    package let cameras: [String]
    /// S.
    package let imageSize: Int
    /// [B, cameras, S, S, 3] row major, RGB.
    package let images: [UInt8]
    /// B numbers, `episode * 10^6 + step`; of a mixture's data set number p, 10^15 p more.
    package let samples: [Int64]
    /// B texts as stored; prompts lower-case them.
    package let instructions: [String]
    /// [B, stateWidth] normalised.
    package let proprio: [Float]
    /// [B, chunk, actionWidth] normalised.
    package let actions: [Float]
}

/// One sample to make: which frame, and how its images are changed.
struct Draw: Sendable {
    /// What the random changes depend on.
    struct Key { var seed: UInt64, epoch: Int, sample: Int }

    /// Which data set of the mixture.
    var part: Int
    var episode: Int
    var step: Int
    var augmentation: Key?
    var centreCrop = false
}

/// Reads, decodes and normalises the samples of a batch. Has no state: any thread may make any batch.
final class BatchMaker: Sendable {
    let parts: [MixturePart]
    private let options: SamplingOptions
    /// Per part, the index of each camera of the options.
    private let cameras: [[Int]]
    private let resizer: LanczosResizer

    init(_ parts: [MixturePart], options: SamplingOptions) throws(DataError) {
        self.parts = parts
        self.options = options
        resizer = LanczosResizer(size: options.imageSize)
        var cameras: [[Int]] = []
        for part in parts {
            cameras.append(try options.cameras.map { (name) throws(DataError) in try part.dataset.camera(named: name) })
            guard part.dataset.embodiment == parts[0].dataset.embodiment else {
                throw DataError(
                    .mismatched,
                    "\(part.dataset.path): has \(part.dataset.embodiment.summary), \(parts[0].dataset.path) has "
                        + "\(parts[0].dataset.embodiment.summary); data sets of one run must have the same.")
            }
        }
        self.cameras = cameras
    }

    func batch(_ draws: [Draw]) throws(DataError) -> DemonstrationBatch {
        let cameraCount = options.cameras.count
        let images = parallelMap(count: draws.count * cameraCount, threads: options.threads) { item in
            Result { () throws(DataError) in
                let camera = item % cameraCount
                let draw = draws[item / cameraCount]
                let stored = try parts[draw.part].dataset.image(
                    episode: draw.episode, step: draw.step, camera: cameras[draw.part][camera])
                // Black, and not augmented: the reference's padding image.
                guard let stored else { return RGBImage.black(size: options.imageSize) }
                return Self.view(of: resizer.resized(stored), draw, camera: camera)
            }
        }
        var pixels: [UInt8] = []
        pixels.reserveCapacity(images.count * options.imageSize * options.imageSize * 3)
        for image in images { pixels += try image.get().pixels }

        var (proprio, actions): ([Float], [Float]) = ([], [])
        for draw in draws {
            let episode = parts[draw.part].dataset.episodes[draw.episode]
            let statistics = parts[draw.part].statistics
            let (p, a) = (episode.embodiment.stateWidth, episode.embodiment.actionWidth)
            proprio += statistics.normaliseProprio(episode.proprio[(draw.step * p)..<((draw.step + 1) * p)])
            actions += statistics.normaliseAction(episode.actions[(draw.step * a)..<((draw.step + options.chunk) * a)])
        }
        return DemonstrationBatch(
            count: draws.count, cameras: options.cameras, imageSize: options.imageSize, images: pixels,
            samples: draws.map(\.sampleID),
            instructions: draws.map { parts[$0.part].dataset.episodes[$0.episode].instruction(at: $0.step) },
            proprio: proprio,
            actions: actions)
    }

    /// An image as the policy gets it: augmented, cropped or as it is.
    private static func view(of image: RGBImage, _ draw: Draw, camera: Int) -> RGBImage {
        if let key = draw.augmentation {
            var stream = RandomStream(key.seed, UInt64(key.epoch), UInt64(key.sample), UInt64(camera))
            return Augmentation(drawnFrom: &stream).applied(to: image)
        }
        return draw.centreCrop ? image.centreCropped() : image
    }
}
