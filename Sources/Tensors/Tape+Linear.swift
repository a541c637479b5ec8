internal import Kernels

/// A low-rank update of a linear layer: W + scale B A, with A [rank, inputs] and B [outputs, rank] (Hu et al. 2021).
package struct LowRankUpdate: Sendable {
    package let a: Int
    package let b: Int
    package let rank: Int
    package let scale: Float

    package init(a: Int, b: Int, rank: Int, scale: Float) {
        self.a = a
        self.b = b
        self.rank = rank
        self.scale = scale
    }
}

extension Tape {
    /// `y = x Wᵀ + bias [+ scale (x Aᵀ) Bᵀ] [+ residual]`.
    ///
    /// - `x`: [M, K]. `weight`: parameter [N, K]. `bias`: parameter [N]. `residual`: [M, N].
    /// - Returns [M, N].
    package func linear(
        _ x: Tensor, weight: Int, bias: Int? = nil, residual: Tensor? = nil, update: LowRankUpdate? = nil
    ) -> Tensor {
        measured("linear") {
            let shape = parameters[weight].shape
            let outputs = shape[0]
            let inputs = shape.dropFirst().reduce(1, *)
            precondition(
                x.columns == inputs, "\(parameters[weight].name): input has \(x.columns) columns, not \(inputs)")
            precondition(residual == nil || residual?.count == x.rows * outputs)
            let needs =
                x.needsGradient || residual?.needsGradient == true || isTrainable(weight) || isTrainable(bias)
                || isTrainable(update?.a) || isTrainable(update?.b)
            let y = makeTensor(rows: x.rows, columns: outputs, needsGradient: needs)
            profile?.countProduct(x.rows, outputs, inputs)
            let start = LinearStart(bias: bias.map { floats($0) }, residual: residual?.values, outputs: outputs)
            switch weights[weight] {
            case .float32(let values):
                let product = parallel.product(
                    .normal, .transposed, m: x.rows, n: outputs, k: inputs, a: x.values, lda: inputs, b: values,
                    ldb: inputs, beta: start.beta, c: y.values, ldc: outputs, rowsOnly: true)
                // A chunk's rows are filled while they are about to be used.
                parallel.run(chunks: product.chunks) { chunk in
                    start.fill(product.rows(chunk), of: y.values)
                    product(chunk)
                }
            case .half(let values):
                parallel.ranges(x.rows, grain: max(1, 65_536 / outputs)) { start.fill($0, of: y.values) }
                parallel.multiply(
                    x.values, byTransposed: values, m: x.rows, n: outputs, k: inputs, beta: start.beta, into: y.values,
                    pool)
            }
            var down: Tensor?
            if let update {
                let low = makeTensor(rows: x.rows, columns: update.rank, needsGradient: false)
                profile?.countProduct(x.rows, update.rank, inputs + outputs)
                parallel.gemm(
                    .normal, .transposed, m: x.rows, n: update.rank, k: inputs, a: x.values, lda: inputs,
                    b: floats(update.a), ldb: inputs, beta: 0, c: low.values, ldc: update.rank)
                parallel.gemm(
                    .normal, .transposed, m: x.rows, n: outputs, k: update.rank, alpha: update.scale, a: low.values,
                    lda: update.rank, b: floats(update.b), ldb: update.rank, beta: 1, c: y.values, ldc: outputs)
                down = low
            }
            record(
                Linear(
                    output: y, x: x, weight: weight, bias: bias, residual: residual, update: update, down: down))
            return y
        }
    }
}

/// What a linear layer's product is added to.
private struct LinearStart {
    let bias: UnsafePointer<Float>?
    let residual: UnsafeMutablePointer<Float>?
    let outputs: Int

    var beta: Float { bias == nil && residual == nil ? 0 : 1 }

    func fill(_ rows: Range<Int>, of y: UnsafeMutablePointer<Float>) {
        let start = rows.lowerBound * outputs
        if let residual {
            (y + start).update(from: residual + start, count: rows.count * outputs)
            if let bias { ck_add_bias(bias, rows.count, outputs, y + start) }
        } else if let bias {
            ck_fill_rows(bias, rows.count, outputs, y + start)
        }
    }
}

private struct Linear: Operation {
    let name: StaticString = "linear"
    let output: Tensor
    let x: Tensor
    let weight: Int
    let bias: Int?
    let residual: Tensor?
    let update: LowRankUpdate?
    /// x Aᵀ, [M, rank].
    let down: Tensor?

