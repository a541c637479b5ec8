internal import Collectives
internal import Tensors

/// Which rank owns which pieces of the trainable parameters: it alone sums up their gradients, keeps their moments and updates
/// them.
///
/// Ranks take turns along the buffer, so that whatever part of it an objective reaches is about equally everybody's.
final class PieceOwners {
    let collective: any Collective
    /// By piece.
    private let owners: [Int]
    private let pieces: [BlockPieces.Piece]
    /// Indices of ``pieces`` in the order of the buffer.
    private let order: [Int]
    /// What the ranks are about, for messages.
    var phase = "start"

    /// Values in a row of one owner: long messages where there is much, and several turns where there is little.
    private static func turn(_ count: Int, ranks: Int) -> Int { max(1 << 14, min(1 << 20, count / (4 * ranks))) }

    init(_ pieces: [BlockPieces.Piece], _ collective: any Collective) {
        (self.pieces, self.collective) = (pieces, collective)
        order = pieces.indices.sorted { pieces[$0].offset < pieces[$1].offset }
        let turn = Self.turn(pieces.reduce(0) { $0 + $1.count }, ranks: collective.size)
        var owners = [Int](repeating: 0, count: pieces.count)
        var before = 0
        for index in order {
            owners[index] = before / turn % collective.size
            before += pieces[index].count
        }
        self.owners = owners
    }

    /// The pieces of this rank, in their order.
    var own: [BlockPieces.Piece] { zip(pieces, owners).filter { $1 == collective.rank }.map(\.0) }

    /// Where the pieces are of which a parameter, by id, is wanted, as long ranges of one owner.
    func segments(where isWanted: (Int) -> Bool = { _ in true }) -> [Segment] {
        var segments: [Segment] = []
        for index in order where isWanted(pieces[index].parameter) {
            let piece = pieces[index]
            // Tensors begin on a cache line: up to 15 values between two belong to none.
            if let last = segments.last, last.owner == owners[index],
                piece.offset - (last.offset + last.count) < 16
            {
                segments[segments.count - 1].count = piece.offset + piece.count - last.offset
            } else {
                segments.append(Segment(offset: piece.offset, count: piece.count, owner: owners[index]))
            }
        }
        return segments
    }

    /// Numbers of all pieces, `width` each in the order of pieces, of those that ranks have of their own.
    func join(_ own: UnsafeBufferPointer<Double>, width: Int) throws -> [Double] {
        let bytes = try collective.gather(Array(UnsafeRawBufferPointer(own)), phase: phase)
        var places = [Int](repeating: 0, count: collective.size)
        var joined: [Double] = []
        joined.reserveCapacity(pieces.count * width)
        for owner in owners {
            bytes[owner].withUnsafeBytes { raw in
                for index in 0..<width {
                    joined.append(raw.loadUnaligned(fromByteOffset: (places[owner] + index) * 8, as: Double.self))
                }
            }
            places[owner] += width
        }
        return joined
    }

    /// Gradients that each rank has of its own micro-batches become, in the pieces of each, the sum over all ranks.
    func reduce(_ gradient: GradientAccumulator) throws {
        try collective.reduce(gradient.values.base, segments { gradient.isReached[$0] }, phase: phase)
    }

    /// Every rank gets all of a gradient that was reduced.
    func complete(_ gradient: GradientAccumulator) throws {
        try collective.share(gradient.values.base, segments { gradient.isReached[$0] }, phase: phase)
    }
}
