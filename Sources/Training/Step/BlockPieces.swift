internal import Collectives
internal import Tensors

/// The blocks' parameters cut into pieces that threads share.
struct BlockPieces {
    struct Piece {
        let block: Int
        /// Parameter id.
        let parameter: Int
        /// In the layout of the trainable parameters.
        let offset: Int
        /// In block order, end to end.
        let column: Int
        let count: Int
    }

    static let size = 1 << 16

    let pieces: [Piece]
    let blocks: Int
    /// Values of all pieces.
    let count: Int
    /// Those that this process updates, and sums are of.
    let own: [Piece]
    /// Whose the others are; nil: there are none.
    let owners: PieceOwners?

    init(_ blocks: ParameterBlocks, ranks: any Collective = OneRank()) {
        var pieces: [Piece] = []
        var column = 0
        for (index, block) in blocks.blocks.enumerated() {
            for parameter in block.parameters {
                for start in stride(from: 0, to: parameter.count, by: Self.size) {
                    let count = min(Self.size, parameter.count - start)
                    pieces.append(
                        Piece(
                            block: index, parameter: parameter.id, offset: parameter.offset + start, column: column,
                            count: count))
                    column += count
                }
            }
        }
        self.pieces = pieces
        self.blocks = blocks.blocks.count
        count = column
        owners = ranks.isAlone ? nil : PieceOwners(pieces, ranks)
        own = owners?.own ?? pieces
    }

    /// Sums by block of what each piece contributes, `width` numbers a piece. Pieces run in parallel and are added up in
    /// order, so that the sums do not depend on which thread, or which rank, did which.
    func sums(
        _ width: Int, _ parallel: Parallel, _ body: (Piece, UnsafeMutablePointer<Double>) -> Void
    ) throws -> [Double] {
        guard width > 0, !pieces.isEmpty else { return [] }
        return try withUnsafeTemporaryAllocation(of: Double.self, capacity: max(1, own.count * width)) {
            (partial: UnsafeMutableBufferPointer<Double>) throws -> [Double] in
            partial.initialize(repeating: 0)
            guard let start = partial.baseAddress else { return [] }
            parallel.ranges(own.count, grain: 1) { range in
                for index in range { body(own[index], start + index * width) }
            }
            let results = UnsafeBufferPointer(start: start, count: own.count * width)
            guard let owners else { return total(of: results, width) }
            return try owners.join(results, width: width).withUnsafeBufferPointer { total(of: $0, width) }
        }
    }

    /// - Parameter partial: `width` numbers for each piece.
    private func total(of partial: UnsafeBufferPointer<Double>, _ width: Int) -> [Double] {
        var sums = [Double](repeating: 0, count: blocks * width)
        for (index, piece) in pieces.enumerated() {
            for entry in 0..<width { sums[piece.block * width + entry] += partial[index * width + entry] }
        }
        return sums
    }
}
