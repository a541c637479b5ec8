import Formats
import Tensors
import Testing

/// Every operation's backward pass against finite differences, at sizes that no vector width divides.
@Suite struct OperationTests {
    static let sizes: [(Int, Int)] = [(1, 1), (3, 5), (7, 17), (2, 33)]

    private func expectGradients(
        _ shapes: [[Int]], tolerance: Double = 4e-3, _ build: @escaping (Tape, [Int]) -> Tensor,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        for threads in [1, 2] {
            let error = GradientCheck(shapes: shapes, build: build, threads: threads).worstError()
            #expect(error < tolerance, "\(shapes), \(threads) threads: \(error)", sourceLocation: sourceLocation)
        }
    }

    @Test(arguments: sizes) func linear(_ m: Int, _ n: Int) {
        let k = n + 2
        expectGradients([[m, k], [n, k]]) { $0.linear($0.rows(of: $1[0], m, k), weight: $1[1]) }
        expectGradients([[m, k], [n, k], [n], [m, n]]) { tape, p in
            tape.linear(tape.rows(of: p[0], m, k), weight: p[1], bias: p[2], residual: tape.rows(of: p[3], m, n))
        }
        expectGradients([[m, k], [n, k], [2, k], [n, 2]]) { tape, p in
            let update = LowRankUpdate(a: p[2], b: p[3], rank: 2, scale: 0.5)
            return tape.linear(tape.rows(of: p[0], m, k), weight: p[1], update: update)
        }
    }

    /// Enough rows that the work is really split among threads.
    @Test func linearOverManyRows() {
        let x = (0..<90).map { RowReference(source: 0, row: $0 % 3) }
        expectGradients([[3, 65], [70, 65], [70]]) { tape, p in
            tape.linear(tape.gatherRows(x, from: [.parameter(p[0])], columns: 65), weight: p[1], bias: p[2])
        }
    }

    @Test(arguments: sizes) func norms(_ m: Int, _ n: Int) {
        expectGradients([[m, n], [n], [n]]) {
            $0.layerNorm($0.rows(of: $1[0], m, n), weight: $1[1], bias: $1[2], epsilon: 0.1)
        }
        expectGradients([[m, n], [n]]) { $0.rmsNorm($0.rows(of: $1[0], m, n), weight: $1[1], epsilon: 0.1) }
        expectGradients([[m, 3 * n], [n]]) { $0.rmsNorm($0.rows(of: $1[0], m, 3 * n), weight: $1[1], epsilon: 0.1) }
    }

    @Test(arguments: sizes) func activations(_ m: Int, _ n: Int) {
        expectGradients([[m, n]]) { $0.gelu($0.rows(of: $1[0], m, n)) }
        expectGradients([[m, n], [m, n]]) { $0.swiGLU(gate: $0.rows(of: $1[0], m, n), up: $0.rows(of: $1[1], m, n)) }
        expectGradients([[m, n], [m, n], [n]]) {
            $0.layerScaleResidual($0.rows(of: $1[0], m, n), $0.rows(of: $1[1], m, n), gamma: $1[2])
        }
        expectGradients([[m, n], [m, n]]) { $0.add($0.rows(of: $1[0], m, n), $0.rows(of: $1[1], m, n)) }
    }

    /// A kink makes a difference quotient wrong where it straddles zero, so ReLU is checked on values away from it.
    @Test func relu() {
        let parameters = ParameterSet()
        let x = parameters.declare("x", shape: [1, 5], trainable: true)
        parameters.seal()
        for (index, value) in [Float(-2), -0.5, 0, 0.5, 3].enumerated() { parameters.values(x)[index] = value }
        let tape = Tape(parameters: parameters, parallel: Parallel(threads: 1))
        tape.reset(weights: parameters.currentWeights(), recording: true)
        let y = tape.relu(tape.rows(of: x, 1, 5))
        #expect((0..<5).map { y.values[$0] } == [0, 0, 0, 0.5, 3])
        let gradients = GradientAccumulator(parameters: parameters)
        let seed: [Float] = [1, 2, 3, 4, 5]
        seed.withUnsafeBufferPointer {
            if let start = $0.baseAddress { tape.backward(seeds: [(y, start)], scale: 2, into: gradients) }
        }
        #expect((0..<5).map { gradients.values.base[$0] } == [0, 0, 0, 8, 10])
    }

