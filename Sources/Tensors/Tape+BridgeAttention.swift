internal import Glibc
internal import Kernels

/// Keys and values of one source of a bridge attention, [batch * tokens, heads * headDim] each.
package struct BridgeSource: BitwiseCopyable {
    package let keys: Tensor
    package let values: Tensor

    package init(keys: Tensor, values: Tensor) {
        self.keys = keys
        self.values = values
    }
}

extension Tape {
    /// Bridge attention of the VLA-Adapter policy (Wang et al. 2025): one softmax over the keys of three sources.
    ///
    ///     softmax([q·k_self, q·k_adapter, tanh(g) q·k_task] / √d) [v_self; v_adapter; v_task]
    ///
    /// The gate multiplies logits, not outputs: at g = 0 the task keys keep a logit of 0 each and a share of the
    /// softmax, as released weights expect.
    ///
    /// - `q`: [batch * queries, heads * headDim]. `gate`: a parameter of one value.
    package func bridgeAttention(
        q: Tensor, current: BridgeSource, adapter: BridgeSource, task: BridgeSource, gate: Int, batch: Int, heads: Int
    ) -> Tensor {
        measured("bridge attention") {
            let sources = list(3) { $0 == 0 ? current : $0 == 1 ? adapter : task }
            let needs =
                q.needsGradient || isTrainable(gate)
                || sources.contains { $0.keys.needsGradient || $0.values.needsGradient }
            let y = makeTensor(rows: q.rows, columns: q.columns, needsGradient: needs)
            let operation = BridgeAttention(
                output: y, q: q, sources: sources, gate: gate, gateValue: tanhf(floats(gate)[0]), batch: batch,
                heads: heads,
                probabilities: arena.allocate(heads * q.rows * sources.reduce(0) { $0 + $1.keys.rows / batch }))
            operation.forward(parallel)
            profile?.countProduct(operation.queries * 2, operation.keyCount, q.columns / heads, times: batch * heads)
            record(operation)
            return y
        }
    }
}

private struct BridgeAttention: Operation {
    let name: StaticString = "bridge attention"
    let output: Tensor
    let q: Tensor
    let sources: ArenaList<BridgeSource>
    let gate: Int
    /// tanh(g).
    let gateValue: Float
    let batch: Int
    let heads: Int
    /// [batch, heads, queries, keys of all sources].
    let probabilities: UnsafeMutablePointer<Float>

    var queries: Int { q.rows / batch }
    private var headDim: Int { q.columns / heads }
    var keyCount: Int { sources.reduce(0) { $0 + $1.keys.rows / batch } }
    private var scale: Float { 1 / Float(headDim).squareRoot() }

    /// Calls `body` for each source with its tokens, first column among the keys and factor on the logits.
    private func forEachSource(
        _ body: (BridgeSource, _ index: Int, _ tokens: Int, _ column: Int, _ factor: Float) -> Void
    ) {
        var column = 0
        for (index, source) in sources.enumerated() {
            let tokens = source.keys.rows / batch
            let isTask = index == sources.count - 1
            body(source, index, tokens, column, isTask ? gateValue : 1)
            column += tokens
        }
    }

    func forward(_ parallel: Parallel) {
        let (t, d, width, all) = (queries, headDim, q.columns, keyCount)
        let kernel = parallel.kernel
        parallel.ranges(batch * heads, grain: 1) { tasks in
            for task in tasks {
                let (sample, head) = (task / heads, task % heads)
                let p = probabilities + task * t * all
                forEachSource { source, _, tokens, column, factor in
                    gemm(
                        .normal, .transposed, m: t, n: tokens, k: d, alpha: factor,
                        a: q.values + sample * t * width + head * d, lda: width,
                        b: source.keys.values + sample * tokens * width + head * d, ldb: width,
                        beta: 0, c: p + column, ldc: all, kernel: kernel)
                }
                ck_softmax_rows(p, t, all, all, scale, -1)
                forEachSource { source, _, tokens, column, _ in
                    gemm(
                        .normal, .normal, m: t, n: d, k: tokens, a: p + column, lda: all,
                        b: source.values.values + sample * tokens * width + head * d, ldb: width,
                        beta: column == 0 ? 0 : 1, c: output.values + sample * t * width + head * d, ldc: width,
                        kernel: kernel)
                }
            }
        }
    }

