public import PluginKit

/// In which order a row meets the others, where a strategy's result depends on it.
public struct VisitOrder {
    private var draws: RandomDraws

    /// - Parameters:
    ///   - seed: of the run or the instance.
    ///   - place: step, block, row.
    public init(seed: Int, place: [Int]) { draws = RandomDraws(seed: seed, place: place) }

    /// A random permutation (Fisher and Yates).
    public mutating func shuffled(_ items: [Int]) -> [Int] {
        var result = items
        for last in stride(from: result.count - 1, to: 0, by: -1) {
            // The high half of a 128-bit product: even to 2^-64.
            result.swapAt(last, Int(draws.next().multipliedFullWidth(by: UInt64(last + 1)).high))
        }
        return result
    }
}

/// Orders that somebody gives instead of random ones (`order`), one per objective.
public struct GivenOrders {
    private let rows: [[Int]]

    /// - Parameter orders: `[M,M]`, each row a permutation of the objectives.
    public init(_ orders: ArrayView<Int64>) throws {
        let size = orders.shape[0]
        rows = try (0..<size).map { row in
            let items = (0..<size).map { orders[row * size + $0] }
            guard items.sorted() == (0..<Int64(size)).map({ $0 }) else {
                throw PluginError("row \(row) of order is \(items): expected each of 0 to \(size - 1) once")
            }
            return items.map { Int($0) }
        }
    }

    /// In which order `row` meets those of `gram` that are not zero, as positions there.
    public func others(of row: Int, in gram: Gram) -> [Int] {
        rows[row].filter { $0 != row }.compactMap { gram.rows.firstIndex(of: $0) }
    }
}
