import Foundation
import Kernels
import Testing

private func softmax(_ x: [Double], scale: Double) -> [Double] {
    let top = x.map { $0 * scale }.max() ?? 0
    let e = x.map { exp($0 * scale - top) }
    let sum = e.reduce(0, +)
    return e.map { $0 / sum }
}

@Suite("Softmax") struct SoftmaxTests {
    @Test("forward, with causal limits, scales and a leading dimension", arguments: lengths, [-1, 0, 1, 5, 1 << 40])
    func forward(columns: Int, firstLimit: Int) {
        for (rows, padding, scale) in [(1, 0, Float(1)), (2, 3, 0.125), (5, 0, 7.5), (23, 1, -2)] {
            var random = Random(columns + rows)
            let ld = columns + padding
            // The last row ends with its columns, so reading its padding would fault.
            let input = random.floats(max(0, rows * ld - padding), scale: 4)
            let scores = Guarded(input)
            ck_softmax_rows(scores.pointer, rows, columns, ld, scale, firstLimit)
            let output = scores.values
            for r in 0..<rows {
                let limit = firstLimit < 0 ? columns : min(columns, firstLimit + r)
                let row = doubles(Array(input[r * ld..<r * ld + limit]))
                let reference =
                    softmax(row, scale: Double(scale)) + [Double](repeating: 0, count: columns - limit)
                expectClose(
                    Array(output[r * ld..<r * ld + columns]), reference, Tolerance(relative: 3e-6, absolute: 1e-12),
                    "row \(r) of \(rows) x \(columns), limit \(limit), scale \(scale)")
                if r + 1 < rows {
                    let gap = r * ld + columns..<(r + 1) * ld
                    #expect(output[gap] == input[gap], "padding of row \(r) was written")
                }
            }
        }
    }

    @Test("large scores, minus infinity as a mask, and NaN", arguments: [3, 20, 37])
    func extremes(columns: Int) {
        var x = [Float](repeating: -.infinity, count: columns)
        x[0] = 3e4
        x[columns - 1] = 3e4 - 1
        x[1] = -3e38
        let scores = Guarded(x)
        ck_softmax_rows(scores.pointer, 1, columns, columns, 1, -1)
        var reference = [Double](repeating: 0, count: columns)
        reference[0] = 1 / (1 + exp(-1))
        reference[columns - 1] = 1 - reference[0]
        expectClose(scores.values, reference, Tolerance(relative: 1e-6, absolute: 0), "masked row")

        for poison in [Float.nan, -Float.nan] {
            x[1] = poison
            let poisoned = Guarded(x)
            ck_softmax_rows(poisoned.pointer, 1, columns, columns, 1, -1)
            #expect(poisoned.values.allSatisfy { $0.isNaN }, "a NaN among the scores must not disappear")
        }
    }

    @Test("backward is the derivative", arguments: lengths)
    func backward(columns: Int) {
        for (rows, padding, scale) in [(1, 0, Float(1)), (2, 2, 0.125), (5, 0, 3)] {
            var random = Random(columns + rows)
            let ld = columns + padding
            let size = max(0, rows * ld - padding)
            let scores = random.floats(size)
            let upstream = random.floats(size)
            let p = Guarded(scores)
            let dp = Guarded(upstream)
            ck_softmax_rows(p.pointer, rows, columns, ld, scale, -1)
            ck_softmax_backward_rows(p.pointer, dp.pointer, rows, columns, ld, scale)
            let output = dp.values
            for r in 0..<rows {
                let row = r * ld..<r * ld + columns
                let weights = doubles(Array(upstream[row]))
                let reference = numericGradient(at: doubles(Array(scores[row]))) {
                    inner(softmax($0, scale: Double(scale)), weights)
                }
                expectClose(Array(output[row]), reference, Tolerance(relative: 2e-5, absolute: 1e-6), "row \(r)")
                if r + 1 < rows {
                    let gap = r * ld + columns..<(r + 1) * ld
                    #expect(output[gap] == upstream[gap], "padding of row \(r) was written")
                }
            }
        }
    }

    @Test("backward ignores what lies beyond the causal limit", arguments: [1, 17, 64])
    func backwardBeyondLimit(columns: Int) {
        var random = Random(columns)
        let rows = columns
        let scores = random.floats(rows * columns)
        let upstream = random.floats(rows * columns)
        let p = Guarded(scores)
        ck_softmax_rows(p.pointer, rows, columns, columns, 1, 1)
        let masked = upstream.indices.map { $0 % columns <= $0 / columns ? upstream[$0] : 0 }
        let poisoned = upstream.indices.map { $0 % columns <= $0 / columns ? upstream[$0] : Float.nan }
        let clean = Guarded(masked)
        let dirty = Guarded(poisoned)
        ck_softmax_backward_rows(p.pointer, clean.pointer, rows, columns, columns, 1)
        ck_softmax_backward_rows(p.pointer, dirty.pointer, rows, columns, columns, 1)
        #expect(clean.values == dirty.values)
        #expect(dirty.values.indices.allSatisfy { $0 % columns <= $0 / columns || dirty.values[$0] == 0 })
    }
}