    /// What the matrix products read and write: the tensors themselves, or copies of their active rows.
    private struct Rows {
        let count: Int
        let dy: UnsafePointer<Float>
        let x: UnsafePointer<Float>
        let down: UnsafePointer<Float>?
        let dx: UnsafeMutablePointer<Float>?
        /// Whether `dx` holds something to be added to.
        let accumulates: Bool
        /// When every row stands for a range of rows with one cotangent, whose inputs are added up: those ranges.
        var spans: ArenaList<RowRange>?
    }

    func backward(_ dy: UnsafeMutablePointer<Float>, _ pass: BackwardPass) {
        let active = pass.activeRows(of: output)
        let target = x.needsGradient ? pass.gradient(of: x, within: active.span) : nil
        if active.span == nil {
            let rows = Rows(
                count: x.rows, dy: dy, x: x.values, down: down.map { UnsafePointer($0.values) }, dx: target?.buffer,
                accumulates: target?.accumulate ?? false)
            backward(rows, pass)
        } else {
            let (m, n, k) = (active.count, output.columns, x.columns)
            let pool = pass.tape.pool
            let (dyRows, xRows) = (pool.take(m * n), pool.take(m * k))
            let downRows = down.map { pool.take(m * $0.columns) }
            let dxRows = target.map { _ in pool.take(m * k) }
            pass.gather(active, of: dy, columns: n, to: dyRows)
            pass.gather(active, of: x.values, columns: k, to: xRows)
            if let down, let downRows { pass.gather(active, of: down.values, columns: down.columns, to: downRows) }
            let rows = Rows(
                count: m, dy: dyRows, x: xRows, down: downRows.map { UnsafePointer($0) }, dx: dxRows,
                accumulates: false)
            backward(rows, pass)
            if let target, let dxRows {
                pass.scatter(dxRows, to: active, of: target.buffer, columns: k, accumulate: target.accumulate)
                pool.give(dxRows, count: m * k)
            }
            if let down, let downRows { pool.give(downRows, count: m * down.columns) }
            pool.give(xRows, count: m * k)
            pool.give(dyRows, count: m * n)
        }
        if let residual { pass.pass(output, to: residual) }
    }

    /// Rows with one cotangent need one product with the weights, and their inputs only as a sum.
    func backward(shared: SharedCotangent, _ pass: BackwardPass) -> Bool {
        let (count, n, k) = (shared.spans.count, output.columns, x.columns)
        // With nearly as many ranges as rows the sums would cost more than the products they save.
        if count * 4 > x.rows { return false }
        let pool = pass.tape.pool
        let sums = sum(x.values, columns: k, over: shared.spans, pass)
        let downSums = down.map { sum($0.values, columns: $0.columns, over: shared.spans, pass) }
        let dx = x.needsGradient ? pool.take(count * k) : nil
        backward(
            Rows(
                count: count, dy: shared.values, x: sums, down: downSums.map { UnsafePointer($0) }, dx: dx,
                accumulates: false, spans: shared.spans), pass)
        if let dx {
            pass.share(SharedCotangent(spans: shared.spans, columns: k, values: dx, rows: shared.rows), with: x)
        }
        if let residual {
            let values = pool.take(count * n)
            pass.parallel.once { values.update(from: shared.values, count: count * n) }
            pass.share(
                SharedCotangent(spans: shared.spans, columns: n, values: values, rows: shared.rows), with: residual)
        }
        if let down, let downSums { pool.give(downSums, count: count * down.columns) }
        pool.give(sums, count: count * k)
        return true
    }

    /// The sum of the rows of each span, [spans, columns].
    private func sum(
        _ values: UnsafePointer<Float>, columns: Int, over spans: ArenaList<RowRange>, _ pass: BackwardPass
    ) -> UnsafeMutablePointer<Float> {
        let sums = pass.tape.pool.take(spans.count * columns)
        pass.parallel.ranges(spans.count, grain: 1) { range in
            for index in range {
                ck_fill(0, columns, sums + index * columns)
                ck_column_sum(
                    values + spans[index].start * columns, spans[index].count, columns, sums + index * columns)
            }
        }
        return sums
    }

