import Kernels
import Testing

@Suite("Elementwise") struct ElementwiseTests {
    @Test("fill, add, axpy, scale, out of place and in place", arguments: lengths)
    func vectors(n: Int) {
        var random = Random(n)
        let a = Guarded(random.floats(n))
        let b = Guarded(random.floats(n))
        let y = Guarded(repeating: .nan, count: n)

        ck_fill(1.5, n, y.pointer)
        #expect(y.values == [Float](repeating: 1.5, count: n))

        let sum = zip(a.values, b.values).map { $0 + $1 }
        ck_add(a.pointer, b.pointer, n, y.pointer)
        #expect(y.values == sum)
        let left = Guarded(a.values)
        let right = Guarded(b.values)
        ck_add(left.pointer, b.pointer, n, left.pointer)
        ck_add(a.pointer, right.pointer, n, right.pointer)
        #expect(left.values == sum && right.values == sum)

        let moved = Guarded(b.values)
        ck_axpy(-0.75, a.pointer, n, moved.pointer)
        let reference = zip(doubles(a.values), doubles(b.values)).map { $1 - 0.75 * $0 }
        expectClose(moved.values, reference, Tolerance(relative: 2e-7, absolute: 3e-7), "axpy")

        ck_scale(0.3, a.pointer, n, y.pointer)
        #expect(y.values == a.values.map { 0.3 * $0 })
        let scaled = Guarded(a.values)
        ck_scale(0.3, scaled.pointer, n, scaled.pointer)
        #expect(scaled.values == y.values)
    }

    @Test("rows: bias, broadcast, column sums", arguments: rowCounts + [0, 8, 23], lengths)
    func rows(rows: Int, n: Int) {
        var random = Random(rows * 2000 + n)
        let row = Guarded(random.floats(n))
        let x = Guarded(random.floats(rows * n))

        let biased = Guarded(x.values)
        ck_add_bias(row.pointer, rows, n, biased.pointer)
        let repeated = (0..<rows).flatMap { _ in row.values }
        #expect(biased.values == zip(x.values, repeated).map { $0 + $1 })

        let filled = Guarded(repeating: .nan, count: rows * n)
        ck_fill_rows(row.pointer, rows, n, filled.pointer)
        #expect(filled.values == repeated)

        let sums = Guarded(row.values)
        ck_column_sum(x.pointer, rows, n, sums.pointer)
        let reference = (0..<n).map { j in
            (0..<rows).reduce(Double(row.pointer[j])) { $0 + Double(x.pointer[$1 * n + j]) }
        }
        expectClose(sums.values, reference, Tolerance(relative: 1e-6, absolute: 5e-6), "column sum")
    }

    @Test("layer scale and its derivative", arguments: rowCounts, lengths)
    func layerScale(rows: Int, n: Int) {
        var random = Random(rows * 2000 + n)
        let x = Guarded(random.floats(rows * n))
        let h = Guarded(random.floats(rows * n))
        let gamma = Guarded(random.floats(n))
        let dy = Guarded(random.floats(rows * n))
        let y = Guarded(repeating: .nan, count: rows * n)
        ck_layer_scale(x.pointer, h.pointer, gamma.pointer, rows, n, y.pointer)
        let g = doubles(gamma.values)
        let xs = doubles(x.values)
        let hs = doubles(h.values)
        let dys = doubles(dy.values)
        let forward = xs.indices.map { xs[$0] + g[$0 % n] * hs[$0] }
        expectClose(y.values, forward, Tolerance(relative: 2e-7, absolute: 5e-7), "layer scale")

        for (accumulate, trained) in [(Int32(0), true), (1, true), (0, false), (1, false)] {
            let dh = Guarded(repeating: accumulate == 0 ? .nan : 1, count: rows * n)
            let dgamma = Guarded(repeating: 2, count: n)
            ck_layer_scale_backward(
                dy.pointer, h.pointer, gamma.pointer, rows, n, dh.pointer, accumulate,
                trained ? dgamma.pointer : nil)
            let expected = dys.indices.map { g[$0 % n] * dys[$0] + Double(accumulate) }
            expectClose(dh.values, expected, Tolerance(relative: 3e-7, absolute: 5e-7), "dh")
            let sums = (0..<n).map { j in
                trained ? (0..<rows).reduce(2) { $0 + dys[$1 * n + j] * hs[$1 * n + j] } : 2
            }
            expectClose(dgamma.values, sums, Tolerance(relative: 1e-6, absolute: 5e-6), "dgamma")
        }
    }
}
