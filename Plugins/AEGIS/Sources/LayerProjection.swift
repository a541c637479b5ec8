import PluginKit

/// What the projection does to the two objectives' weights in each block, and what is measured on the way. It is over the
/// blocks that both gradients reach.
struct LayerProjection {
    /// By block: factors of the other objective's weight that are added to an objective's own.
    private var changes: [(anchor: Double, action: Double)]
    private let action: Int
    private let anchor: Int
    /// Share of the action gradient's squared length that goes; nil without one.
    let energyRemoved: Double?
    let conflictRatio: Double?
    let cosine: Double?

    init(_ gram: ArrayView<Double>, action: Int, anchor: Int, _ projection: AEGIS.Projection) throws {
        let size = gram.shape[1]
        guard (0..<size).contains(action), (0..<size).contains(anchor), action != anchor else {
            throw PluginError("rows \(action) and \(anchor) of a \(size) by \(size) Gram matrix")
        }
        (self.action, self.anchor) = (action, anchor)
        changes = []
        var (removed, energy, shared, conflicts) = (0.0, 0.0, 0, 0)
        var (dot, actionSquare, anchorSquare) = (0.0, 0.0, 0.0)
        for block in 0..<gram.shape[0] {
            let (a, c, cross) = (gram[block, action, action], gram[block, anchor, anchor], gram[block, action, anchor])
            guard a.isFinite, c.isFinite, cross.isFinite else {
                throw PluginError("gram of block \(block) is not finite: the gradients must be")
            }
            changes.append((0, 0))
            energy += a
            guard a > 0, c > 0 else { continue }
            shared += 1
            (dot, actionSquare, anchorSquare) = (dot + cross, actionSquare + a, anchorSquare + c)
            // Strictly opposed, by more than the rounding of the product itself.
            let isConflict = cross < -0x1p-52 * (a.squareRoot() * c.squareRoot())
            if isConflict { conflicts += 1 }
            let floors = (-cross / c, -cross / a)
            guard floors.0.isFinite, floors.1.isFinite else { continue }
            switch projection {
            case .conflict where isConflict, .always: changes[block] = (floors.0, 0)
            case .mutual where isConflict: changes[block] = floors
            default: continue
            }
            removed -= floors.0 * cross
        }
        energyRemoved = energy > 0 && removed.isFinite ? removed / energy : nil
        conflictRatio = shared > 0 ? Double(conflicts) / Double(shared) : nil
        let cosine = dot / actionSquare.squareRoot() / anchorSquare.squareRoot()
        self.cosine = shared > 0 && cosine.isFinite ? min(max(cosine, -1), 1) : nil
    }

    func apply(to combined: MutableArrayView<Double>, of weights: ArrayView<Double>) {
        for (block, change) in changes.enumerated() {
            combined[block, anchor] += weights[block, action] * change.anchor
            combined[block, action] += weights[block, anchor] * change.action
        }
    }
}
