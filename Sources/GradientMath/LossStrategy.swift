public import PluginKit

/// A strategy that weighs objectives by the values of their losses, without looking at gradients.
///
/// Conform, list ``lossHook`` among the hooks, and write ``factors(_:)``. What is remembered of an objective from step to
/// step is kept under its number; ``remember(_:of:from:)`` makes room for it.
public protocol LossStrategy: Plugin {
    /// What each objective's weight is multiplied with in this step; `nil` to leave it. Called once per step.
    ///
    /// - Parameter losses: one per objective of the run; `nil` for one without a loss in this step.
    func factors(_ losses: [Double?]) throws -> [Double?]
}

extension LossStrategy {
    /// `gradient_combine` scales each objective's weight by its factor.
    public static var lossHook: Hook<Self> {
        Hook<Self>(
            .gradientCombine, Input<ArrayView<Double>>("losses[m]"), Input<ArrayView<Double>>("weights[k,m]"),
            Input<ArrayView<Int64>?>("rows[m]"), Input<Int?>("objectives"),
            Output<MutableArrayView<Double>>("weights[k,m]")
        ) { strategy, losses, weights, rows, objectives, combined in
            let rows = try ObjectiveRows(rows, of: objectives, count: weights.shape[1])
            try rows.scale(weights, by: strategy.factors(try rows.finite(losses)), into: combined)
        }
    }
}

extension ObjectiveRows {
    /// A step's losses by objective of the run; `nil` for one without a row. Throws when one is not finite.
    public func finite(_ losses: ArrayView<Double>) throws -> [Double?] {
        var result = [Double?](repeating: nil, count: objectives)
        for (row, number) in numbers.enumerated() {
            guard losses[row].isFinite else {
                throw PluginError("losses[\(row)], a loss of objective \(number), is \(losses[row]): it must be finite")
            }
            result[number] = losses[row]
        }
        return result
    }

    /// Multiplies the weights of each objective in every block.
    ///
    /// - Parameter factors: one per objective of the run; one that is `nil` changes nothing.
    public func scale(
        _ weights: ArrayView<Double>, by factors: [Double?], into combined: MutableArrayView<Double>
    ) throws {
        if let index = weights.elements.firstIndex(where: { !$0.isFinite }) {
            throw PluginError("a weight is \(weights[index]): the weights must be finite")
        }
        combined.assign(weights)
        let size = weights.shape[1]
        for (row, number) in numbers.enumerated() {
            guard let factor = factors[number] else { continue }
            guard factor.isFinite else { throw PluginError("the factor of objective \(number) is \(factor)") }
            for block in 0..<weights.shape[0] { combined[block * size + row] = weights[block * size + row] * factor }
        }
    }
}

/// Makes room for one number per objective of the run where there is none yet. Throws when there is room for other ones:
/// the state of another run was loaded.
public func remember(_ values: inout [Double], of objectives: Int, from start: Double) throws {
    if values.isEmpty { values = [Double](repeating: start, count: objectives) }
    guard values.count == objectives else {
        throw PluginError(
            "the state is of \(values.count) objectives, but this run has \(objectives): it was saved with other objectives"
        )
    }
}

/// Throws what to say about a state by objectives' names, as it was saved before they had numbers.
public func checkStateByNumber(version: UInt32) throws {
    guard version >= 2 else {
        throw PluginError(
            "the saved state is of an earlier version, which kept four named objectives: begin a run of its own from the "
                + "checkpoint's model")
    }
}
