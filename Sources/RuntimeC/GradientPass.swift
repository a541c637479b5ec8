internal import Kernels

/// One pass over the gradients of m objectives that lie in memory of the host, cut into blocks.
struct GradientPass {
    private let rows: [UnsafePointer<Float>]
    private let limits: [Int]

    /// Numbers of one piece: as `craft train` cuts them, so that sums are the same.
    private static let piece = 1 << 16
    /// Numbers that stay in the first cache while every row is added to them.
    private static let line = 1 << 11

    init(
        _ rows: UnsafePointer<UnsafePointer<Float>?>?, _ m: Int64, _ offsets: UnsafePointer<Int64>?, _ k: Int64
    ) throws {
        guard (1...1024).contains(m) else { throw RuntimeProblem("m is \(m); expected 1 to 1024 gradients") }
        guard (1...1 << 24).contains(k) else { throw RuntimeProblem("k is \(k); expected 1 to \(1 << 24) blocks") }
        guard let rows else { throw RuntimeProblem("rows is NULL") }
        guard let offsets else { throw RuntimeProblem("offsets is NULL") }
        self.rows = try (0..<Int(m)).map { row in
            guard let start = rows[row] else { throw RuntimeProblem("row \(row) is NULL") }
            return start
        }
        limits = try (0...Int(k)).map { block in
            let offset = offsets[block]
            guard (0...1 << 48).contains(offset), block == 0 || offset >= offsets[block - 1] else {
                throw RuntimeProblem("offset \(block) is \(offset); offsets begin at 0 or more and do not fall")
            }
            return Int(offset)
        }
    }

    /// - Parameter gram: [k, m, m], written.
    func gram(into gram: UnsafeMutablePointer<Double>) {
        let m = rows.count
        for block in 0..<limits.count - 1 {
            let sums = gram + block * m * m
            sums.update(repeating: 0, count: m * m)
            for start in stride(from: limits[block], to: limits[block + 1], by: Self.piece) {
                add(from: start, count: min(Self.piece, limits[block + 1] - start), to: sums)
            }
        }
    }

    /// The kernel takes eight gradients at a time: more are taken as pairs of fours.
    private func add(from start: Int, count: Int, to sums: UnsafeMutablePointer<Double>) {
        let m = rows.count
        guard m > 8 else { return add(Array(0..<m), start, count, sums) { _, _ in true } }
        let groups = stride(from: 0, to: m, by: 4).map { Array($0..<min($0 + 4, m)) }
        for (index, left) in groups.enumerated() {
            if groups.count == 1 || index == groups.count - 1 { add(left, start, count, sums) { _, _ in true } }
            for right in groups[(index + 1)...] {
                // What lies within `left` is counted with its first partner.
                let isFirst = right[0] == groups[index + 1][0]
                add(left + right, start, count, sums) { one, other in
                    left.contains(one) != left.contains(other) || (isFirst && left.contains(one))
                }
            }
        }
    }

    private func add(
        _ chosen: [Int], _ start: Int, _ count: Int, _ sums: UnsafeMutablePointer<Double>, _ counts: (Int, Int) -> Bool
    ) {
        let m = rows.count
        withUnsafeTemporaryAllocation(of: Double.self, capacity: chosen.count * chosen.count) { products in
            withUnsafeTemporaryAllocation(of: UnsafePointer<Float>.self, capacity: chosen.count) { starts in
                guard let sources = starts.baseAddress, let results = products.baseAddress else { return }
                for (position, row) in chosen.enumerated() {
                    starts.initializeElement(at: position, to: rows[row] + start)
                }
                ck_gram_f64(sources, chosen.count, count, results)
            }
            for (i, one) in chosen.enumerated() {
                for (j, other) in chosen.enumerated() where counts(one, other) {
                    sums[one * m + other] += products[i * chosen.count + j]
                }
            }
        }
    }

    /// - Parameters:
    ///   - weights: [k, m]
    ///   - sum: as long as the rows, written; it may be one of them.
    func weightedSum(_ weights: UnsafePointer<Double>, into sum: UnsafeMutablePointer<Float>) {
        let m = rows.count
        withUnsafeTemporaryAllocation(of: Float.self, capacity: Self.line) { line in
            guard let line = line.baseAddress else { return }
            for block in 0..<limits.count - 1 {
                for start in stride(from: limits[block], to: limits[block + 1], by: Self.line) {
                    let count = min(Self.line, limits[block + 1] - start)
                    line.initialize(repeating: 0, count: count)
                    for row in 0..<m {
                        let weight = Float(weights[block * m + row])
                        guard weight != 0 else { continue }
                        let source = rows[row] + start
                        for index in 0..<count { line[index] += weight * source[index] }
                    }
                    (sum + start).update(from: line, count: count)
                }
            }
        }
    }
}
