internal import Kernels

/// A block of columns of a matrix: the queries, keys or values within a joint projection.
package struct ColumnBlock: BitwiseCopyable {
    let tensor: Tensor
    let offset: Int

    package init(_ tensor: Tensor, offset: Int = 0) {
        self.tensor = tensor
        self.offset = offset
    }

    var values: UnsafeMutablePointer<Float> { tensor.values + offset }
    var ld: Int { tensor.columns }
}

/// The shape of a self-attention over equally long sequences.
package struct AttentionShape: Sendable {
    /// Sequences, and rows of each.
    package let batch: Int
    package let tokens: Int
    /// Query heads, key/value heads (grouped-query attention when fewer), width of a head.
    package let heads: Int
    package let keyValueHeads: Int
    package let headDim: Int
    /// Whether a row sees only itself and earlier rows.
    package let isCausal: Bool
    /// Valid keys of each sequence; empty when all are. Not needed when causal with padding at the end.
    package let keyLengths: [Int]

    package init(
        batch: Int, tokens: Int, heads: Int, keyValueHeads: Int, headDim: Int, isCausal: Bool, keyLengths: [Int] = []
    ) {
        precondition(heads % keyValueHeads == 0)
        self.batch = batch
        self.tokens = tokens
        self.heads = heads
        self.keyValueHeads = keyValueHeads
        self.headDim = headDim
        self.isCausal = isCausal
        self.keyLengths = keyLengths
    }

    /// Rows are done in blocks, so that a causal block leaves out the keys that none of its rows sees.
    static let rowBlock = 64

    func keys(of sequence: Int, upTo row: Int) -> Int {
        let valid = keyLengths.isEmpty ? tokens : keyLengths[sequence]
        return isCausal ? min(valid, row) : valid
    }

    /// Notes `count` products of [queries, headDim] x [headDim, keys] in each head.
    func countProducts(_ count: Int, queries: Range<Int>, in profile: OperationProfile) {
        for sequence in 0..<batch {
            forEachBlock(of: sequence) { start, rows, keys in
                let active = (start..<start + rows).clamped(to: queries).count
                profile.countProduct(active, keys, headDim, times: count * heads)
            }
        }
    }

    func forEachBlock(of sequence: Int, _ body: (_ start: Int, _ rows: Int, _ keys: Int) -> Void) {
        var start = 0
        while start < tokens {
            let end = isCausal ? min(tokens, start + Self.rowBlock) : tokens
            // A padded row after the last valid key still sees those keys, as it would with a padding mask.
            body(start, end - start, keys(of: sequence, upTo: end))
            start = end
        }
    }
}

extension Tape {
    /// `softmax(Q Kᵀ / √d) V` per head (Vaswani et al. 2017).
    ///
    /// - `q`: columns heads * headDim of a [batch * tokens, ...] matrix; `k`, `v`: keyValueHeads * headDim columns.
    /// - Returns [batch * tokens, heads * headDim].
    package func attention(q: ColumnBlock, k: ColumnBlock, v: ColumnBlock, shape: AttentionShape) -> Tensor {
        measured("attention") {
            let needs = q.tensor.needsGradient || k.tensor.needsGradient || v.tensor.needsGradient
            let width = shape.heads * shape.headDim
            let y = makeTensor(rows: shape.batch * shape.tokens, columns: width, needsGradient: needs)
            let (t, d) = (shape.tokens, shape.headDim)
            let group = shape.heads / shape.keyValueHeads
            let scale = 1 / Float(d).squareRoot()
            let tasks = shape.batch * shape.heads
            let chunks = parallel.chunkCount(tasks, grain: 1)
            // Probabilities are kept for the backward pass; without one, each thread needs room for a single head.
            let keep = keepsOperations && needs
            if let profile { shape.countProducts(2, queries: 0..<t, in: profile) }
            let kernel = parallel.kernel
            let probabilities = arena.allocate((keep ? tasks : chunks) * t * t)
            parallel.run(chunks: chunks) { chunk in
                for task in Parallel.range(chunk, of: chunks, count: tasks) {
                    let (sequence, head) = (task / shape.heads, task % shape.heads)
                    let p = probabilities + (keep ? task : chunk) * t * t
                    let queries = q.values + sequence * t * q.ld + head * d
                    let keys = k.values + sequence * t * k.ld + head / group * d
                    let values = v.values + sequence * t * v.ld + head / group * d
                    shape.forEachBlock(of: sequence) { start, rows, limit in
                        gemm(
                            .normal, .transposed, m: rows, n: limit, k: d, a: queries + start * q.ld, lda: q.ld,
                            b: keys, ldb: k.ld, beta: 0, c: p + start * t, ldc: t, kernel: kernel)
                        ck_softmax_rows(p + start * t, rows, limit, t, scale, shape.isCausal ? start + 1 : -1)
                        gemm(
                            .normal, .normal, m: rows, n: d, k: limit, a: p + start * t, lda: t, b: values, ldb: v.ld,
                            beta: 0, c: y.values + (sequence * t + start) * width + head * d, ldc: width, kernel: kernel
                        )
                    }
                }
            }
            record(Attention(output: y, q: q, k: k, v: v, shape: shape, probabilities: probabilities))
            return y
        }
    }
}

