/// B questions with their images.
public struct VQABatch: Sendable {
    /// B.
    public let count: Int
    /// S.
    public let imageSize: Int
    /// [B, S, S, 3] row major, RGB.
    public let images: [UInt8]
    public let questions: [String]
    public let answers: [String]

    init(_ dataset: VQADataset, questions: [Int], resizer: LanczosResizer) throws(DataError) {
        let rows = questions.map { dataset.questions[$0] }
        var pixels: [UInt8] = []
        pixels.reserveCapacity(rows.count * resizer.size * resizer.size * 3)
        for image in parallelMap(
            count: rows.count,
            { index in
                Result { () throws(DataError) in try dataset.image(rows[index].image, resizer: resizer) }
            })
        {
            pixels += try image.get().pixels
        }
        count = rows.count
        imageSize = resizer.size
        images = pixels
        self.questions = rows.map(\.text)
        answers = rows.map(\.answer)
    }

    static func check(batchSize: Int, imageSize: Int) throws(DataError) {
        guard (1...65_536).contains(batchSize) else {
            throw DataError("Visual questions: batchSize is \(batchSize), expected 1 to 65536.")
        }
        guard (1...4_096).contains(imageSize) else {
            throw DataError("Visual questions: imageSize is \(imageSize), expected 1 to 4096.")
        }
    }
}

/// Draws batches of questions; each epoch is a permutation drawn from (seed, epoch).
public final class VQASampler {
    /// Assign a saved cursor to continue from it; one that does not fit makes the next ``next()`` throw.
    public var cursor: DataCursor {
        get { order.cursor }
        set { order.cursor = newValue }
    }

    private let dataset: VQADataset
    private let batchSize: Int
    private let resizer: LanczosResizer
    private var order: ShuffledOrder

    /// - Parameter imageSize: side of the square images, pixels.
    public init(_ dataset: VQADataset, batchSize: Int, imageSize: Int, seed: UInt64) throws(DataError) {
        try VQABatch.check(batchSize: batchSize, imageSize: imageSize)
        self.dataset = dataset
        self.batchSize = batchSize
        resizer = LanczosResizer(size: imageSize)
        order = ShuffledOrder(count: dataset.questions.count, seed: seed)
    }

    public func next() throws(DataError) -> VQABatch {
        let before = order.cursor
        do throws(DataError) {
            var chosen: [Int] = []
            for _ in 0..<batchSize { chosen.append(try order.next().sample) }
            return try VQABatch(dataset, questions: chosen, resizer: resizer)
        } catch {
            order.cursor = before
            throw error
        }
    }
}
