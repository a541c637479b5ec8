internal import Formats

/// Draws training batches: shuffled over all frames, images resized and augmented, numbers normalised.
///
/// A trajectory of T steps gives T - (chunk - 1) samples: sample t is the observation at t and the actions t ..<
/// t + chunk; its tail is dropped, not padded. Trajectories without an instruction give none.
///
/// Order and augmentation depend on (seed, epoch, sample) alone, never on threads: equal cursors give equal batches.
/// Each camera is augmented on its own.
///
/// Of several data sets, each sample's is drawn by weight; every one goes through epochs of its own and is normalised by
/// its own statistics.
package final class DemonstrationSampler {
    package let options: SamplingOptions
    /// Indices into the episodes of each data set.
    package let selections: [EpisodeSelection]
    /// Samples per epoch of all data sets.
    package var sampleCount: Int { orders.reduce(0) { $0 + $1.count } }
    /// Probability of each data set.
    package let shares: [Double]

    /// Of the first data set.
    package var trainingEpisodes: [Int] { selections[0].training }
    package var heldOutEpisodes: [Int] { selections[0].heldOut }

    /// Assign a saved cursor to continue from it; one that does not fit makes the next ``next()`` throw.
    package var cursor: DataCursor {
        get {
            guard orders.count > 1 else { return orders[0].cursor }
            return DataCursor(seed: seed, epoch: 0, position: drawn, parts: orders.map(\.cursor))
        }
        set {
            guard orders.count > 1 else {
                orders[0].cursor = newValue
                misfit = newValue.parts == nil ? nil : newValue
                return
            }
            (seed, drawn) = (newValue.seed, newValue.position)
            let parts = newValue.parts ?? []
            misfit = parts.count == orders.count && drawn >= 0 ? nil : newValue
            if misfit == nil { for index in parts.indices { orders[index].cursor = parts[index] } }
        }
    }

    let maker: BatchMaker
    private let samples: [SampleIndex]
    private var orders: [ShuffledOrder]
    /// Of a mixture: what the choice of data sets is drawn from, and how many choices were made.
    private var seed: UInt64
    private var drawn = 0
    /// A cursor that belongs to another number of data sets.
    private var misfit: DataCursor?

    package convenience init(
        _ dataset: any DemonstrationStore, statistics: DatasetStatistics, options: SamplingOptions
    ) throws(DataError) {
        try self.init([MixturePart(dataset: dataset, statistics: statistics)], options: options)
    }

    /// - Parameter parts: at least one. Weights are shares of the samples, in any unit; without weights (all nil) data sets
    ///   count by their number of samples.
    package init(_ parts: [MixturePart], options: SamplingOptions) throws(DataError) {
        try options.check()
        guard !parts.isEmpty else { throw DataError(.invalid, "Sampling: no data set is named; name at least one.") }
        maker = try BatchMaker(parts, options: options)
        self.options = options
        selections = parts.map {
            EpisodeSelection(
                $0.dataset.episodes, holdOutEvery: options.holdOutEvery, shots: options.shots,
                shotsSeed: options.shotsSeed)
        }
        var samples: [SampleIndex] = []
        for (part, selection) in zip(parts, selections) {
            let dataset = part.dataset
            let index = SampleIndex(dataset.episodes, selection.training, chunk: options.chunk)
            guard index.count > 0 else {
                throw DataError(
                    .empty,
                    "\(dataset.path): gives no samples: of \(dataset.episodes.count) episodes, "
                        + "\(selection.training.count) are left for training, and each needs an instruction and at least "
                        + "\(options.chunk) steps. Lower chunk or holdOutEvery, or use more data.")
            }
            guard index.count <= Int(UInt32.max) else {
                throw DataError(
                    .unsupported, "\(dataset.path): has \(index.count) samples; at most \(UInt32.max) are supported.")
            }
            samples.append(index)
        }
        self.samples = samples
        shares = try MixturePart.shares(parts, samples: samples.map(\.count))
        seed = options.seed
        orders = samples.enumerated().map { index, part in
            // A data set alone is drawn as it always was; in a mixture equal sizes must not give equal orders.
            var stream = RandomStream(options.seed, UInt64(index), 0x7061_7274)  // "part"
            return ShuffledOrder(count: part.count, seed: samples.count == 1 ? options.seed : stream.next() >> 16)
        }
    }

    /// The next batch of `batchSize` samples; a batch may begin in one epoch and end in the next.
    package func next() throws(DataError) -> DemonstrationBatch {
        let before = cursor
        do throws(DataError) {
            return try maker.batch(try nextDraws())
        } catch {
            // A failed batch was not given out: trying again reads the same one.
            cursor = before
            throw error
        }
    }

    /// Decides what the next batch is made of, which needs no file, and moves the cursor past it.
    func nextDraws() throws(DataError) -> [Draw] {
        if let misfit {
            throw DataError(
                .mismatched,
                "The data cursor is of \(misfit.parts?.count ?? 1) data sets, the run has \(orders.count): it was saved with "
                    + "other data. Resume with those, or start a new run.")
        }
        var draws: [Draw] = []
        for _ in 0..<options.batchSize {
            let part = nextPart()
            let (epoch, sample) = try orders[part].next()
            let (episode, step) = samples[part][sample]
            let key =
                options.augment
                ? Draw.Key(seed: orders[part].cursor.seed, epoch: epoch, sample: sample) : nil
            draws.append(Draw(part: part, episode: episode, step: step, augmentation: key))
        }
        return draws
    }

    private func nextPart() -> Int {
        guard orders.count > 1 else { return 0 }
        var stream = RandomStream(seed, UInt64(drawn), 0x6d69_7874_7572_65)  // "mixture"
        drawn += 1
        let point = Double(stream.next() >> 11) * 0x1p-53
        var sum = 0.0
        for (part, share) in shares.enumerated() {
            sum += share
            if point < sum { return part }
        }
        // Rounding can leave the sum a little below 1; a part of weight 0 is never drawn.
        return shares.lastIndex { $0 > 0 } ?? 0
    }

    /// Samples of the held-out episodes, evenly spaced over their frames, at most `maximumSamples`, in batches of
    /// `batchSize` (the last may be smaller); always the same ones, without augmentation.
    ///
    /// When training augments, images are the centre crop that an evaluator feeds to such a policy. Empty when nothing is
    /// held out. Holds maximumSamples * cameras * imageSize^2 * 3 bytes.
    package func heldOutBatches(maximumSamples: Int) throws(DataError) -> [DemonstrationBatch] {
        let held = zip(maker.parts, selections).map {
            SampleIndex($0.dataset.episodes, $1.heldOut, chunk: options.chunk)
        }
        let total = held.reduce(0) { $0 + $1.count }
        let count = min(max(maximumSamples, 0), total)
        let draws = (0..<count).map { i in
            var (part, sample) = (0, i * total / count)
            while sample >= held[part].count {
                sample -= held[part].count
                part += 1
            }
            let (episode, step) = held[part][sample]
            return Draw(part: part, episode: episode, step: step, augmentation: nil, centreCrop: options.augment)
        }
        var batches: [DemonstrationBatch] = []
        for start in stride(from: 0, to: count, by: options.batchSize) {
            batches.append(try maker.batch(Array(draws[start..<min(start + options.batchSize, count)])))
        }
        return batches
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