private struct Attention: Operation {
    let name: StaticString = "attention"
    let output: Tensor
    let q: ColumnBlock
    let k: ColumnBlock
    let v: ColumnBlock
    let shape: AttentionShape
    /// [batch, heads, tokens, tokens]; in a causal row block only the keys up to its last row are defined.
    let probabilities: UnsafeMutablePointer<Float>

    func backward(_ dy: UnsafeMutablePointer<Float>, _ pass: BackwardPass) {
        let (t, d) = (shape.tokens, shape.headDim)
        let width = shape.heads * d
        let group = shape.heads / shape.keyValueHeads
        let scale = 1 / Float(d).squareRoot()
        let active = pass.activeRows(of: output).span.flatMap { $0.period == t ? $0 : nil }
        let queries = active?.range ?? 0..<t
        let keys = shape.isCausal ? RowSpan(period: t, 0..<queries.upperBound) : nil
        let dq = pass.clearedGradient(of: q.tensor, within: active) + q.offset
        let dk = pass.clearedGradient(of: k.tensor, within: keys) + k.offset
        let dv = pass.clearedGradient(of: v.tensor, within: keys) + v.offset
        // One task per key/value head: the query heads of a group add to the same dk and dv.
        let tasks = shape.batch * shape.keyValueHeads
        let chunks = pass.parallel.chunkCount(tasks, grain: 1)
        if let profile = pass.tape.profile { shape.countProducts(4, queries: queries, in: profile) }
        let kernel = pass.parallel.kernel
        let block = (shape.isCausal ? min(t, AttentionShape.rowBlock) : t) * t
        let scratch = pass.tape.pool.take(chunks * block)
        pass.parallel.run(chunks: chunks) { chunk in
            let dp = scratch + chunk * block
            for task in Parallel.range(chunk, of: chunks, count: tasks) {
                let (sequence, kvHead) = (task / shape.keyValueHeads, task % shape.keyValueHeads)
                let keyOffset = sequence * t * k.ld + kvHead * d
                let valueOffset = sequence * t * v.ld + kvHead * d
                for head in kvHead * group..<(kvHead + 1) * group {
                    let p = probabilities + (sequence * shape.heads + head) * t * t
                    shape.forEachBlock(of: sequence) { blockStart, blockRows, limit in
                        let block = (blockStart..<blockStart + blockRows).clamped(to: queries)
                        if block.isEmpty { return }
                        let (start, rows) = (block.lowerBound, block.count)
                        let dOut = dy + (sequence * t + start) * width + head * d
                        let queryOffset = (sequence * t + start) * q.ld + head * d
                        gemm(
                            .normal, .transposed, m: rows, n: limit, k: d, a: dOut, lda: width,
                            b: v.values + valueOffset, ldb: v.ld, beta: 0, c: dp, ldc: t, kernel: kernel)
                        gemm(
                            .transposed, .normal, m: limit, n: d, k: rows, a: p + start * t, lda: t, b: dOut,
                            ldb: width, beta: 1, c: dv + valueOffset, ldc: v.ld, kernel: kernel)
                        ck_softmax_backward_rows(p + start * t, dp, rows, limit, t, scale)
                        gemm(
                            .normal, .normal, m: rows, n: d, k: limit, a: dp, lda: t, b: k.values + keyOffset,
                            ldb: k.ld, beta: 1, c: dq + queryOffset, ldc: q.ld, kernel: kernel)
                        gemm(
                            .transposed, .normal, m: limit, n: d, k: rows, a: dp, lda: t,
                            b: q.values + queryOffset, ldb: q.ld, beta: 1, c: dk + keyOffset, ldc: k.ld, kernel: kernel)
                    }
                }
            }
        }
        pass.tape.pool.give(scratch, count: chunks * block)
    }
}