private enum Rope: String, CaseIterable, Sendable {
    case splitHalf, interleaved

    func callAsFunction(
        _ x: Guarded<Float>, rows: Int, ld: Int, heads: Int, dim: Int, _ cosine: Guarded<Float>,
        _ sine: Guarded<Float>, _ positions: Guarded<Int32>, sign: Int32
    ) {
        let kernel = self == .splitHalf ? ck_rope_split_half : ck_rope_interleaved
        kernel(x.pointer, rows, ld, heads, dim, cosine.pointer, sine.pointer, positions.pointer, sign)
    }

    /// The partner of dimension `c` and the sign of its sine term.
    func partner(of c: Int, dim: Int) -> (Int, Double) {
        switch self {
        case .splitHalf: c < dim / 2 ? (c + dim / 2, -1) : (c - dim / 2, 1)
        case .interleaved: c % 2 == 0 ? (c + 1, -1) : (c - 1, 1)
        }
    }
}

@Suite("Rotary embeddings") struct RopeTests {
    @Test("forward and transpose", arguments: Rope.allCases, [0, 2, 6, 14, 16, 30, 32, 64, 112])
    fileprivate func transpose(rope: Rope, dim: Int) {
        for (rows, heads, padding) in [(1, 1, 0), (2, 3, 5), (5, 2, 0)] {
            var random = Random(dim + rows)
            let positionCount = 9
            let ld = heads * dim + padding
            let size = max(0, rows * ld - padding)
            // Random tables: the map is linear whatever they hold, and its transpose must not rely on their structure.
            let cosine = Guarded(random.floats(positionCount * dim, scale: 1))
            let sine = Guarded(random.floats(positionCount * dim, scale: 1))
            let positions = Guarded((0..<rows).map { _ in Int32(random.integer(below: positionCount)) })
            let x = random.floats(size)
            let y = random.floats(size)
            let rotated = Guarded(x)
            let back = Guarded(y)
            rope(rotated, rows: rows, ld: ld, heads: heads, dim: dim, cosine, sine, positions, sign: 1)
            rope(back, rows: rows, ld: ld, heads: heads, dim: dim, cosine, sine, positions, sign: -1)

            var reference = doubles(x)
            for r in 0..<rows {
                let table = Int(positions.pointer[r]) * dim
                for h in 0..<heads {
                    for c in 0..<dim {
                        let (other, sign) = rope.partner(of: c, dim: dim)
                        let at = r * ld + h * dim
                        let cos = Double(cosine.pointer[table + c])
                        let sin = Double(sine.pointer[table + c])
                        reference[at + c] = Double(x[at + c]) * cos + sign * Double(x[at + other]) * sin
                    }
                }
            }
            let what = "\(rope), \(rows) rows, \(heads) heads of \(dim)"
            expectClose(rotated.values, reference, Tolerance(relative: 3e-7, absolute: 5e-7), what)
            // <R x, y> = <x, R' y>, the padding being mapped to itself by both.
            let left = inner(doubles(rotated.values), doubles(y))
            let right = inner(doubles(x), doubles(back.values))
            #expect(abs(left - right) < 1e-6 * Double(size + 1), "\(what): \(left) and \(right)")
        }
    }

    @Test("the Pro policy's table, dim 4, position 3")
    func proGolden() {
        // Angles in split-half order, rotation interleaved: what the released weights were trained with.
        let dim = 4
        let position = 3.0
        let angles = (0..<dim).map { position * pow(10_000, -2 * Double($0 % (dim / 2)) / Double(dim)) }
        let x = Guarded<Float>([1, 2, 3, 4])
        let first = Guarded<Int32>([0])
        let cosine = Guarded(angles.map { Float(cos($0)) })
        let sine = Guarded(angles.map { Float(sin($0)) })
        ck_rope_interleaved(x.pointer, 1, dim, 1, dim, cosine.pointer, sine.pointer, first.pointer, 1)
        expectClose(
            x.values, [-1.27223251, 2.02909557, -3.53445752, 4.08818664], Tolerance(relative: 2e-7, absolute: 0),
            "Pro rotation")
    }
}