    @Test func rowsAreGatheredAndReturned() {
        let rows = [(0, 2), (1, 0), (0, 2), (-1, 0), (1, 3)].map { source, row in
            source < 0 ? RowReference.zero : RowReference(source: source, row: row)
        }
        let addends = [(1, 1), (-1, 0), (1, 1), (0, 0), (0, 2)].map { source, row in
            source < 0 ? RowReference.zero : RowReference(source: source, row: row)
        }
        expectGradients([[3, 7], [4, 7]]) { tape, p in
            tape.gatherRows(
                rows, adding: addends, from: [.tensor(tape.rows(of: p[0], 3, 7)), .parameter(p[1])], columns: 7)
        }
    }

    @Test func poolingAndConcatenation() {
        expectGradients([[7, 5]]) {
            $0.poolRows(
                $0.rows(of: $1[0], 7, 5), spans: $0.list([0..<3, 2..<7, 6..<7].map(RowRange.init)), pooling: .mean)
        }
        expectGradients([[7, 5]]) {
            $0.poolRows($0.rows(of: $1[0], 7, 5), spans: $0.list([0..<3, 3..<7].map(RowRange.init)), pooling: .max)
        }
        expectGradients([[4, 3], [4, 5]]) { $0.concatenateColumns($0.rows(of: $1[0], 4, 3), $0.rows(of: $1[1], 4, 5)) }
    }

    /// A dry run takes memory and leaves it as it is, so that planning a run touches no page of it.
    @Test func aDryRunWritesNoValues() {
        let parameters = ParameterSet()
        let (x, weight) = (
            parameters.declare("x", shape: [8, 4], trainable: true),
            parameters.declare("weight", shape: [2], trainable: true)
        )
        parameters.seal()
        for id in [x, weight] { parameters.values(id).update(repeating: 1, count: parameters[id].count) }
        let gradients = GradientAccumulator(parameters: parameters)
        let tape = Tape(parameters: parameters, parallel: Parallel(threads: 1, executes: false))
        tape.reset(weights: parameters.currentWeights(), recording: true)
        let spans = tape.list([0..<3, 3..<8].map(RowRange.init))
        let normed = tape.rmsNorm(tape.rows(of: x, 8, 4), weight: weight, epsilon: 1)
        let results = [Pooling.mean, .max].map { tape.poolRows(normed, spans: spans, pooling: $0) }
        let seed = [Float](repeating: 1, count: 8)
        seed.withUnsafeBufferPointer { seed in
            guard let start = seed.baseAddress else { return }
            tape.backward(seeds: results.map { ($0, start) }, scale: 1, into: gradients)
        }
        for tensor in results + [normed] {
            #expect((0..<tensor.count).allSatisfy { tensor.values[$0] == 0 })
        }
        #expect((0..<gradients.values.count).allSatisfy { gradients.values.base[$0] == 0 })
        #expect(gradients.isReached == [true, true])
    }

    /// Rows whose mean is taken share a cotangent down to the linear layer and its residual, where others join.
    @Test(arguments: [[0..<8, 8..<20], [2..<9, 5..<20]]) func rowsThatShareACotangent(_ spans: [Range<Int>]) {
        expectGradients([[20, 3], [4, 3], [4], [20, 4]]) { tape, p in
            let x = tape.gelu(tape.rows(of: p[0], 20, 3))
            let residual = tape.gelu(tape.rows(of: p[3], 20, 4))
            let y = tape.linear(x, weight: p[1], bias: p[2], residual: residual)
            let pooled = tape.poolRows(y, spans: tape.list(spans.map(RowRange.init)), pooling: .mean)
            let other = tape.poolRows(tape.gelu(residual), spans: tape.list([RowRange(1..<4)]), pooling: .mean)
            return tape.gatherRows(
                [(0, 0), (0, 1), (1, 0)].map { RowReference(source: $0, row: $1) },
                from: [.tensor(pooled), .tensor(other)],
                columns: 4)
        }
    }

    @Test(arguments: [RotaryPairing.splitHalf, .interleaved]) func rotaryPositions(_ pairing: RotaryPairing) {
        let table = RotaryTable(positions: 9, headDim: 6, base: 100)
        expectGradients([[5, 12], [12, 12]]) { tape, p in
            let x = tape.linear(tape.rows(of: p[0], 5, 12), weight: p[1])
            tape.rotateInPlace(x, table: table, positions: tape.list([0, 3, 1, 8, 8]), pairing: pairing)
            return x
        }
    }

