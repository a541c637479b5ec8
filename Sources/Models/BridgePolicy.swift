internal import Tensors

/// The bridge-attention action head of VLA-Adapter, base and Pro, with its tensor names under `action_head.model.`.
///
/// B samples, H chunk steps, A action dimensions, D width. Block i reads hidden state i + 1 through two windows:
/// "task" (raw) positions and "adapter" (query) positions, plus one token of proprioception.
struct BridgePolicy {
    private struct Block {
        let q: LinearLayer
        /// Keys and values for the block's own tokens, the adapter condition and the task condition. The base head has
        /// one projection for all three.
        let current: (k: LinearLayer, v: LinearLayer)
        let adapter: (k: LinearLayer, v: LinearLayer)
        let task: (k: LinearLayer, v: LinearLayer)
        let o: LinearLayer
        let gate: Int
        let norm: (weight: Int, bias: Int)
        let ffn: LinearLayer
    }

    private let config: ModelConfig.Policy
    private let chunk: Int
    let inputWidth: Int
    private let norm1: (weight: Int, bias: Int)
    private let fc1: LinearLayer
    private let blocks: [Block]
    private let norm2: (weight: Int, bias: Int)
    private let fc2: LinearLayer

    init(_ model: ModelConfig, declaring root: ParameterDeclarer) {
        config = model.policy
        chunk = model.chunk
        let d = config.dim
        inputWidth = model.actionDim * d
        let scope = root.part(.actionHead, drawing: .uniform(.one)).scoped("model")
        norm1 = scope.norm("layer_norm1", inputWidth)
        fc1 = scope.linear("fc1", inputs: inputWidth, outputs: d)
        let isPro = config.pro
        blocks = (0..<config.blocks).map { index in
            let block = scope.scoped("mlp_resnet_blocks.\(index)")
            func pair(_ k: String, _ v: String) -> (k: LinearLayer, v: LinearLayer) {
                (block.linear(k, inputs: d, outputs: d), block.linear(v, inputs: d, outputs: d))
            }
            let current = isPro ? pair("k_self", "v_self") : pair("k_proj", "v_proj")
            let made = Block(
                q: block.linear("q_proj", inputs: d, outputs: d, order: -1),
                current: current,
                adapter: isPro ? pair("k_adapter", "v_adapter") : current,
                task: isPro ? pair("k_task", "v_task") : current,
                o: block.linear("o_proj", inputs: d, outputs: d),
                gate: block.tensor("gating_factor", [1], .gate, order: -2),
                norm: block.norm("ffn.0", d, order: -2),
                ffn: block.linear("ffn.1", inputs: d, outputs: d, order: -2))
            if isPro { block.carried().linear("film_gen.0", inputs: d, outputs: 2 * d) }
            return made
        }
        norm2 = scope.norm("layer_norm2", d)
        fc2 = scope.linear("fc2", inputs: d, outputs: model.actionDim)
    }

    /// What a block reads of its hidden state: the task window [B * Nt, D] and the adapter window [B * Na, D].
    struct Condition: BitwiseCopyable {
        let task: Tensor
        let adapter: Tensor
    }

    /// - `input`: [H, A * D], the same for all samples: zeros at inference, noise in training.
    /// - `conditions`: one per block.
    /// - `proprio`: [B, D].
    /// - Returns normalised actions, [B * H, A].
    func callAsFunction(
        input: Tensor, conditions: ArenaList<Condition>, proprio: Tensor, batch: Int,
        rotary: RotaryTable?, on run: ForwardRun
    ) -> Tensor {
        let tape = run.tape
        let epsilon = Float(config.layerNormEps)
        let stem = tape.relu(
            fc1(tape.layerNorm(input, weight: norm1.weight, bias: norm1.bias, epsilon: epsilon), on: run))
        var x = tape.gatherRows(tape.list(batch * chunk) { RowReference(source: 0, row: $0 % chunk) }, of: stem)
        for (block, condition) in zip(blocks, conditions) {
            let adapter = append(proprio, to: condition.adapter, batch: batch, on: tape)
            let q = block.q(x, on: run)
            let current = BridgeSource(keys: block.current.k(x, on: run), values: block.current.v(x, on: run))
            let bridge = BridgeSource(
                keys: block.adapter.k(adapter, on: run), values: block.adapter.v(adapter, on: run))
            let task = BridgeSource(
                keys: block.task.k(condition.task, on: run), values: block.task.v(condition.task, on: run))
            if let rotary {
                rotate(q, by: rotary, batch: batch, on: tape)
                rotate(current.keys, by: rotary, batch: batch, on: tape)
                rotate(bridge.keys, by: rotary, batch: batch, on: tape)
                rotate(task.keys, by: rotary, batch: batch, on: tape)
            }
            let mixed = tape.bridgeAttention(
                q: q, current: current, adapter: bridge, task: task, gate: block.gate, batch: batch,
                heads: config.heads)
            let y = block.o(mixed, on: run, residual: x)
            x = tape.relu(
                block.ffn(
                    tape.layerNorm(y, weight: block.norm.weight, bias: block.norm.bias, epsilon: epsilon), on: run))
        }
        return fc2(tape.layerNorm(x, weight: norm2.weight, bias: norm2.bias, epsilon: epsilon), on: run)
    }

    /// The adapter window of each sample with its proprioception token at the end.
    private func append(_ proprio: Tensor, to window: Tensor, batch: Int, on tape: Tape) -> Tensor {
        let length = window.rows / batch
        let rows = tape.list(batch * (length + 1)) { index in
            let (sample, place) = index.quotientAndRemainder(dividingBy: length + 1)
            return place < length
                ? RowReference(source: 0, row: sample * length + place) : RowReference(source: 1, row: sample)
        }
        return tape.gatherRows(
            rows, from: tape.list(2) { .tensor($0 == 0 ? window : proprio) }, columns: config.dim)
    }

    /// Turns the heads of each sample's rows by their places.
    private func rotate(_ x: Tensor, by table: RotaryTable, batch: Int, on tape: Tape) {
        let length = x.rows / batch
        tape.rotateInPlace(
            x, table: table, positions: tape.list(x.rows) { Int32($0 % length) }, pairing: .interleaved)
    }
}
