internal import Kernels

/// Where a row of a gathered matrix comes from: a source and a row in it.
public struct RowReference: Sendable {
    /// Index into the sources, or -1 for a row of zeros.
    public var source: Int32
    public var row: Int32

    public init(source: Int, row: Int) {
        self.source = Int32(source)
        self.row = Int32(row)
    }

    public static let zero = RowReference(source: -1, row: 0)
}

/// A matrix to take rows from.
public enum RowSource {
    case tensor(Tensor)
    /// A parameter [rows, columns], or one whose leading dimensions flatten to that.
    case parameter(Int)
}

/// How a range of rows becomes one.
public enum Pooling: Int, Sendable {
    case mean = 1
    case max = 2
}

extension Tape {
    /// Builds a matrix row by row: `y[i] = sources[rows[i]] (+ sources[addends[i]])`.
    ///
    /// Embedding look-up, sequence assembly, token windows and position embeddings are all this operation. The backward
    /// pass adds each row's cotangent to where the row came from.
    ///
    /// - `columns`: the common row length. `addends`: empty, or one per row.
    /// - `period`: rows per sequence in the sources, when they are sequences of which some places may be taken alone.
    public func gatherRows(
        _ rows: [RowReference], adding addends: [RowReference] = [], from sources: [RowSource], columns: Int,
        period: Int? = nil
    ) -> Tensor {
        let start = profile?.now
        defer { if let start { profile?.end("gather rows", .forward, from: start) } }
        precondition(addends.isEmpty || addends.count == rows.count)
        var values: [WeightValues] = []
        var needs = false
        for source in sources {
            switch source {
            case .tensor(let tensor):
                precondition(tensor.columns == columns, "rows of \(tensor.columns) and \(columns) do not mix")
                values.append(.float32(tensor.values))
                needs = needs || tensor.needsGradient
            case .parameter(let id):
                precondition(parameters[id].count % columns == 0, "\(parameters[id].name) has no rows of \(columns)")
                values.append(weights[id])
                needs = needs || isTrainable(id)
            }
        }
        let y = makeTensor(rows: rows.count, columns: columns, needsGradient: needs)
        parallel.ranges(rows.count, grain: max(1, 32_768 / columns)) { range in
            for index in range {
                let target = y.values + index * columns
                let reference = rows[index]
                if reference.source < 0 {
                    ck_fill(0, columns, target)
                } else {
                    let start = Int(reference.row) * columns
                    switch values[Int(reference.source)] {
                    case .float32(let pointer): target.update(from: pointer + start, count: columns)
                    case .half(let half): half.widen(start, columns, into: target)
                    }
                }
                if !addends.isEmpty, addends[index].source >= 0 {
                    let addend = addends[index]
                    guard case .float32(let pointer) = values[Int(addend.source)] else {
                        preconditionFailure("rows to add are in float32")
                    }
                    ck_axpy(1, pointer + Int(addend.row) * columns, columns, target)
                }
            }
        }
        record(GatherRows(output: y, rows: rows, addends: addends, sources: sources, period: period))
        return y
    }

    /// Reduces ranges of rows to one row each: [spans, columns].
    ///
    /// - `period`: rows per sequence in `x`, when it is sequences of which some places may be taken alone.
    public func poolRows(_ x: Tensor, spans: [Range<Int>], pooling: Pooling, period: Int? = nil) -> Tensor {
        let start = profile?.now
        defer { if let start { profile?.end("pool rows", .forward, from: start) } }
        let n = x.columns
        let y = makeTensor(rows: spans.count, columns: n, needsGradient: x.needsGradient)
        var winners: [Int32] = []
        for (index, span) in spans.enumerated() {
            precondition(!span.isEmpty, "a range of rows to pool is empty")
            let target = y.values + index * n
            switch pooling {
            case .mean:
                ck_fill(0, n, target)
                ck_column_sum(x.values + span.lowerBound * n, span.count, n, target)
                ck_scale(1 / Float(span.count), target, n, target)
            case .max:
                for column in 0..<n {
                    let best = span.max { x.values[$0 * n + column] < x.values[$1 * n + column] } ?? span.lowerBound
                    winners.append(Int32(best))
                    target[column] = x.values[best * n + column]
                }
            }
        }
        record(PoolRows(output: y, x: x, spans: spans, winners: winners, period: period))
        return y
    }

