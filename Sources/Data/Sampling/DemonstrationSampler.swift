/// How batches are drawn from demonstrations.
public struct SamplingOptions: Codable, Sendable {
    public var batchSize: Int
    /// Side of the square images, pixels.
    public var imageSize: Int
    /// In the order in which the policy sees them.
    public var cameras: [String]
    /// Random crop and colour changes; see ``DemonstrationSampler``.
    public var augment: Bool
    public var seed: UInt64
    /// H, the number of future actions of a sample, its own included.
    public var chunk: Int
    /// Every k-th episode is kept from training; 0 keeps none.
    public var holdOutEvery: Int
    /// Train on the first N episodes of each instruction; nil trains on all.
    public var shots: Int?
    /// Draw each augmentation parameter on its own. The reference draws one number for all of them; that is the default.
    public var independentAugmentation: Bool

    public init(
        batchSize: Int, imageSize: Int, cameras: [String] = ["image", "wrist_image"], augment: Bool = true,
        seed: UInt64 = 0, chunk: Int = 8, holdOutEvery: Int = 0, shots: Int? = nil,
        independentAugmentation: Bool = false
    ) {
        self.batchSize = batchSize
        self.imageSize = imageSize
        self.cameras = cameras
        self.augment = augment
        self.seed = seed
        self.chunk = chunk
        self.holdOutEvery = holdOutEvery
        self.shots = shots
        self.independentAugmentation = independentAugmentation
    }
}

/// B samples, as the policy takes them.
public struct DemonstrationBatch: Sendable {
    /// B.
    public let count: Int
    public let cameras: [String]
    /// S.
    public let imageSize: Int
    /// [B, cameras, S, S, 3] row major, RGB.
    public let images: [UInt8]
    /// B texts as stored; prompts lower-case them.
    public let instructions: [String]
    /// [B, 8] normalised.
    public let proprio: [Float]
    /// [B, chunk, 7] normalised.
    public let actions: [Float]
}

/// Draws training batches: shuffled over all frames, images resized and augmented, numbers normalised.
///
/// A trajectory of T steps gives T - (chunk - 1) samples: sample t is the observation at t and the actions t ..<
/// t + chunk; its tail is dropped, not padded. Trajectories without an instruction give none.
///
/// Order and augmentation depend on (seed, epoch, sample) alone, never on threads: equal cursors give equal batches.
/// Each camera is augmented on its own; see ``SamplingOptions/independentAugmentation``.
public final class DemonstrationSampler {
    public let options: SamplingOptions
    /// Indices into the data set's episodes.
    public let trainingEpisodes: [Int]
    public let heldOutEpisodes: [Int]
    /// Samples per epoch.
    public var sampleCount: Int { order.count }

    /// Assign a saved cursor to continue from it; one that does not fit makes the next ``next()`` throw.
    public var cursor: DataCursor {
        get { order.cursor }
        set { order.cursor = newValue }
    }

    private let dataset: DemonstrationDataset
    private let statistics: DatasetStatistics
    private let cameras: [Int]
    private let resizer: LanczosResizer
    private let samples: SampleIndex
    private var order: ShuffledOrder

    public init(
        _ dataset: DemonstrationDataset, statistics: DatasetStatistics, options: SamplingOptions
    ) throws(DataError) {
        for (name, value, range) in [
            ("batchSize", options.batchSize, 1...65_536), ("imageSize", options.imageSize, 1...4_096),
            ("chunk", options.chunk, 1...10_000), ("holdOutEvery", options.holdOutEvery, 0...Int.max),
            ("shots", options.shots ?? 1, 1...Int.max),
        ] where !range.contains(value) {
            throw DataError(
                "Sampling: \(name) is \(value), expected \(range.lowerBound)"
                    + (range.upperBound == .max ? " or more." : " to \(range.upperBound)."))
        }
        guard !options.cameras.isEmpty else { throw DataError("Sampling: no camera is named; name at least one.") }
        var indices: [Int] = []
        for camera in options.cameras {
            guard let index = dataset.cameras.firstIndex(where: { $0.name == camera }) else {
                throw DataError(
                    "\(dataset.path): has no camera '\(camera)'; it has: "
                        + "\(dataset.cameras.map(\.name).joined(separator: ", ")).")
            }
            indices.append(index)
        }
        self.dataset = dataset
        self.statistics = statistics
        self.options = options
        cameras = indices
        resizer = LanczosResizer(size: options.imageSize)
        (trainingEpisodes, heldOutEpisodes) = Self.split(dataset.episodes, options)
        samples = SampleIndex(dataset.episodes, trainingEpisodes, chunk: options.chunk)
        guard samples.count > 0 else {
            throw DataError(
                "\(dataset.path): gives no samples: of \(dataset.episodes.count) episodes, \(trainingEpisodes.count) "
                    + "are left for training, and each needs an instruction and at least \(options.chunk) steps. "
                    + "Lower chunk or holdOutEvery, or use more data.")
        }
        guard samples.count <= Int(UInt32.max) else {
            throw DataError("\(dataset.path): has \(samples.count) samples; at most \(UInt32.max) are supported.")
        }
        order = ShuffledOrder(count: samples.count, seed: options.seed)
    }