    @Test(arguments: [true, false], [1, 2]) func attention(_ isCausal: Bool, _ group: Int) {
        let (batch, tokens, kvHeads, d) = (2, 7, 2, 5)
        let heads = kvHeads * group
        let shape = AttentionShape(
            batch: batch, tokens: tokens, heads: heads, keyValueHeads: kvHeads, headDim: d, isCausal: isCausal,
            keyLengths: isCausal ? [] : [7, 4])
        // One joint projection for the keys and values, so that column offsets are exercised.
        expectGradients([[batch * tokens, heads * d], [batch * tokens, 2 * kvHeads * d]]) { tape, p in
            let q = tape.rows(of: p[0], batch * tokens, heads * d)
            let kv = tape.rows(of: p[1], batch * tokens, 2 * kvHeads * d)
            return tape.attention(
                q: ColumnBlock(q), k: ColumnBlock(kv), v: ColumnBlock(kv, offset: kvHeads * d), shape: shape)
        }
    }

    /// Longer than a row block, where a causal pass leaves out keys.
    @Test func attentionOverSeveralRowBlocks() {
        let shape = AttentionShape(batch: 1, tokens: 70, heads: 1, keyValueHeads: 1, headDim: 3, isCausal: true)
        expectGradients([[70, 9]], tolerance: 1e-2) { tape, p in
            let qkv = tape.rows(of: p[0], 70, 9)
            return tape.attention(
                q: ColumnBlock(qkv), k: ColumnBlock(qkv, offset: 3), v: ColumnBlock(qkv, offset: 6), shape: shape)
        }
    }

    @Test func bridgeAttention() {
        let (batch, queries, heads, width) = (2, 3, 2, 10)
        let tokens = [queries, 4, 5]
        let shapes =
            [[batch * queries, width]] + tokens.flatMap { [[batch * $0, width], [batch * $0, width]] } + [[1]]
        expectGradients(shapes) { tape, p in
            let sources = tokens.enumerated().map { index, count in
                BridgeSource(
                    keys: tape.rows(of: p[1 + 2 * index], batch * count, width),
                    values: tape.rows(of: p[2 + 2 * index], batch * count, width))
            }
            return tape.bridgeAttention(
                q: tape.rows(of: p[0], batch * queries, width), current: sources[0], adapter: sources[1],
                task: sources[2], gate: p[7], batch: batch, heads: heads)
        }
    }

    /// With the gate at zero the task's keys have no say, its values do (the gate multiplies logits).
    @Test func theGateMultipliesLogits() {
        let parameters = ParameterSet()
        let ids = (0..<7).map { parameters.declare("p\($0)", shape: [2, 4], trainable: true) }
        let gate = parameters.declare("gate", shape: [1], trainable: true)
        parameters.seal()
        var generator = RandomGenerator(seed: 1)
        for id in ids { for index in 0..<8 { parameters.values(id)[index] = Float(generator.normal()) } }
        let tape = Tape(parameters: parameters, parallel: Parallel(threads: 1))
        func output() -> [Float] {
            tape.reset(weights: parameters.currentWeights(), recording: false)
            let t = ids.map { tape.rows(of: $0, 2, 4) }
            let y = tape.bridgeAttention(
                q: t[0], current: BridgeSource(keys: t[1], values: t[2]),
                adapter: BridgeSource(keys: t[3], values: t[4]), task: BridgeSource(keys: t[5], values: t[6]),
                gate: gate, batch: 1, heads: 1)
            return (0..<8).map { y.values[$0] }
        }
        let before = output()
        parameters.values(ids[5])[0] += 1
        #expect(output() == before)
        parameters.values(ids[6])[0] += 1
        #expect(output() != before)
    }

    /// Two cotangents over one forward pass give what two separate passes would.
    @Test func oneForwardServesSeveralBackwardPasses() {
        let parameters = ParameterSet()
        let w = parameters.declare("w", shape: [3, 4], trainable: true)
        let x = parameters.declare("x", shape: [5, 4], trainable: true)
        parameters.seal()
        var generator = RandomGenerator(seed: 2)
        for index in 0..<12 { parameters.values(w)[index] = Float(generator.normal()) }
        for index in 0..<20 { parameters.values(x)[index] = Float(generator.normal()) }
        let tape = Tape(parameters: parameters, parallel: Parallel(threads: 2))
        tape.reset(weights: parameters.currentWeights(), recording: true)
        let hidden = tape.gelu(tape.linear(tape.rows(of: x, 5, 4), weight: w))
        let y = tape.gelu(hidden)
        func gradient(_ tensor: Tensor) -> [Float] {
            let seed = [Float](repeating: 1, count: tensor.count)
            let result = GradientAccumulator(parameters: parameters)
            seed.withUnsafeBufferPointer {
                if let start = $0.baseAddress { tape.backward(seeds: [(tensor, start)], scale: 1, into: result) }
            }
            return (0..<12).map { result.values.base[$0] }
        }
        let (first, second) = (gradient(y), gradient(hidden))
        #expect(gradient(y) == first)
        #expect(gradient(hidden) == second)
        #expect(first != second)
    }
}
