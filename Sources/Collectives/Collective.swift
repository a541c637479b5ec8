/// The ranks of a run: processes that take its steps together, on one machine or several.
///
/// All ranks make the same calls in the same order; each returns when this rank's part is done. A phase ("step 12: losses") says
/// what a call is for, and is named when a rank does not come. One thread at a time.
package protocol Collective: AnyObject {
    /// 0 ..< ``size``; rank 0 prints and writes.
    var rank: Int { get }
    var size: Int { get }
    /// What the ranks reach each other by, as people call it.
    var carrier: String { get }

    /// Every rank's bytes, by rank.
    ///
    /// - Parameter patience: seconds that a rank is waited for at least; nil: the limit.
    func gather(_ bytes: [UInt8], phase: String, patience: Double?) throws(CollectiveError) -> [[UInt8]]

    /// In place: each segment becomes, at its owner, the sum over the ranks, added in their order in float64, whatever carries
    /// it. At other ranks it stays as it is.
    func reduce(_ values: UnsafeMutablePointer<Float>, _ segments: [Segment], phase: String) throws(CollectiveError)

    /// In place: each segment becomes, at every rank, what its owner has.
    func share(_ values: UnsafeMutablePointer<Float>, _ segments: [Segment], phase: String) throws(CollectiveError)

    /// Each segment as its owner has it, at rank 0 into `target`, laid out as `values`; nil elsewhere.
    func collect(
        _ values: UnsafePointer<Float>, into target: UnsafeMutablePointer<Float>?, _ segments: [Segment], phase: String
    ) throws(CollectiveError)

    /// What went over the wire so far.
    var usage: WireUsage { get }

    /// Ends the processes of all ranks, with this code.
    func abort(_ code: Int32)

    /// Ends the conversation, when all ranks have come to their end.
    func finish() throws(CollectiveError)
}

/// A range of a buffer that one rank owns.
package struct Segment: Equatable, Sendable {
    package var offset: Int
    package var count: Int
    package var owner: Int

    package init(offset: Int, count: Int, owner: Int) { (self.offset, self.count, self.owner) = (offset, count, owner) }
}

/// What a rank has sent, and how long it has waited and worked for that.
package struct WireUsage: Sendable {
    /// Of float32 values.
    package var bytesSent = 0
    package var seconds = 0.0
}

extension Collective {
    package var isAlone: Bool { size == 1 }

    package func gather(_ bytes: [UInt8], phase: String) throws(CollectiveError) -> [[UInt8]] {
        try gather(bytes, phase: phase, patience: nil)
    }

    /// Returns when every rank has come here.
    package func barrier(phase: String, patience: Double? = nil) throws(CollectiveError) {
        _ = try gather([], phase: phase, patience: patience)
    }

    /// A text that rank 0 decides, at every rank.
    package func fromFirst(_ text: String, phase: String) throws(CollectiveError) -> String {
        String(decoding: try gather(Array(rank == 0 ? text.utf8 : "".utf8), phase: phase)[0], as: UTF8.self)
    }
}

/// The only rank of a run of one process.
package final class OneRank: Collective {
    package init() {}

    package var rank: Int { 0 }
    package var size: Int { 1 }
    package var carrier: String { "nothing" }
    package var usage: WireUsage { WireUsage() }

    package func gather(_ bytes: [UInt8], phase: String, patience: Double?) -> [[UInt8]] { [bytes] }
    package func reduce(_ values: UnsafeMutablePointer<Float>, _ segments: [Segment], phase: String) {}
    package func share(_ values: UnsafeMutablePointer<Float>, _ segments: [Segment], phase: String) {}

    package func collect(
        _ values: UnsafePointer<Float>, into target: UnsafeMutablePointer<Float>?, _ segments: [Segment], phase: String
    ) {
        guard let target else { return }
        for segment in segments {
            (target + segment.offset).update(from: values + segment.offset, count: segment.count)
        }
    }

    package func abort(_ code: Int32) {}
    package func finish() {}
}