    /// Both parts in stored order. Episodes without an instruction are in neither. The hold-out is taken first, so that
    /// few-shot training never shrinks it.
    private static func split(_ episodes: [Episode], _ options: SamplingOptions) -> (training: [Int], heldOut: [Int]) {
        let usable = episodes.indices.filter { !episodes[$0].instruction.isEmpty }
        let every = options.holdOutEvery
        let isHeldOut = { (rank: Int) in every > 0 && rank % every == every - 1 }
        var training = usable.enumerated().filter { !isHeldOut($0.offset) }.map(\.element)
        if let shots = options.shots {
            var taken: [String: Int] = [:]
            training = training.filter { index in
                taken[episodes[index].instruction, default: 0] += 1
                return taken[episodes[index].instruction]! <= shots
            }
        }
        return (training, usable.enumerated().filter { isHeldOut($0.offset) }.map(\.element))
    }

    /// The next batch of `batchSize` samples; a batch may begin in one epoch and end in the next.
    public func next() throws(DataError) -> DemonstrationBatch {
        let before = order.cursor
        do throws(DataError) {
            var draws: [Draw] = []
            for _ in 0..<options.batchSize {
                let (epoch, sample) = try order.next()
                let (episode, step) = samples[sample]
                let key =
                    options.augment
                    ? Draw.Key(
                        seed: cursor.seed, epoch: epoch, sample: sample, independent: options.independentAugmentation)
                    : nil
                draws.append(Draw(episode: episode, step: step, augmentation: key))
            }
            return try batch(draws)
        } catch {
            // A failed batch was not given out: trying again reads the same one.
            order.cursor = before
            throw error
        }
    }

    /// Samples of the held-out episodes, evenly spaced over their frames, at most `maximumSamples`, in batches of
    /// `batchSize` (the last may be smaller); always the same ones, without augmentation.
    ///
    /// When training augments, images are the centre crop that an evaluator feeds to such a policy. Empty when nothing is
    /// held out. Holds maximumSamples * cameras * imageSize^2 * 3 bytes.
    public func heldOutBatches(maximumSamples: Int) throws(DataError) -> [DemonstrationBatch] {
        let held = SampleIndex(dataset.episodes, heldOutEpisodes, chunk: options.chunk)
        let count = min(max(maximumSamples, 0), held.count)
        let draws = (0..<count).map { i in
            let (episode, step) = held[i * held.count / count]
            return Draw(episode: episode, step: step, augmentation: nil, centreCrop: options.augment)
        }
        var batches: [DemonstrationBatch] = []
        for start in stride(from: 0, to: count, by: options.batchSize) {
            batches.append(try batch(Array(draws[start..<min(start + options.batchSize, count)])))
        }
        return batches
    }

    private func batch(_ draws: [Draw]) throws(DataError) -> DemonstrationBatch {
        let images = parallelMap(count: draws.count * cameras.count) { [dataset, resizer, cameras] item in
            Result { () throws(DataError) in
                let camera = item % cameras.count
                let draw = draws[item / cameras.count]
                let stored = try dataset.image(episode: draw.episode, step: draw.step, camera: cameras[camera])
                return draw.view(of: resizer.resized(stored), camera: camera)
            }
        }
        var pixels: [UInt8] = []
        pixels.reserveCapacity(images.count * options.imageSize * options.imageSize * 3)
        for image in images { pixels += try image.get().pixels }

        var (proprio, actions): ([Float], [Float]) = ([], [])
        for draw in draws {
            let episode = dataset.episodes[draw.episode]
            let (p, a) = (Episode.proprioWidth, Episode.actionWidth)
            proprio += statistics.normaliseProprio(episode.proprio[(draw.step * p)..<((draw.step + 1) * p)])
            actions += statistics.normaliseAction(episode.actions[(draw.step * a)..<((draw.step + options.chunk) * a)])
        }
        return DemonstrationBatch(
            count: draws.count, cameras: options.cameras, imageSize: options.imageSize, images: pixels,
            instructions: draws.map { dataset.episodes[$0.episode].instruction }, proprio: proprio, actions: actions)
    }
}

/// One sample to make: which frame, and how its images are changed.
private struct Draw: Sendable {
    /// What the random changes depend on.
    struct Key { var seed: UInt64, epoch: Int, sample: Int, independent: Bool }

    var episode: Int
    var step: Int
    var augmentation: Key?
    var centreCrop = false

    func view(of image: RGBImage, camera: Int) -> RGBImage {
        if let key = augmentation {
            var stream = RandomStream(key.seed, UInt64(key.epoch), UInt64(key.sample), UInt64(camera))
            return Augmentation(drawnFrom: &stream, independent: key.independent).applied(to: image)
        }
        return centreCrop ? image.centreCropped() : image
    }
}

/// Numbers the samples of some episodes: sample = steps of the episodes before + step.
private struct SampleIndex {
    private var episodes: [Int] = []
    /// First sample of each episode.
    private var starts: [Int] = []
    private(set) var count = 0

    init(_ all: [Episode], _ chosen: [Int], chunk: Int) {
        for index in chosen where all[index].length >= chunk {
            episodes.append(index)
            starts.append(count)
            count += all[index].length - (chunk - 1)
        }
    }

    subscript(sample: Int) -> (episode: Int, step: Int) {
        var (low, high) = (0, starts.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if starts[middle] <= sample { low = middle } else { high = middle }
        }
        return (episodes[low], sample - starts[low])
    }
}
