internal import Formats
import Foundation

/// Where a sampler is: with the same data and options, enough to continue exactly.
package struct DataCursor: Codable, Equatable, Sendable {
    package var seed: UInt64
    package var epoch: Int
    /// Samples of this epoch that were already given out.
    package var position: Int
    /// Of a mixture: where each data set is. `position` then counts the samples of all, and `epoch` is 0.
    package var parts: [DataCursor]?

    package init(seed: UInt64, epoch: Int = 0, position: Int = 0, parts: [DataCursor]? = nil) {
        (self.seed, self.epoch, self.position, self.parts) = (seed, epoch, position, parts)
    }

    private enum CodingKeys: String, CodingKey { case seed, epoch, position, parts }

    /// Also from a text of its JSON, as it was kept in checkpoints before.
    package init(from decoder: any Decoder) throws {
        if let text = try? decoder.singleValueContainer().decode(String.self) {
            self = try JSONDecoder().decode(DataCursor.self, from: Foundation.Data(text.utf8))
            return
        }
        let values = try decoder.container(keyedBy: CodingKeys.self)
        seed = try values.decode(UInt64.self, forKey: .seed)
        epoch = try values.decode(Int.self, forKey: .epoch)
        position = try values.decode(Int.self, forKey: .position)
        parts = try values.decodeIfPresent([DataCursor].self, forKey: .parts)
    }
}

/// Endless passes over 0 ..< count; each epoch is a full permutation drawn from (seed, epoch).
///
/// The whole epoch is permuted because every sample can be read by position. There is no buffer to fill, the shuffle is
/// perfect whatever the data set's size, and the cursor is three numbers.
struct ShuffledOrder {
    let count: Int
    var cursor: DataCursor
    /// Of (seed, epoch) `drawnFor`.
    private var order: [UInt32] = []
    private var drawnFor: (seed: UInt64, epoch: Int)?

    /// - Precondition: count is at least 1 and fits in 32 bits.
    init(count: Int, seed: UInt64) {
        precondition(count > 0 && count <= Int(UInt32.max))
        self.count = count
        cursor = DataCursor(seed: seed)
    }

    /// The next sample and the epoch it belongs to.
    mutating func next() throws(DataError) -> (epoch: Int, sample: Int) {
        guard cursor.epoch >= 0, cursor.position >= 0, cursor.position <= count else {
            throw DataError(
                .mismatched,
                "The data cursor (epoch \(cursor.epoch), position \(cursor.position)) does not fit \(count) samples: it "
                    + "was saved with other data or options. Resume with those, or start a new run.")
        }
        if cursor.position == count {
            cursor.epoch += 1
            cursor.position = 0
        }
        if drawnFor == nil || drawnFor! != (cursor.seed, cursor.epoch) { shuffle() }
        let sample = Int(order[cursor.position])
        cursor.position += 1
        return (cursor.epoch, sample)
    }

    private mutating func shuffle() {
        var stream = RandomStream(cursor.seed, UInt64(cursor.epoch), 0x7368_7566_666c_65)  // "shuffle"
        order = Array(0..<UInt32(count))
        for last in stride(from: count - 1, to: 0, by: -1) {
            order.swapAt(last, Int(stream.integer(below: UInt64(last + 1))))
        }
        drawnFor = (cursor.seed, cursor.epoch)
    }
}
