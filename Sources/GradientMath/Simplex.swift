/// The nearest vector of numbers that are not negative and sum to 1 (Held, Wolfe and Crowder 1974).
public func projectOntoSimplex(_ x: [Double]) -> [Double] {
    var shift = 0.0
    var sum = 0.0
    for (index, value) in x.sorted(by: >).enumerated() {
        sum += value
        let next = (sum - 1) / Double(index + 1)
        // The largest ones are above what they are shifted by.
        guard value > next else { break }
        shift = next
    }
    return x.map { max($0 - shift, 0) }
}
