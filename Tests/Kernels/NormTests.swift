import Kernels
import Testing

private let epsilon: Float = 1e-6

private func layerNorm(_ x: [Double], _ w: [Double], _ b: [Double]) -> [Double] {
    let mean = x.reduce(0, +) / Double(x.count)
    let variance = x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(x.count)
    let rstd = 1 / (variance + Double(epsilon)).squareRoot()
    return x.indices.map { (x[$0] - mean) * rstd * w[$0] + b[$0] }
}

private func rmsNorm(_ x: [Double], _ w: [Double]) -> [Double] {
    let rstd = 1 / (x.reduce(0) { $0 + $1 * $1 } / Double(x.count) + Double(epsilon)).squareRoot()
    return x.indices.map { x[$0] * rstd * w[$0] }
}

/// One normalisation with random inputs, run forward.
private final class Norm {
    let isRMS: Bool
    let rows: Int
    let n: Int
    let x, w, b, dy, y, mean, rstd: Guarded<Float>

    init(isRMS: Bool, rows: Int, n: Int, offset: Float = 0) {
        var random = Random(rows * 2000 + n)
        self.isRMS = isRMS
        self.rows = rows
        self.n = n
        x = Guarded(random.floats(rows * n).map { $0 + offset })
        w = Guarded(random.floats(n))
        b = Guarded(random.floats(n))
        dy = Guarded(random.floats(rows * n))
        y = Guarded(repeating: .nan, count: rows * n)
        mean = Guarded(repeating: .nan, count: rows)
        rstd = Guarded(repeating: .nan, count: rows)
        if isRMS {
            ck_rms_norm(x.pointer, w.pointer, epsilon, rows, n, y.pointer, rstd.pointer)
        } else {
            ck_layer_norm(
                x.pointer, w.pointer, b.pointer, epsilon, rows, n, y.pointer, mean.pointer, rstd.pointer)
        }
    }

    func reference(row: [Double], w: [Double], b: [Double]) -> [Double] {
        isRMS ? rmsNorm(row, w) : layerNorm(row, w, b)
    }

    func backward(dx: Guarded<Float>, accumulate: Int32, dw: Guarded<Float>?, db: Guarded<Float>?) {
        if isRMS {
            ck_rms_norm_backward(
                dy.pointer, x.pointer, w.pointer, rstd.pointer, rows, n, dx.pointer, accumulate, dw?.pointer)
        } else {
            ck_layer_norm_backward(
                dy.pointer, x.pointer, w.pointer, mean.pointer, rstd.pointer, rows, n, dx.pointer, accumulate,
                dw?.pointer, db?.pointer)
        }
    }
}

@Suite("Norms") struct NormTests {
    @Test("forward is the float64 function", arguments: [false, true], lengths)
    func forward(isRMS: Bool, n: Int) {
        for rows in rowCounts {
            let norm = Norm(isRMS: isRMS, rows: rows, n: n)
            let reference = (0..<rows).flatMap { r in
                norm.reference(
                    row: doubles(norm.x.values.row(r, n)), w: doubles(norm.w.values), b: doubles(norm.b.values))
            }
            expectClose(norm.y.values, reference, Tolerance(relative: 1e-6, absolute: 2e-6), "\(rows) x \(n)")
            // A row of length zero has defined statistics too: resuming must not meet a NaN.
            #expect(norm.rstd.values.allSatisfy { $0.isFinite })
            if !isRMS { #expect(norm.mean.values.allSatisfy { $0.isFinite }) }
        }
    }

    @Test("rows far from zero keep their variance")
    func offset() {
        let norm = Norm(isRMS: false, rows: 2, n: 127, offset: 300)
        let reference = (0..<2).flatMap { r in
            layerNorm(doubles(norm.x.values.row(r, 127)), doubles(norm.w.values), doubles(norm.b.values))
        }
        // x itself is only known to 300 * 2^-24, so its mean is too.
        expectClose(norm.y.values, reference, Tolerance(relative: 1e-5, absolute: 1e-4), "offset rows")
    }

    @Test("backward is the derivative", arguments: [false, true], lengths)
    func backward(isRMS: Bool, n: Int) {
        for rows in rowCounts {
            let norm = Norm(isRMS: isRMS, rows: rows, n: n)
            let w = doubles(norm.w.values)
            let b = doubles(norm.b.values)
            let xRows = (0..<rows).map { doubles(norm.x.values.row($0, n)) }
            let dyRows = (0..<rows).map { doubles(norm.dy.values.row($0, n)) }
            var dx: [Double] = []
            var dw = [Double](repeating: 0, count: n)
            for r in 0..<rows {
                dx += numericGradient(at: xRows[r]) { inner(norm.reference(row: $0, w: w, b: b), dyRows[r]) }
                // The output is linear in w, and w scales each element alone.
                let unit = norm.reference(
                    row: xRows[r], w: [Double](repeating: 1, count: n), b: [Double](repeating: 0, count: n))
                for j in 0..<n { dw[j] += unit[j] * dyRows[r][j] }
            }
            let db = (0..<n).map { j in dyRows.reduce(0) { $0 + $1[j] } }

            // n = 1 makes a layer norm's gradient 0 by cancellation of terms as large as 1 / sqrt(epsilon).
            let tolerance = Tolerance(relative: 1e-5, absolute: n == 1 ? 2e-3 : 2e-5)
            for (accumulate, trained) in [(Int32(0), false), (0, true), (1, true), (1, false)] {
                let actual = Guarded(repeating: accumulate == 0 ? .nan : 1, count: rows * n)
                let weight = Guarded(repeating: 2, count: n)
                let bias = Guarded(repeating: 2, count: n)
                norm.backward(
                    dx: actual, accumulate: accumulate, dw: trained ? weight : nil, db: trained ? bias : nil)
                let what = "rms \(isRMS), \(rows) x \(n), accumulate \(accumulate)"
                expectClose(actual.values, dx.map { $0 + Double(accumulate) }, tolerance, "dx, " + what)
                // Parameter gradients are always added to.
                let expectedWeight = trained ? dw.map { $0 + 2 } : weight.values.map { _ in 2 }
                expectClose(weight.values, expectedWeight, Tolerance(relative: 1e-5, absolute: 1e-5), "dw, " + what)
                let expectedBias = trained && !isRMS ? db.map { $0 + 2 } : bias.values.map { _ in 2 }
                expectClose(bias.values, expectedBias, Tolerance(relative: 1e-6, absolute: 1e-5), "db, " + what)
            }
        }
    }

    @Test("dw alone and db alone")
    func oneOfTwo() {
        let norm = Norm(isRMS: false, rows: 5, n: 31)
        let dx = Guarded(repeating: 0, count: 5 * 31)
        let both = (Guarded(repeating: 0, count: 31), Guarded(repeating: 0, count: 31))
        let alone = (Guarded(repeating: 0, count: 31), Guarded(repeating: 0, count: 31))
        norm.backward(dx: dx, accumulate: 0, dw: both.0, db: both.1)
        norm.backward(dx: dx, accumulate: 0, dw: alone.0, db: nil)
        norm.backward(dx: dx, accumulate: 0, dw: nil, db: alone.1)
        #expect(both.0.values == alone.0.values)
        #expect(both.1.values == alone.1.values)
    }
}
