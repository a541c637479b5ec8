internal import Formats

/// Which episodes a policy is trained on, and which are kept from it.
package struct EpisodeSelection: Equatable, Sendable {
    /// Indices into the data set's episodes, in stored order.
    package let training: [Int]
    package let heldOut: [Int]
    /// Instructions that have fewer episodes than were asked for, and how many they have.
    package let short: [String: Int]

    /// Episodes without an instruction are in neither part. The hold-out is taken first, so that few-shot training never
    /// shrinks it.
    ///
    /// - Parameters:
    ///   - holdOutEvery: every k-th episode is held out; 0 holds out none.
    ///   - shots: episodes of each instruction to train on; nil takes all. Instructions with fewer give what they have.
    ///   - shotsSeed: draws these at random from the seed; nil takes the first ones in stored order.
    package init(_ episodes: [Episode], holdOutEvery: Int = 0, shots: Int? = nil, shotsSeed: UInt64? = nil) {
        let usable = episodes.indices.filter { episodes[$0].isLabelled }
        let isHeldOut = { (rank: Int) in holdOutEvery > 0 && rank % holdOutEvery == holdOutEvery - 1 }
        let open = usable.enumerated().filter { !isHeldOut($0.offset) }.map(\.element)
        heldOut = usable.enumerated().filter { isHeldOut($0.offset) }.map(\.element)
        guard let shots else {
            (training, short) = (open, [:])
            return
        }
        var byInstruction: [String: [Int]] = [:]
        for index in open { byInstruction[episodes[index].instruction, default: []].append(index) }
        short = byInstruction.mapValues(\.count).filter { $0.value < shots }
        training = byInstruction.flatMap { instruction, indices -> ArraySlice<Int> in
            var order = indices
            if let shotsSeed {
                // Keyed by the text, so that other instructions in the set do not change what is drawn for this one.
                var stream = RandomStream(shotsSeed, FNV1a.hash(instruction), 0x7368_6f74_73)  // "shots"
                for last in stride(from: order.count - 1, to: 0, by: -1) {
                    order.swapAt(last, Int(stream.integer(below: UInt64(last + 1))))
                }
            }
            return order.prefix(shots)
        }.sorted()
    }
}
