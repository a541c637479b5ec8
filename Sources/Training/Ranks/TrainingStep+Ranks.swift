internal import Collectives
internal import Models
internal import Tensors

extension TrainingStep {
    /// The optimizer's moments, the first and the second. Each rank has those of the pieces that it owns: at rank 0 they are
    /// copied together; elsewhere they are what they are.
    func collectMoments() throws -> (FloatBuffer, FloatBuffer) {
        let own = (optimizer.firstMoment, optimizer.secondMoment)
        guard let owners = pieces.owners else { return own }
        owners.phase = "moments"
        let isFirst = owners.collective.rank == 0
        func collect(_ buffer: FloatBuffer) throws -> FloatBuffer {
            let target = isFirst ? model.parameters.makeTrainableBuffer() : nil
            try owners.collective.collect(
                buffer.base, into: target?.base, owners.segments(), phase: owners.phase)
            return target ?? buffer
        }
        return (try collect(own.0), try collect(own.1))
    }

    /// Forgets the moments of what other ranks own, which a checkpoint had too.
    func releaseForeignMoments() {
        guard let owners = pieces.owners else { return }
        for segment in owners.segments() where segment.owner != owners.collective.rank {
            for buffer in [optimizer.firstMoment, optimizer.secondMoment] {
                buffer.release(segment.offset..<segment.offset + segment.count)
            }
        }
    }
}
