import Testing

/// Row lengths around every vector width a kernel uses, with the empty row and a long odd one.
let lengths = [0, 1, 7, 15, 16, 17, 31, 64, 127, 1023]

/// Row counts around the blocks of two, four and eight rows in which parameter gradients are summed.
let rowCounts = [1, 2, 5, 11]

/// How far a float32 kernel may be from the float64 reference: `absolute + relative * |reference|`.
struct Tolerance: Sendable {
    var relative: Double
    var absolute: Double

    static let exact = Tolerance(relative: 0, absolute: 0)
    /// A few roundings of float32.
    static let rounding = Tolerance(relative: 4e-7, absolute: 1e-9)
}

/// Expects `actual` to be the reference within `tolerance`; reports the worst element only.
func expectClose(
    _ actual: [Float], _ reference: [Double], _ tolerance: Tolerance, _ what: String,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    guard actual.count == reference.count else {
        Issue.record("\(what): \(actual.count) values, expected \(reference.count)", sourceLocation: sourceLocation)
        return
    }
    var worst = (excess: 0.0, index: -1)
    for i in actual.indices {
        let error = abs(Double(actual[i]) - reference[i])
        let excess = error - (tolerance.absolute + tolerance.relative * abs(reference[i]))
        // Written so that a NaN counts as wrong.
        if !(excess <= worst.excess) { worst = (excess.isNaN ? .infinity : excess, i) }
    }
    if worst.index >= 0 {
        let i = worst.index
        Issue.record("\(what): element \(i) is \(actual[i]), expected \(reference[i])", sourceLocation: sourceLocation)
    }
}

/// SplitMix64: the same inputs on every run and machine.
struct Random {
    private var state: UInt64

    init(_ seed: Int) { state = UInt64(truncatingIfNeeded: seed) &* 0x9E37_79B9_7F4A_7C15 &+ 1 }

    mutating func bits() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// Uniform in `-scale ..< scale`, exactly a float32.
    mutating func floats(_ count: Int, scale: Float = 2) -> [Float] {
        (0..<count).map { _ in Float(Int32(truncatingIfNeeded: bits() >> 32)) * 0x1p-31 * scale }
    }

    mutating func integer(below bound: Int) -> Int { Int(bits() % UInt64(bound)) }
}

func doubles(_ values: [Float]) -> [Double] { values.map(Double.init) }

/// Gradient of a scalar function by central differences, error about 1e-9 for well scaled functions.
func numericGradient(at point: [Double], of function: ([Double]) -> Double) -> [Double] {
    let step = 1e-5
    var x = point
    return point.indices.map { i in
        x[i] = point[i] + step
        let above = function(x)
        x[i] = point[i] - step
        let below = function(x)
        x[i] = point[i]
        return (above - below) / (2 * step)
    }
}

/// Sum of products.
func inner(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }

extension Array {
    /// Row `r` of a row-major matrix with `n` columns.
    func row(_ r: Int, _ n: Int) -> [Element] { Array(self[r * n..<(r + 1) * n]) }
}
