internal import Kernels

/// Where a row of a gathered matrix comes from: a source and a row in it.
package struct RowReference: Sendable, BitwiseCopyable {
    /// Index into the sources, or -1 for a row of zeros.
    package var source: Int32
    package var row: Int32

    package init(source: Int, row: Int) {
        self.source = Int32(source)
        self.row = Int32(row)
    }

    package static let zero = RowReference(source: -1, row: 0)
}

/// A matrix to take rows from.
package enum RowSource: BitwiseCopyable {
    case tensor(Tensor)
    /// A parameter [rows, columns], or one whose leading dimensions flatten to that.
    case parameter(Int)
}

/// Consecutive rows.
package struct RowRange: Sendable, BitwiseCopyable {
    package let start: Int
    package let count: Int

    package init(_ range: Range<Int>) {
        start = range.lowerBound
        count = range.count
    }

    var range: Range<Int> { start..<start + count }
}

/// How a range of rows becomes one.
package enum Pooling: Int, Sendable {
    case mean = 1
    case max = 2
}

extension Tape {
    /// Builds a matrix row by row: `y[i] = sources[rows[i]] (+ sources[addends[i]])`.
    ///
    /// Embedding look-up, sequence assembly, token windows and position embeddings are all this operation. The backward
    /// pass adds each row's cotangent to where the row came from.
    ///
    /// - `columns`: the common row length. `addends`: nil, or one per row.
    /// - `period`: rows per sequence in the sources, when they are sequences of which some places may be taken alone.
    package func gatherRows(
        _ rows: ArenaList<RowReference>, adding addends: ArenaList<RowReference>? = nil,
        from sources: ArenaList<RowSource>, columns: Int, period: Int? = nil
    ) -> Tensor {
        measured("gather rows") {
            precondition(addends == nil || addends?.count == rows.count)
            var values = list(of: WeightValues.self, capacity: sources.count)
            var needs = false
            for source in sources {
                switch source {
                case .tensor(let tensor):
                    precondition(tensor.columns == columns, "rows of \(tensor.columns) and \(columns) do not mix")
                    values.append(.float32(tensor.values))
                    needs = needs || tensor.needsGradient
                case .parameter(let id):
                    precondition(
                        parameters[id].count % columns == 0, "\(parameters[id].name) has no rows of \(columns)")
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
                    if let addend = addends?[index], addend.source >= 0 {
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
    }

    /// The same from one matrix.
    package func gatherRows(_ rows: ArenaList<RowReference>, of x: Tensor, period: Int? = nil) -> Tensor {
        gatherRows(rows, from: list(1) { _ in .tensor(x) }, columns: x.columns, period: period)
    }

    /// Reduces ranges of rows to one row each: [spans, columns].
    ///
    /// - `period`: rows per sequence in `x`, when it is sequences of which some places may be taken alone.
    package func poolRows(_ x: Tensor, spans: ArenaList<RowRange>, pooling: Pooling, period: Int? = nil) -> Tensor {
        measured("pool rows") {
            let n = x.columns
            let y = makeTensor(rows: spans.count, columns: n, needsGradient: x.needsGradient)
            precondition(spans.allSatisfy { $0.count > 0 }, "a range of rows to pool is empty")
            let winners = list(pooling == .max ? spans.count * n : 0) { _ in Int32(0) }
            parallel.ranges(spans.count, grain: 1) { range in
                for index in range {
                    let (span, target) = (spans[index], y.values + index * n)
                    switch pooling {
                    case .mean:
                        ck_fill(0, n, target)
                        ck_column_sum(x.values + span.start * n, span.count, n, target)
                        ck_scale(1 / Float(span.count), target, n, target)
                    case .max:
                        for column in 0..<n {
                            let best =
                                span.range.max { x.values[$0 * n + column] < x.values[$1 * n + column] } ?? span.start
                            winners[index * n + column] = Int32(best)
                            target[column] = x.values[best * n + column]
                        }
                    }
                }
            }
            record(PoolRows(output: y, x: x, spans: spans, winners: winners, period: period))
            return y
        }
    }

    /// Joins two matrices with equally many rows side by side: [rows, a.columns + b.columns].
    package func concatenateColumns(_ a: Tensor, _ b: Tensor) -> Tensor {
        measured("concatenate") {
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
}

private struct GatherRows: Operation {
    let name: StaticString = "gather rows"
    let output: Tensor
    let rows: ArenaList<RowReference>
    let addends: ArenaList<RowReference>?
    let sources: ArenaList<RowSource>
    let period: Int?

    func backward(_ dy: UnsafeMutablePointer<Float>, _ pass: BackwardPass) {
        let n = output.columns
        let targets = pass.tape.list(sources.count) { index -> UnsafeMutablePointer<Float>? in
            switch sources[index] {
            case .tensor(let tensor):
                tensor.needsGradient ? pass.clearedGradient(of: tensor, within: span(of: index)) : nil
            case .parameter(let id): pass.parameterGradient(id)
            }
        }
        pass.parallel.columnRanges(n, count: rows.count * n) { columns in
            for (index, reference) in rows.enumerated() {
                let cotangent = dy + index * n + columns.lowerBound
                if reference.source >= 0, let target = targets[Int(reference.source)] {
                    ck_axpy(1, cotangent, columns.count, target + Int(reference.row) * n + columns.lowerBound)
                }
                if let addend = addends?[index], addend.source >= 0, let target = targets[Int(addend.source)] {
                    ck_axpy(1, cotangent, columns.count, target + Int(addend.row) * n + columns.lowerBound)
                }
            }
        }
    }

    /// Where in its sequences a source is read.
    private func span(of source: Int) -> RowSpan? {
        guard let period, addends == nil else { return nil }
        return RowSpan(holding: rows.lazy.filter { Int($0.source) == source }.map { Int($0.row) }, period: period)
    }
}

private struct PoolRows: Operation {
    let name: StaticString = "pool rows"
    let output: Tensor
    let x: Tensor
    let spans: ArenaList<RowRange>
    /// For max pooling: the row each value came from, [spans, columns]; empty for the mean.
    let winners: ArenaList<Int32>
    let period: Int?

    func backward(_ dy: UnsafeMutablePointer<Float>, _ pass: BackwardPass) {
        let n = x.columns
        let ends = (0..<2 * spans.count).lazy.map { end in
            let span = self.spans[end / 2]
            return end % 2 == 0 ? span.start : span.start + span.count - 1
        }
        let span = period.flatMap { RowSpan(holding: ends, period: $0) }
        if winners.isEmpty {
            let shared = SharedCotangent(
                spans: spans, columns: n, values: pass.tape.pool.take(spans.count * n), rows: span)
            pass.parallel.ranges(spans.count, grain: max(1, 32_768 / n)) { range in
                for index in range {
                    ck_scale(1 / Float(spans[index].count), dy + index * n, n, shared.values + index * n)
                }
            }
            return pass.share(shared, with: x)
        }
        let dx = pass.clearedGradient(of: x, within: span)
        pass.parallel.columnRanges(n, count: winners.count) { columns in
            for index in spans.indices {
                for column in columns { dx[Int(winners[index * n + column]) * n + column] += dy[index * n + column] }
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
        if a.needsGradient { send(dy, to: a, pass) }
        if b.needsGradient { send(dy + a.columns, to: b, pass) }
    }

    private func send(_ dy: UnsafePointer<Float>, to part: Tensor, _ pass: BackwardPass) {
        let n = output.columns
        let dx = pass.clearedGradient(of: part)
        pass.parallel.ranges(part.rows, grain: max(1, 32_768 / part.columns)) { rows in
            for row in rows { ck_axpy(1, dy + row * n, part.columns, dx + row * part.columns) }
        }
    }
}