    /// Joins two matrices with equally many rows side by side: [rows, a.columns + b.columns].
    public func concatenateColumns(_ a: Tensor, _ b: Tensor) -> Tensor {
        let start = profile?.now
        defer { if let start { profile?.end("concatenate", .forward, from: start) } }
        precondition(a.rows == b.rows)
        let n = a.columns + b.columns
        let y = makeTensor(rows: a.rows, columns: n, needsGradient: a.needsGradient || b.needsGradient)
        parallel.ranges(a.rows, grain: max(1, 32_768 / n)) { range in
            for row in range {
                (y.values + row * n).update(from: a.values + row * a.columns, count: a.columns)
                (y.values + row * n + a.columns).update(from: b.values + row * b.columns, count: b.columns)
            }
        }
        record(ConcatenateColumns(output: y, a: a, b: b))
        return y
    }
}

private struct GatherRows: Operation {
    let name: StaticString = "gather rows"
    let output: Tensor
    let rows: [RowReference]
    let addends: [RowReference]
    let sources: [RowSource]
    let period: Int?

    func backward(_ dy: UnsafeMutablePointer<Float>, _ pass: BackwardPass) {
        let n = output.columns
        let targets: [UnsafeMutablePointer<Float>?] = sources.enumerated().map { index, source in
            switch source {
            case .tensor(let tensor):
                tensor.needsGradient ? pass.clearedGradient(of: tensor, within: span(of: index)) : nil
            case .parameter(let id): pass.parameterGradient(id)
            }
        }
        // Rows may repeat, columns do not: cut along the columns so that no two threads add to one place.
        let chunks = rows.count * n < 65_536 ? 1 : min(pass.parallel.threads, max(1, n / 16))
        pass.parallel.run(chunks: chunks) { chunk in
            let columns = Parallel.range(chunk, of: chunks, count: n)
            for (index, reference) in rows.enumerated() {
                let cotangent = dy + index * n + columns.lowerBound
                if reference.source >= 0, let target = targets[Int(reference.source)] {
                    ck_axpy(1, cotangent, columns.count, target + Int(reference.row) * n + columns.lowerBound)
                }
                if !addends.isEmpty, addends[index].source >= 0, let target = targets[Int(addends[index].source)] {
                    ck_axpy(1, cotangent, columns.count, target + Int(addends[index].row) * n + columns.lowerBound)
                }
            }
        }
    }

    /// Where in its sequences a source is read.
    private func span(of source: Int) -> RowSpan? {
        guard let period, addends.isEmpty else { return nil }
        return RowSpan(holding: rows.lazy.filter { Int($0.source) == source }.map { Int($0.row) }, period: period)
    }
}

private struct PoolRows: Operation {
    let name: StaticString = "pool rows"
    let output: Tensor
    let x: Tensor
    let spans: [Range<Int>]
    /// For max pooling: the row each value came from, [spans, columns]; empty for the mean.
    let winners: [Int32]
    let period: Int?

    func backward(_ dy: UnsafeMutablePointer<Float>, _ pass: BackwardPass) {
        let n = x.columns
        let span = period.flatMap {
            RowSpan(holding: spans.flatMap { [$0.lowerBound, $0.upperBound - 1] }, period: $0)
        }
        let dx = pass.clearedGradient(of: x, within: span)
        for (index, span) in spans.enumerated() {
            let cotangent = dy + index * n
            if winners.isEmpty {
                for row in span { ck_axpy(1 / Float(span.count), cotangent, n, dx + row * n) }
            } else {
                for column in 0..<n { dx[Int(winners[index * n + column]) * n + column] += cotangent[column] }
            }
        }
    }
}

private struct ConcatenateColumns: Operation {
    let name: StaticString = "concatenate"
    let output: Tensor
    let a: Tensor
    let b: Tensor

    func backward(_ dy: UnsafeMutablePointer<Float>, _ pass: BackwardPass) {
        let n = output.columns
        for (part, offset) in [(a, 0), (b, a.columns)] where part.needsGradient {
            let dx = pass.clearedGradient(of: part)
            pass.parallel.ranges(part.rows, grain: max(1, 32_768 / part.columns)) { rows in
                for row in rows { ck_axpy(1, dy + row * n + offset, part.columns, dx + row * part.columns) }
            }
        }
    }
}