    private func backward(_ rows: Rows, _ pass: BackwardPass) {
        let parallel = pass.parallel
        let (m, n, k) = (rows.count, output.columns, x.columns)
        let profile = pass.tape.profile
        let (dx, dw, db) = (rows.dx, pass.parameterGradient(weight), pass.parameterGradient(bias))
        if dx != nil { profile?.countProduct(m, k, n) }
        if dw != nil { profile?.countProduct(n, k, m) }
        // All three in one loop: threads that are done with one go on with the next.
        var inputProduct: ParallelProduct?
        if let dx {
            let beta: Float = rows.accumulates ? 1 : 0
            switch pass.tape.weights[weight] {
            case .float32(let values):
                inputProduct = parallel.product(
                    .normal, .normal, m: m, n: k, k: n, a: rows.dy, lda: n, b: values, ldb: k, beta: beta, c: dx,
                    ldc: k)
            case .half(let values):
                parallel.multiply(rows.dy, by: values, m: m, n: k, k: n, beta: beta, into: dx, pass.tape.pool)
            }
        }
        let weightProduct = dw.map {
            parallel.product(
                .transposed, .normal, m: n, n: k, k: m, a: rows.dy, lda: n, b: rows.x, ldb: k, beta: 1, c: $0, ldc: k)
        }
        let (inputChunks, weightChunks) = (inputProduct?.chunks ?? 0, weightProduct?.chunks ?? 0)
        let biasChunks = db == nil ? 0 : 1
        parallel.run(chunks: biasChunks + inputChunks + weightChunks) { chunk in
            let place = chunk - biasChunks
            if place < 0, let db {
                sumBias(rows, into: db)
            } else if place < inputChunks {
                inputProduct?(place)
            } else {
                weightProduct?(place - inputChunks)
            }
        }
        if let update, let down = rows.down { backward(update, down: down, rows, pass) }
    }

    private func sumBias(_ rows: Rows, into db: UnsafeMutablePointer<Float>) {
        let n = output.columns
        guard let spans = rows.spans else { return ck_column_sum(rows.dy, rows.count, n, db) }
        for (index, span) in spans.enumerated() { ck_axpy(Float(span.count), rows.dy + index * n, n, db) }
    }

    private func backward(
        _ update: LowRankUpdate, down: UnsafePointer<Float>, _ rows: Rows, _ pass: BackwardPass
    ) {
        let parallel = pass.parallel
        let (m, n, k, r) = (rows.count, output.columns, x.columns, update.rank)
        let dy = rows.dy
        let dDown = pass.tape.pool.take(m * r)
        pass.tape.profile?.countProduct(m, r, 2 * (n + k))
        parallel.gemm(
            .normal, .normal, m: m, n: r, k: n, alpha: update.scale, a: dy, lda: n, b: pass.tape.floats(update.b),
            ldb: r,
            beta: 0, c: dDown, ldc: r)
        if let db = pass.parameterGradient(update.b) {
            parallel.gemm(
                .transposed, .normal, m: n, n: r, k: m, alpha: update.scale, a: dy, lda: n, b: down, ldb: r,
                beta: 1, c: db, ldc: r)
        }
        if let da = pass.parameterGradient(update.a) {
            parallel.gemm(
                .transposed, .normal, m: r, n: k, k: m, a: dDown, lda: r, b: rows.x, ldb: k, beta: 1, c: da, ldc: k)
        }
        if let dx = rows.dx {
            parallel.gemm(
                .normal, .normal, m: m, n: k, k: r, a: dDown, lda: r, b: pass.tape.floats(update.a), ldb: k, beta: 1,
                c: dx, ldc: k)
        }
        pass.tape.pool.give(dDown, count: m * r)
    }
}

extension BackwardPass {
    /// Copies the active rows of a matrix to consecutive rows.
    func gather(
        _ active: ActiveRows, of source: UnsafePointer<Float>, columns: Int, to target: UnsafeMutablePointer<Float>
    ) {
        parallel.ranges(active.count, grain: max(1, 65_536 / max(1, columns))) { range in
            active.forEach(in: range) { rows, number in
                (target + number * columns).update(
                    from: source + rows.lowerBound * columns, count: rows.count * columns)
            }
        }
    }

    /// Copies or adds consecutive rows to the active rows of a matrix.
    func scatter(
        _ source: UnsafePointer<Float>, to active: ActiveRows, of target: UnsafeMutablePointer<Float>, columns: Int,
        accumulate: Bool
    ) {
        parallel.ranges(active.count, grain: max(1, 65_536 / max(1, columns))) { range in
            active.forEach(in: range) { rows, number in
                let (place, count) = (target + rows.lowerBound * columns, rows.count * columns)
                if accumulate {
                    ck_add(place, source + number * columns, count, place)
                } else {
                    place.update(from: source + number * columns, count: count)
                }
            }
        }
    }
}
