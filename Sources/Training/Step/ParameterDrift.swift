internal import Kernels
internal import Tensors

/// How far the trainable parameters are from where the run began, and the way back.
///
/// Takes a copy of them, made when the step is: a resumed run makes it of the weights that the run began with, before
/// those of its checkpoint are read.
final class ParameterDrift {
    /// Laid out as the trainable parameters.
    let initial: FloatBuffer
    private let parameters: ParameterSet
    private let pieces: BlockPieces
    private let parallel: Parallel

    init(_ parameters: ParameterSet, _ pieces: BlockPieces, _ parallel: Parallel) {
        self.parameters = parameters
        self.pieces = pieces
        self.parallel = parallel
        initial = parameters.makeTrainableBuffer()
        initial.base.update(from: parameters.trainable, count: parameters.trainableCount)
    }

    /// [k]: squared distance of each block from its start.
    func squares() throws -> [Double] {
        try pieces.sums(1, parallel) { piece, sums in
            withDistance(of: piece) { sums[0] = GradientGram.dot($0, $0, piece.count) }
        }
    }

    /// [k, m]: inner products of gradients with the distance.
    func products(with gradients: [GradientAccumulator]) throws -> [Double] {
        try pieces.sums(gradients.count, parallel) { piece, sums in
            withDistance(of: piece) { distance in
                for (row, gradient) in gradients.enumerated() {
                    sums[row] = GradientGram.dot(gradient.values.base + piece.offset, distance, piece.count)
                }
            }
        }
    }

    /// Adds `factors[block]` times the distance to a gradient.
    func add(_ factors: [Double], to gradient: GradientAccumulator) {
        parallel.ranges(pieces.pieces.count, grain: 1) { range in
            for piece in pieces.pieces[range] where factors[piece.block] != 0 {
                withDistance(of: piece) {
                    ck_axpy(Float(factors[piece.block]), $0, piece.count, gradient.values.base + piece.offset)
                }
            }
        }
        gradient.reach(Set(pieces.pieces.filter { factors[$0.block] != 0 }.map(\.parameter)))
    }

    /// Takes each block `shares[block]` of the way back: θ += c (θ0 - θ).
    func pull(_ shares: [Double]) {
        parallel.ranges(pieces.pieces.count, grain: 1) { range in
            for piece in pieces.pieces[range] where shares[piece.block] != 0 {
                let (values, start) = (parameters.trainable + piece.offset, initial.base + piece.offset)
                if shares[piece.block] == 1 {
                    values.update(from: start, count: piece.count)
                } else {
                    let share = Float(shares[piece.block])
                    for index in 0..<piece.count { values[index] += share * (start[index] - values[index]) }
                }
            }
        }
    }

    /// Valid within `body` alone.
    private func withDistance(of piece: BlockPieces.Piece, _ body: (UnsafePointer<Float>) -> Void) {
        withUnsafeTemporaryAllocation(of: Float.self, capacity: piece.count) { memory in
            guard let distance = memory.baseAddress else { return }
            let (values, start) = (parameters.trainable + piece.offset, initial.base + piece.offset)
            for index in 0..<piece.count { distance[index] = values[index] - start[index] }
            body(distance)
        }
    }
}
