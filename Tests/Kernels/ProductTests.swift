import Kernels
import Testing

/// Which product, what it needs, and what it does to its operands first.
private enum Kind: CaseIterable {
    case float32, bfloat16

    var isSupported: Bool { (self == .float32 ? ck_sgemm_is_supported() : ck_bf16_gemm_is_supported()) != 0 }

    func rounded(_ values: [Float]) -> [Float] {
        if self == .float32 { return values }
        var half = [UInt16](repeating: 0, count: values.count)
        var result = values
        ck_f32_to_bf16(values, values.count, &half)
        ck_bf16_to_f32(half, values.count, &result)
        return result
    }
}

/// A product and how its operands lie in memory.
private struct Product: Sendable, CustomTestStringConvertible {
    var m: Int
    var n: Int
    var k: Int
    var transposedA = false
    var transposedB = false
    /// Unused values at the end of each stored row.
    var padding = 0

    var testDescription: String {
        "\(m) x \(n) x \(k)\(transposedA ? " At" : "")\(transposedB ? " Bt" : "")+\(padding)"
    }
    var lda: Int { (transposedA ? m : k) + padding }
    var ldb: Int { (transposedB ? k : n) + padding }
    var ldc: Int { n + padding }

    /// A matrix whose last row ends where the buffer does.
    static func count(rows: Int, columns: Int, ld: Int) -> Int { rows == 0 ? 0 : (rows - 1) * ld + columns }

    func operands(_ random: inout Random) -> (a: Guarded<Float>, b: Guarded<Float>) {
        let a = Self.count(rows: transposedA ? k : m, columns: transposedA ? m : k, ld: lda)
        let b = Self.count(rows: transposedB ? n : k, columns: transposedB ? k : n, ld: ldb)
        return (Guarded(random.floats(a)), Guarded(random.floats(b)))
    }

    func run(
        _ kind: Kind, alpha: Float = 1, _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, beta: Float = 0,
        _ c: UnsafeMutablePointer<Float>
    ) {
        (kind == .float32 ? ck_sgemm : ck_bf16_gemm)(
            transposedA ? 1 : 0, transposedB ? 1 : 0, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
    }

    func reference(_ a: [Float], _ b: [Float], row: Int, column: Int) -> Double {
        (0..<k).reduce(0) { sum, p in
            let left = a[transposedA ? p * lda + row : row * lda + p]
            let right = b[transposedB ? column * ldb + p : p * ldb + column]
            return sum + Double(left) * Double(right)
        }
    }
}

/// Sizes around the tile of 8 x 16 and 8 x 32, the blocks of 128, 256 and 384, and none at all.
private let products: [Product] = {
    let sizes = [
        (1, 1, 1), (7, 15, 17), (8, 16, 16), (9, 33, 5), (16, 32, 64), (17, 31, 33), (13, 48, 256), (3, 65, 257),
        (129, 20, 40), (385, 18, 12), (64, 100, 600), (5, 7, 0), (0, 4, 3), (4, 0, 3),
    ]
    return sizes.flatMap { m, n, k in
        [(false, false), (false, true), (true, false), (true, true)].map { a, b in
            Product(m: m, n: n, k: k, transposedA: a, transposedB: b, padding: (m + n) % 2 * 3)
        }
    }
}()

@Suite("Products") struct ProductTests {
    @Test("alpha op(a) op(b) + beta c", arguments: Kind.allCases.filter(\.isSupported), products)
    private func product(_ kind: Kind, _ product: Product) {
        var random = Random(product.m * 31 + product.n * 7 + product.k)
        let (a, b) = product.operands(&random)
        let (left, right) = (kind.rounded(a.values), kind.rounded(b.values))
        let count = Product.count(rows: product.m, columns: product.n, ld: product.ldc)
        let old = random.floats(count)
        for (alpha, beta) in [(Float(1), Float(0)), (1, 1), (0.5, -2)] {
            let c = Guarded(beta == 0 ? [Float](repeating: .nan, count: count) : old)
            product.run(kind, alpha: alpha, a.pointer, b.pointer, beta: beta, c.pointer)
            var (actual, expected): ([Float], [Double]) = ([], [])
            let values = c.values
            for index in values.indices {
                let (row, column) = index.quotientAndRemainder(dividingBy: product.ldc)
                if column >= product.n {
                    #expect(values[index].bitPattern == (beta == 0 ? Float.nan : old[index]).bitPattern)
                    continue
                }
                let sum = product.reference(left, right, row: row, column: column)
                actual.append(values[index])
                expected.append(Double(alpha) * sum + (beta == 0 ? 0 : Double(beta) * Double(old[index])))
            }
            // Rounding of partial sums, which are larger than the result.
            let tolerance = Tolerance(relative: 1e-6, absolute: 1e-6 + 3e-7 * Double(product.k))
            expectClose(actual, expected, tolerance, product.testDescription)
        }
    }

    /// Rows by themselves, columns by themselves.
    @Test("an entry has the same bits in any company", arguments: Kind.allCases.filter(\.isSupported))
    private func entriesAreIndependent(_ kind: Kind) {
        for (transposedA, transposedB) in [(false, false), (false, true), (true, false), (true, true)] {
            var random = Random(5)
            let whole = Product(m: 150, n: 70, k: 300, transposedA: transposedA, transposedB: transposedB)
            let (a, b) = whole.operands(&random)
            let c = Guarded(repeating: 0, count: whole.m * whole.n)
            whole.run(kind, a.pointer, b.pointer, c.pointer)
            for (rows, columns) in [(0..<1, 0..<70), (3..<12, 5..<6), (17..<150, 33..<70), (149..<150, 69..<70)] {
                let part = Guarded(repeating: 0, count: rows.count * columns.count)
                (kind == .float32 ? ck_sgemm : ck_bf16_gemm)(
                    transposedA ? 1 : 0, transposedB ? 1 : 0, rows.count, columns.count, whole.k, 1,
                    a.pointer + rows.lowerBound * (transposedA ? 1 : whole.lda), whole.lda,
                    b.pointer + columns.lowerBound * (transposedB ? whole.ldb : 1), whole.ldb, 0, part.pointer,
                    columns.count)
                let isSame = (0..<part.count).allSatisfy { index in
                    let (row, column) = index.quotientAndRemainder(dividingBy: columns.count)
                    return part.pointer[index]
                        == c.pointer[(rows.lowerBound + row) * whole.n + columns.lowerBound + column]
                }
                #expect(isSame, "rows \(rows), columns \(columns)")
            }
        }
    }

    @Test("zeros behind an operand change no bit", arguments: Kind.allCases.filter(\.isSupported), [false, true])
    private func trailingZeros(_ kind: Kind, transposedB: Bool) {
        var random = Random(6)
        let whole = Product(m: 21, n: 40, k: 300, transposedB: transposedB)
        let (a, b) = whole.operands(&random)
        for depth in [262, 256, 199] {
            for row in 0..<whole.m {
                for column in depth..<whole.k { a.pointer[row * whole.lda + column] = 0 }
            }
            let (c, short) = (Guarded(repeating: 0, count: 21 * 40), Guarded(repeating: 0, count: 21 * 40))
            whole.run(kind, a.pointer, b.pointer, c.pointer)
            (kind == .float32 ? ck_sgemm : ck_bf16_gemm)(
                0, transposedB ? 1 : 0, whole.m, whole.n, depth, 1, a.pointer, whole.lda, b.pointer, whole.ldb, 0,
                short.pointer, whole.n)
            #expect(short.values == c.values)
        }
    }
}