    func backward(_ dy: UnsafeMutablePointer<Float>, _ pass: BackwardPass) {
        let (t, d, width, all) = (queries, headDim, q.columns, keyCount)
        let pool = pass.tape.pool
        let kernel = pass.parallel.kernel
        let tasks = batch * heads
        let logits = pool.take(2 * tasks * t * all)
        let gateParts = pool.take(tasks)
        // Sources that need no gradient (a frozen model under a new policy) get a buffer that is thrown away.
        func target(_ tensor: Tensor) -> UnsafeMutablePointer<Float> {
            tensor.needsGradient ? pass.clearedGradient(of: tensor) : pool.take(tensor.count)
        }
        func finish(_ tensor: Tensor, _ buffer: UnsafeMutablePointer<Float>) {
            if !tensor.needsGradient { pool.give(buffer, count: tensor.count) }
        }
        let dq = target(q)
        pass.tape.profile?.countProduct(t * 4, all, d, times: tasks)
        let dKeys = pass.tape.list(sources.count) { target(sources[$0].keys) }
        let dValues = pass.tape.list(sources.count) { target(sources[$0].values) }
        pass.parallel.ranges(tasks, grain: 1) { range in
            for task in range {
                let (sample, head) = (task / heads, task % heads)
                let p = probabilities + task * t * all
                let ds = logits + 2 * task * t * all
                let raw = ds + t * all
                let dOut = dy + sample * t * width + head * d
                let queryOffset = sample * t * width + head * d
                forEachSource { source, index, tokens, column, _ in
                    let offset = sample * tokens * width + head * d
                    gemm(
                        .normal, .transposed, m: t, n: tokens, k: d, a: dOut, lda: width,
                        b: source.values.values + offset, ldb: width, beta: 0, c: ds + column, ldc: all, kernel: kernel)
                    gemm(
                        .transposed, .normal, m: tokens, n: d, k: t, a: p + column, lda: all, b: dOut, ldb: width,
                        beta: 1, c: dValues[index] + offset, ldc: width, kernel: kernel)
                }
                ck_softmax_backward_rows(p, ds, t, all, all, scale)
                forEachSource { source, index, tokens, column, factor in
                    let isTask = index == sources.count - 1
                    let offset = sample * tokens * width + head * d
                    if isTask {
                        // d loss / d tanh(g) = Σ ds · (q·k); the kernel has folded the scale into ds.
                        gemm(
                            .normal, .transposed, m: t, n: tokens, k: d, a: q.values + queryOffset, lda: width,
                            b: source.keys.values + offset, ldb: width, beta: 0, c: raw, ldc: tokens, kernel: kernel)
                        var sum = 0.0
                        for row in 0..<t { sum += ck_dot_f64(ds + row * all + column, raw + row * tokens, tokens) }
                        gateParts[task] = Float(sum)
                    }
                    gemm(
                        .normal, .normal, m: t, n: d, k: tokens, alpha: factor, a: ds + column, lda: all,
                        b: source.keys.values + offset, ldb: width, beta: 1, c: dq + queryOffset, ldc: width,
                        kernel: kernel)
                    gemm(
                        .transposed, .normal, m: tokens, n: d, k: t, alpha: factor, a: ds + column, lda: all,
                        b: q.values + queryOffset, ldb: width, beta: 1, c: dKeys[index] + offset, ldc: width,
                        kernel: kernel)
                }
            }
        }
        if let dGate = pass.parameterGradient(gate) {
            pass.parallel.once {
                var sum = 0.0
                for task in 0..<tasks { sum += Double(gateParts[task]) }
                dGate[0] += Float(sum) * (1 - gateValue * gateValue)
            }
        }
        finish(q, dq)
        for (index, source) in sources.enumerated() {
            finish(source.keys, dKeys[index])
            finish(source.values, dValues[index])
        }
        pool.give(logits, count: 2 * tasks * t * all)
        pool.give(gateParts, count: tasks)
    }
}
