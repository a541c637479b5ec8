internal import Kernels

/// A low-rank update of a linear layer: W + scale B A, with A [rank, inputs] and B [outputs, rank] (Hu et al. 2021).
public struct LowRankUpdate: Sendable {
    public let a: Int
    public let b: Int
    public let rank: Int
    public let scale: Float

    public init(a: Int, b: Int, rank: Int, scale: Float) {
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
    public func linear(
        _ x: Tensor, weight: Int, bias: Int? = nil, residual: Tensor? = nil, update: LowRankUpdate? = nil
    ) -> Tensor {
        let shape = parameters[weight].shape
        let outputs = shape[0]
        let inputs = shape.dropFirst().reduce(1, *)
        precondition(x.columns == inputs, "\(parameters[weight].name): input has \(x.columns) columns, not \(inputs)")
        precondition(residual == nil || residual?.count == x.rows * outputs)
        let needs =
            x.needsGradient || residual?.needsGradient == true || isTrainable(weight) || isTrainable(bias)
            || isTrainable(update?.a) || isTrainable(update?.b)
        let y = makeTensor(rows: x.rows, columns: outputs, needsGradient: needs)
        let biasValues = bias.map { floats($0) }
        let beta: Float = biasValues == nil && residual == nil ? 0 : 1
        let prepare: (Range<Int>) -> Void = { rows in
            let start = rows.lowerBound * outputs
            if let residual {
                (y.values + start).update(from: residual.values + start, count: rows.count * outputs)
                if let biasValues { ck_add_bias(biasValues, rows.count, outputs, y.values + start) }
            } else if let biasValues {
                ck_fill_rows(biasValues, rows.count, outputs, y.values + start)
            }
        }
        switch weights[weight] {
        case .float32(let values):
            parallel.gemm(
                .normal, .transposed, m: x.rows, n: outputs, k: inputs, a: x.values, lda: inputs, b: values,
                ldb: inputs, beta: beta, c: y.values, ldc: outputs, prepare: prepare)
        case .half(let values):
            parallel.ranges(x.rows, grain: max(1, 65_536 / outputs), prepare)
            parallel.multiply(
                x.values, byTransposed: values, m: x.rows, n: outputs, k: inputs, beta: beta, into: y.values, pool)
        }
        var down: Tensor?
        if let update {
            let low = makeTensor(rows: x.rows, columns: update.rank, needsGradient: false)
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

private struct Linear: Operation {
    let output: Tensor
    let x: Tensor
    let weight: Int
    let bias: Int?
    let residual: Tensor?
    let update: LowRankUpdate?
    /// x Aᵀ, [M, rank].
    let down: Tensor?

    func backward(_ dy: UnsafeMutablePointer<Float>, _ pass: BackwardPass) {
        let parallel = pass.parallel
        let (m, n, k) = (x.rows, output.columns, x.columns)
        if x.needsGradient {
            let (dx, accumulate) = pass.gradient(of: x)
            switch pass.tape.weights[weight] {
            case .float32(let values):
                parallel.gemm(
                    .normal, .normal, m: m, n: k, k: n, a: dy, lda: n, b: values, ldb: k, beta: accumulate ? 1 : 0,
                    c: dx, ldc: k)
            case .half(let values):
                parallel.multiply(
                    dy, by: values, m: m, n: k, k: n, beta: accumulate ? 1 : 0, into: dx, pass.tape.pool)
            }
        }
        if let dw = pass.parameterGradient(weight) {
            parallel.gemm(
                .transposed, .normal, m: n, n: k, k: m, a: dy, lda: n, b: x.values, ldb: k, beta: 1, c: dw, ldc: k)
        }
        if let db = pass.parameterGradient(bias) { pass.addColumnSum(of: dy, rows: m, columns: n, to: db) }
        if let update, let down { backward(update, down: down, dy, pass) }
        if let residual { pass.pass(output, to: residual) }
    }

    private func backward(
        _ update: LowRankUpdate, down: Tensor, _ dy: UnsafeMutablePointer<Float>, _ pass: BackwardPass
    ) {
        let parallel = pass.parallel
        let (m, n, k, r) = (x.rows, output.columns, x.columns, update.rank)
        let dDown = pass.tape.pool.take(m * r)
        parallel.gemm(
            .normal, .normal, m: m, n: r, k: n, alpha: update.scale, a: dy, lda: n, b: pass.tape.floats(update.b),
            ldb: r,
            beta: 0, c: dDown, ldc: r)
        if let db = pass.parameterGradient(update.b) {
            parallel.gemm(
                .transposed, .normal, m: n, n: r, k: m, alpha: update.scale, a: dy, lda: n, b: down.values, ldb: r,
                beta: 1, c: db, ldc: r)
        }
        if let da = pass.parameterGradient(update.a) {
            parallel.gemm(
                .transposed, .normal, m: r, n: k, k: m, a: dDown, lda: r, b: x.values, ldb: k, beta: 1, c: da, ldc: k)
        }
        if x.needsGradient {
            let (dx, _) = pass.gradient(of: x)
            parallel.gemm(
                .normal, .normal, m: m, n: k, k: r, a: dDown, lda: r, b: pass.tape.floats(update.a), ldb: k, beta: 1,
                c: dx, ldc: k)
        }
        pass.tape.pool.give(dDown, count: m * r)
    }
}

extension BackwardPass {
    /// `sum += Σ_rows dy`, each thread over its own rows first, the partial sums added in a fixed order.
    func addColumnSum(
        of dy: UnsafePointer<Float>, rows: Int, columns: Int, to sum: UnsafeMutablePointer<Float>
    ) {
        let chunks = parallel.chunkCount(rows, grain: max(1, 65_536 / max(1, columns)))
        if chunks <= 1 { return ck_column_sum(dy, rows, columns, sum) }
        let partial = tape.pool.take(chunks * columns)
        parallel.run(chunks: chunks) { chunk in
            let range = Parallel.range(chunk, of: chunks, count: rows)
            ck_fill(0, columns, partial + chunk * columns)
            ck_column_sum(dy + range.lowerBound * columns, range.count, columns, partial + chunk * columns)
        }
        ck_column_sum(partial, chunks, columns, sum)
        tape.pool.give(partial, count: chunks * columns)
    }
}
