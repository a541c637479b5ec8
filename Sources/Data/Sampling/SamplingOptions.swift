internal import Formats

/// How batches are drawn from demonstrations.
package struct SamplingOptions: Codable, Sendable {
    package var batchSize: Int
    /// Side of the square images, pixels.
    package var imageSize: Int
    /// In the order in which the policy sees them.
    package var cameras: [String]
    /// Random crop and colour changes; see ``DemonstrationSampler``.
    package var augment: Bool
    package var seed: UInt64
    /// H, the number of future actions of a sample, its own included.
    package var chunk: Int
    /// Every k-th episode is kept from training; 0 keeps none.
    package var holdOutEvery: Int
    /// Train on N episodes of each instruction; nil trains on all.
    package var shots: Int?
    /// Draws these N from a seed; nil takes the first in stored order.
    package var shotsSeed: UInt64?
    /// Threads that decode a batch; nil uses all cores.
    package var threads: Int?

    package init(
        batchSize: Int, imageSize: Int, cameras: [String] = ["image", "wrist_image"], augment: Bool = true,
        seed: UInt64 = 0, chunk: Int = 8, holdOutEvery: Int = 0, shots: Int? = nil, shotsSeed: UInt64? = nil,
        threads: Int? = nil
    ) {
        self.batchSize = batchSize
        self.imageSize = imageSize
        self.cameras = cameras
        self.augment = augment
        self.seed = seed
        self.chunk = chunk
        self.holdOutEvery = holdOutEvery
        self.shots = shots
        self.shotsSeed = shotsSeed
        self.threads = threads
    }

    func check() throws(DataError) {
        for (name, value, range) in [
            ("batchSize", batchSize, 1...65_536), ("imageSize", imageSize, 1...4_096), ("chunk", chunk, 1...10_000),
            ("holdOutEvery", holdOutEvery, 0...Int.max), ("shots", shots ?? 1, 1...Int.max),
            ("threads", threads ?? 1, 1...1_024),
        ] where !range.contains(value) {
            throw DataError(
                .invalid,
                "Sampling: \(name) is \(value), expected \(range.lowerBound)"
                    + (range.upperBound == .max ? " or more." : " to \(range.upperBound)."))
        }
        guard !cameras.isEmpty else { throw DataError(.invalid, "Sampling: no camera is named; name at least one.") }
    }
}
