import PluginKit

/// One block's inner products of the action and the constraint gradient.
struct GramPair {
    /// `|g_a|^2`
    let action: Double
    /// `<g_a, g_c>`
    let cross: Double
    /// `|g_c|^2`
    let constraint: Double
    let numel: Double

    /// Both gradients reach the block.
    var isShared: Bool { action > 0 && constraint > 0 }

    /// Strictly opposed, by more than the rounding of the inner product itself: `cross` below `-2^-52 |g_a| |g_c|`. The
    /// bound is relative, so scaling either gradient changes nothing.
    var isConflict: Bool {
        isShared && cross < -0x1p-52 * (action.squareRoot() * constraint.squareRoot())
    }

    /// The least multiplier of the constraint with which the combined gradient does not increase its loss.
    var multiplierFloor: Double {
        guard isConflict else { return 0 }
        let floor = -cross / constraint
        return floor.isFinite ? floor : 0
    }
}

/// Every block's pair.
struct GramPairs {
    let blocks: [GramPair]

    /// - Parameters:
    ///   - gram: `[K,M,M]`.
    ///   - numel: `[K]`.
    ///   - action: row of the projected objective.
    ///   - constraint: row of the protected one.
    init(_ gram: ArrayView<Double>, numel: ArrayView<Int64>, action: Int, constraint: Int) throws {
        let (count, size) = (gram.shape[0], gram.shape[1])
        guard (0..<size).contains(action), (0..<size).contains(constraint), action != constraint else {
            throw PluginError("rows \(action) and \(constraint) of a \(size) by \(size) Gram matrix")
        }
        if let index = gram.elements.firstIndex(where: { !$0.isFinite }) {
            let (block, entry) = index.quotientAndRemainder(dividingBy: size * size)
            throw PluginError(
                "gram[\(block),\(entry / size),\(entry % size)] is \(gram[index]): the gradients must be finite")
        }
        blocks = (0..<count).map { block in
            func entry(_ row: Int, _ column: Int) -> Double { gram[block, row, column] }
            return GramPair(
                action: entry(action, action), cross: entry(action, constraint),
                constraint: entry(constraint, constraint), numel: Double(numel[block]))
        }
    }

    /// The largest multiplier with which the combined step still does not increase the action loss to first order:
    ///
    ///     sum_b w_b (G_aa + c_b G_ac)  +  lambda * sum_b G_ac  >=  0,        c_b the block's floor
    ///
    /// `nil` when there is no such limit, the gradients agreeing as a whole.
    func largestMultiplier(actionWeights: [Double], floors: [Double]) -> Double? {
        var kept = 0.0
        var slope = 0.0
        for (index, block) in blocks.enumerated() {
            kept += actionWeights[index] * (block.action + floors[index] * block.cross)
            slope -= block.cross
        }
        guard slope > 0 else { return nil }
        let limit = max(kept, 0) / slope
        return limit.isFinite ? limit : nil
    }
}

/// How much two gradients disagree. The ratio alone says little, sign noise gives 0.3 to 0.5: read it with the cosine.
/// All of it is over the blocks that both gradients reach; `nil` when there are none.
struct ConflictStatistics {
    /// Share of blocks in conflict.
    let ratio: Double?
    /// Share of parameters in such blocks.
    let ratioByNumel: Double?
    /// Cosine between the two gradients.
    let cosine: Double?
    /// `|g_c| / |g_a|`
    let normRatio: Double?

    init(_ pairs: GramPairs) {
        let shared = pairs.blocks.filter(\.isShared)
        let conflicts = shared.filter(\.isConflict)
        let sum = { (blocks: [GramPair], value: (GramPair) -> Double) in blocks.reduce(0) { $0 + value($1) } }
        let numel = sum(shared) { $0.numel }
        let action = sum(shared) { $0.action }.squareRoot()
        let constraint = sum(shared) { $0.constraint }.squareRoot()
        ratio = shared.isEmpty ? nil : Double(conflicts.count) / Double(shared.count)
        ratioByNumel = numel > 0 ? sum(conflicts) { $0.numel } / numel : nil
        // Divided one after the other: the product of two tiny norms may underflow.
        cosine = shared.isEmpty ? nil : min(max(sum(shared) { $0.cross } / action / constraint, -1), 1)
        normRatio = shared.isEmpty ? nil : constraint / action
    }
}
