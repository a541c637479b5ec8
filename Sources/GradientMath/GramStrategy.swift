public import PluginKit

extension BlockScope {
    /// The setting every strategy on Gram matrices has.
    public static let parameter = Parameter(
        "scope", default: BlockScope.global, "What is combined as one vector: one tensor, layer, module, or everything."
    )
}

/// A strategy whose user says what is combined as one vector, by the setting ``BlockScope/parameter``.
public protocol ScopedStrategy: Plugin {
    /// What is combined as one vector.
    var scope: BlockScope { get }
}

extension ScopedStrategy {
    /// `plan` sets the block scope.
    public static var scopeHook: Hook<Self> {
        Hook<Self>(.plan, Output<BlockScope>("block_scope")) { strategy, scope in scope.value = strategy.scope }
    }
}

/// A strategy that makes weights of each block's Gram matrix.
///
/// Conform, list ``gramHooks`` among the hooks, and write ``weights(_:_:block:)``.
public protocol GramStrategy: ScopedStrategy {
    /// The weights of one block.
    ///
    /// - Parameters:
    ///   - gram: the block's inner products.
    ///   - incoming: the weights so far, one per objective: multipliers, or what a strategy earlier in the list gave.
    ///   - block: the block's position.
    func weights(_ gram: Gram, _ incoming: [Double], block: Int) throws -> [Double]
}

extension GramStrategy {
    /// `plan` sets the block scope; `gradient_combine` replaces the weights.
    public static var gramHooks: [Hook<Self>] {
        [
            scopeHook,
            Hook<Self>(
                .gradientCombine, Input<ArrayView<Double>>("gram[k,m,m]"), Input<ArrayView<Double>>("weights[k,m]"),
                Output<MutableArrayView<Double>>("weights[k,m]")
            ) { strategy, gram, weights, combined in
                try strategy.combine(gram, weights, into: combined)
            },
        ]
    }

    /// Runs ``weights(_:_:block:)`` on every block.
    public func combine(
        _ gram: ArrayView<Double>, _ weights: ArrayView<Double>, into combined: MutableArrayView<Double>
    ) throws {
        try combineBlocks(gram, weights, into: combined) { try self.weights($0, $1, block: $2) }
    }
}

/// Calls `solve` with every block's Gram matrix and weights. What goes in is checked to be finite, and so is what comes
/// out.
public func combineBlocks(
    _ gram: ArrayView<Double>, _ weights: ArrayView<Double>, into combined: MutableArrayView<Double>,
    _ solve: (Gram, [Double], Int) throws -> [Double]
) throws {
    let (count, size) = (weights.shape[0], weights.shape[1])
    for block in 0..<count {
        let incoming = (0..<size).map { weights[block * size + $0] }
        if let row = incoming.firstIndex(where: { !$0.isFinite }) {
            throw PluginError("weights[\(block),\(row)] is \(incoming[row]): the weights must be finite")
        }
        let solved = try solve(try Gram(gram, block: block), incoming, block)
        guard solved.allSatisfy(\.isFinite) else {
            throw PluginError(
                "the weights of block \(block) are not finite (\(solved)): its gradients' lengths differ too much")
        }
        for row in 0..<size { combined[block * size + row] = solved[row] }
    }
}

/// What the incoming weights mean to a strategy that combines objectives by preference.
public enum Preference: String, SettingChoice {
    /// As they are.
    case weights
    /// Divided by their sum: a weighted mean.
    case mean

    /// The preferences; equal ones when the weights have no positive sum to divide by.
    public func vector(_ incoming: [Double]) -> [Double] {
        guard self == .mean else { return incoming }
        let sum = incoming.reduce(0, +)
        guard sum > 0 else { return incoming.map { _ in 1 / Double(incoming.count) } }
        return incoming.map { $0 / sum }
    }
}
