internal import Kernels

extension Tape {
    /// LayerNorm over each row (Ba et al. 2016): `y = (x - mean) / sqrt(var + epsilon) * weight + bias`.
    ///
    /// - `x`: [M, N]. `weight`, `bias`: parameters [N].
    package func layerNorm(_ x: Tensor, weight: Int, bias: Int, epsilon: Float) -> Tensor {
        measured("norm") {
            let needs = x.needsGradient || isTrainable(weight) || isTrainable(bias)
            let y = makeTensor(rows: x.rows, columns: x.columns, needsGradient: needs)
            let mean = arena.allocate(x.rows)
            let rstd = arena.allocate(x.rows)
            let n = x.columns
            parallel.ranges(x.rows, grain: Norm.grain(n)) { rows in
                let start = rows.lowerBound
                ck_layer_norm(
                    x.values + start * n, floats(weight), floats(bias), epsilon, rows.count, n, y.values + start * n,
                    mean + start, rstd + start)
            }
            record(
                Norm(
                    output: y, x: x, heads: 1, weight: weight, bias: bias, mean: mean, rstd: rstd,
                    values: floats(weight)))
            return y
        }
    }

    /// RMSNorm (Zhang & Sennrich 2019) over each row, or over each head of it when the weight is narrower:
    /// `y = x / sqrt(mean(x²) + epsilon) * weight`.
    ///
    /// - `x`: [M, heads * N]. `weight`: parameter [N].
    package func rmsNorm(_ x: Tensor, weight: Int, epsilon: Float) -> Tensor {
        measured("norm") {
            let n = parameters[weight].count
            precondition(x.columns % n == 0, "\(parameters[weight].name): \(x.columns) columns are not heads of \(n)")
            let heads = x.columns / n
            let y = makeTensor(rows: x.rows, columns: x.columns, needsGradient: x.needsGradient || isTrainable(weight))
            let rstd = arena.allocate(x.rows * heads)
            parallel.ranges(x.rows, grain: Norm.grain(x.columns)) { rows in
                let start = rows.lowerBound * heads
                ck_rms_norm(
                    x.values + start * n, floats(weight), epsilon, rows.count * heads, n, y.values + start * n,
                    rstd + start)
            }
            record(
                Norm(
                    output: y, x: x, heads: heads, weight: weight, bias: nil, mean: nil, rstd: rstd,
                    values: floats(weight)))
            return y
        }
    }
}

/// Backward pass of both norms; an RMSNorm has no mean and no bias.
private struct Norm: Operation {
    let name: StaticString = "norm"
    let output: Tensor
    let x: Tensor
    /// Normalised parts of a row.
    let heads: Int
    let weight: Int
    let bias: Int?
    let mean: UnsafeMutablePointer<Float>?
    let rstd: UnsafeMutablePointer<Float>
    let values: UnsafePointer<Float>

    static func grain(_ columns: Int) -> Int { max(1, 16_384 / max(1, columns)) }

    func backward(_ dy: UnsafeMutablePointer<Float>, _ pass: BackwardPass) {
        let n = x.columns / heads
        let active = pass.activeRows(of: output)
        let dw = pass.parameterGradient(weight)
        let db = pass.parameterGradient(bias)
        // A frozen input still needs a place for dx: the kernels always write it.
        let scratch = x.needsGradient ? nil : pass.tape.pool.take(x.count)
        let target = scratch.map { ($0, false) } ?? pass.gradient(of: x, within: active.span)
        let (dx, accumulate) = (target.0, target.1 ? Int32(1) : 0)
        let chunks = pass.parallel.chunkCount(active.count, grain: Self.grain(x.columns))
        let partial = pass.tape.pool.take(2 * chunks * n)
        pass.parallel.run(chunks: chunks) { chunk in
            let partialW = partial + 2 * chunk * n
            ck_fill(0, 2 * n, partialW)
            active.forEach(in: Parallel.range(chunk, of: chunks, count: active.count)) { rows, _ in
                let (start, count) = (rows.lowerBound * heads, rows.count * heads)
                if let mean {
                    ck_layer_norm_backward(
                        dy + start * n, x.values + start * n, values, mean + start, rstd + start, count, n,
                        dx + start * n, accumulate, dw == nil ? nil : partialW, db == nil ? nil : partialW + n)
                } else {
                    ck_rms_norm_backward(
                        dy + start * n, x.values + start * n, values, rstd + start, count, n, dx + start * n,
                        accumulate, dw == nil ? nil : partialW)
                }
            }
        }
        pass.parallel.once {
            for chunk in 0..<chunks {
                if let dw { ck_add(dw, partial + 2 * chunk * n, n, dw) }
                if let db { ck_add(db, partial + (2 * chunk + 1) * n, n, db) }
            }
        }
        pass.tape.pool.give(partial, count: 2 * chunks * n)
        if let scratch { pass.tape.pool.give(scratch, count: x.count) }
    }
}
