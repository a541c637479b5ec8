public import PluginKit

/// The settings that name the objectives of a strategy on loss values, at most four.
public enum NamedObjectives {
    public static let first = Parameter("first", default: "action", "Name of the first objective.")
    public static let second = Parameter("second", default: "retention", "Name of the second objective.")
    public static let third = Parameter("third", default: "none", "Name of the third objective, if there is one.")
    public static let fourth = Parameter("fourth", default: "none", "Name of the fourth objective, if there is one.")
    public static var parameters: [any AnyParameter] { [first, second, third, fourth] }

    /// How many there are room for.
    public static let capacity = 4

    /// Throws when two of the settings name the same objective.
    public static func check(_ settings: Settings) throws {
        let names = try [first, second, third, fourth].map { try settings($0) }.filter { $0 != "none" }
        guard Set(names).count == names.count else {
            throw PluginError(
                "first, second, third and fourth name an objective twice: \(names.joined(separator: ", "))")
        }
    }
}

/// The named objectives of this run: where each one's row is, and its loss.
public struct NamedLosses {
    /// One per setting; `nil` where the run has no such objective.
    public let rows: [Int?]
    /// One per setting; `nil` where the run has no such objective.
    public let values: [Double?]

    /// - Parameters:
    ///   - rows: `index.{objective}`, one per setting.
    ///   - losses: `loss.{objective}`, one per setting.
    ///   - count: the number of objectives in the run.
    public init(rows: [Int?], losses: [Double?], count: Int) throws {
        for (row, loss) in zip(rows, losses) {
            if let row, row < 0 || row >= count {
                throw PluginError("an objective's row is \(row), but there are \(count) objectives")
            }
            if let loss, !loss.isFinite { throw PluginError("a loss is \(loss): the losses must be finite") }
        }
        self.rows = zip(rows, losses).map { $1 == nil ? nil : $0 }
        values = zip(rows, losses).map { $0 == nil ? nil : $1 }
    }

    /// The settings whose objective the run has.
    public var present: [Int] { values.indices.filter { values[$0] != nil } }

    /// Multiplies the weights of each objective in every block; a factor that is `nil` changes nothing.
    public func scale(
        _ weights: ArrayView<Double>, by factors: [Double?], into combined: MutableArrayView<Double>
    ) throws {
        if let index = weights.elements.firstIndex(where: { !$0.isFinite }) {
            throw PluginError("a weight is \(weights[index]): the weights must be finite")
        }
        combined.assign(weights)
        let size = weights.shape[1]
        for (row, factor) in zip(rows, factors) {
            guard let row, let factor else { continue }
            guard factor.isFinite else { throw PluginError("the factor of objective \(row) is \(factor)") }
            for block in 0..<weights.shape[0] { combined[block * size + row] = weights[block * size + row] * factor }
        }
    }
}

/// A strategy that weighs objectives by the values of their losses, without looking at gradients.
///
/// Conform, list `NamedObjectives.parameters` among the parameters and ``lossHook`` among the hooks, and write
/// ``factors(_:)``.
public protocol LossStrategy: Plugin {
    /// What each objective's weight is multiplied with in this step; `nil` to leave it. Called once per step.
    ///
    /// - Parameter losses: one per named objective; `nil` for one the run does not have.
    func factors(_ losses: [Double?]) throws -> [Double?]
}

extension LossStrategy {
    public static var lossHook: Hook<Self> {
        Hook<Self>(
            .gradientCombine, Input<ArrayView<Double>>("weights[k,m]"),
            Input<Int?>("index.{first}"), Input<Int?>("index.{second}"), Input<Int?>("index.{third}"),
            Input<Int?>("index.{fourth}"),
            Input<Double?>("loss.{first}"), Input<Double?>("loss.{second}"), Input<Double?>("loss.{third}"),
            Input<Double?>("loss.{fourth}"),
            Output<MutableArrayView<Double>>("weights[k,m]")
        ) { strategy, weights, row1, row2, row3, row4, loss1, loss2, loss3, loss4, combined in
            let losses = try NamedLosses(
                rows: [row1, row2, row3, row4], losses: [loss1, loss2, loss3, loss4], count: weights.shape[1])
            try losses.scale(weights, by: try strategy.factors(losses.values), into: combined)
        }
    }
}
