internal import Formats

/// B questions with their images.
package struct VQABatch: Sendable {
    /// B.
    package let count: Int
    /// S.
    package let imageSize: Int
    /// [B, S, S, 3] row major, RGB.
    package let images: [UInt8]
    /// B places in the data set's list of questions.
    package let samples: [Int64]
    package let questions: [String]
    package let answers: [String]

    /// - Parameter variations: one per question, or none to take the images as they are.
    init(
        _ dataset: VQADataset, questions: [Int], resizer: LanczosResizer, variations: [ImageVariation] = []
    ) throws(DataError) {
        let rows = questions.map { dataset.questions[$0] }
        var pixels: [UInt8] = []
        pixels.reserveCapacity(rows.count * resizer.size * resizer.size * 3)
        for image in parallelMap(
            count: rows.count,
            { index in
                Result { () throws(DataError) in
                    let image = try dataset.image(rows[index].image, resizer: resizer)
                    return variations.isEmpty ? image : variations[index].applied(to: image)
                }
            })
        {
            pixels += try image.get().pixels
        }
        count = rows.count
        imageSize = resizer.size
        images = pixels
        samples = questions.map { Int64($0) }
        self.questions = rows.map(\.text)
        answers = rows.map(\.answer)
    }

    static func check(batchSize: Int, imageSize: Int) throws(DataError) {
        guard (1...65_536).contains(batchSize) else {
            throw DataError(.invalid, "Visual questions: batchSize is \(batchSize), expected 1 to 65536.")
        }
        guard (1...4_096).contains(imageSize) else {
            throw DataError(.invalid, "Visual questions: imageSize is \(imageSize), expected 1 to 4096.")
        }
    }
}

/// Draws batches of questions; each epoch is a permutation drawn from (seed, epoch), and an image's variation is drawn
/// from (seed, epoch, question), so that equal cursors give equal batches.
package final class VQASampler {
    /// Assign a saved cursor to continue from it; one that does not fit makes the next ``next()`` throw.
    package var cursor: DataCursor {
        get { order.cursor }
        set {
            order.cursor = newValue
            made = BatchShareCursor(made.share)
        }
    }

    package let dataset: VQADataset
    private let batchSize: Int
    private let augment: Bool
    private let resizer: LanczosResizer
    private var order: ShuffledOrder
    private var made: BatchShareCursor

    /// - Parameters:
    ///   - imageSize: side of the square images, pixels.
    ///   - augment: mirror and shift the images at random; answers about shape and colour stay true.
    ///   - share: those of a step's batches that are made.
    package init(
        _ dataset: VQADataset, batchSize: Int, imageSize: Int, seed: UInt64, augment: Bool = false,
        share: BatchShare = .all
    ) throws(DataError) {
        try VQABatch.check(batchSize: batchSize, imageSize: imageSize)
        self.dataset = dataset
        self.batchSize = batchSize
        self.augment = augment
        resizer = LanczosResizer(size: imageSize)
        order = ShuffledOrder(count: dataset.questions.count, seed: seed)
        made = BatchShareCursor(share)
    }

    /// Moves the cursor past batches, without making them.
    package func pass(_ batches: Int) throws(DataError) {
        for _ in 0..<batches * batchSize { _ = try order.next() }
    }

    package func next() throws(DataError) -> VQABatch {
        let (before, madeBefore) = (order.cursor, made)
        do throws(DataError) {
            try pass(made.before)
            var chosen: [Int] = []
            var variations: [ImageVariation] = []
            for _ in 0..<batchSize {
                let (epoch, sample) = try order.next()
                chosen.append(sample)
                guard augment else { continue }
                var stream = RandomStream(order.cursor.seed, UInt64(epoch), UInt64(sample), 0x696d_6167_65)  // "image"
                variations.append(ImageVariation(drawnFrom: &stream, side: resizer.size))
            }
            let batch = try VQABatch(dataset, questions: chosen, resizer: resizer, variations: variations)
            try pass(made.count())
            return batch
        } catch {
            (order.cursor, made) = (before, madeBefore)
            throw error
        }
    }
}
