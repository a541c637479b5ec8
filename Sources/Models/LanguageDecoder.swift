internal import Tensors

/// A pre-norm decoder of the Qwen2 / Llama family: RMSNorm, rotary positions, grouped-query attention, SwiGLU.
///
/// B sequences of T tokens, D width. Tensor names are those of transformers under `language_model.`.
struct LanguageDecoder {
    private struct Layer {
        let inputNorm: Int
        let q: LinearLayer
        let k: LinearLayer
        let v: LinearLayer
        let o: LinearLayer
        let postNorm: Int
        let gate: LinearLayer
        let up: LinearLayer
        let down: LinearLayer
    }

    let config: ModelConfig.Decoder
    /// Token embeddings, [vocabulary, D].
    let embedding: Int
    /// Output head, [vocabulary, D]: the embeddings themselves when tied.
    let head: Int
    private let layers: [Layer]
    private let norm: Int

    init(_ config: ModelConfig.Decoder, declaring root: ParameterDeclarer) {
        self.config = config
        let (d, width, kvWidth) = (
            config.hiddenSize, config.heads * config.headDim, config.keyValueHeads * config.headDim
        )
        let scope = root.scoped("language_model").scoped("model")
        embedding = scope.matrix("embed_tokens.weight", [config.vocabularySize, d])
        head =
            config.tiesWordEmbeddings
            ? embedding : root.scoped("language_model").matrix("lm_head.weight", [config.vocabularySize, d])
        layers = (0..<config.layers).map { index in
            let layer = scope.scoped("layers.\(index)")
            let (attention, mlp) = (layer.scoped("self_attn"), layer.scoped("mlp"))
            return Layer(
                inputNorm: layer.tensor("input_layernorm.weight", [d]),
                q: attention.linear("q_proj", inputs: d, outputs: width, bias: config.hasAttentionBias),
                k: attention.linear("k_proj", inputs: d, outputs: kvWidth, bias: config.hasAttentionBias),
                v: attention.linear("v_proj", inputs: d, outputs: kvWidth, bias: config.hasAttentionBias),
                o: attention.linear("o_proj", inputs: width, outputs: d, bias: config.hasOutputBias),
                postNorm: layer.tensor("post_attention_layernorm.weight", [d]),
                gate: mlp.linear("gate_proj", inputs: d, outputs: config.intermediateSize, bias: false),
                up: mlp.linear("up_proj", inputs: d, outputs: config.intermediateSize, bias: false),
                down: mlp.linear("down_proj", inputs: config.intermediateSize, outputs: d, bias: false))
        }
        norm = scope.tensor("norm.weight", [d])
    }

    /// - `embeddings`: [B * T, D]. `lengths`: valid tokens of each sequence, padding at the end.
    /// - `demand`: what of the hidden states is read.
    /// - Returns the hidden states, at most layers + 1, [B * T, D]: the embeddings, each layer's output, the last one
    ///   normalised and with the demanded rows only.
    func callAsFunction(
        _ embeddings: Tensor, batch: Int, lengths: [Int], rotary: RotaryTable, demand: StateDemand,
        on run: ForwardRun
    ) -> [Tensor] {
        let tape = run.tape
        let tokens = embeddings.rows / batch
        let epsilon = Float(config.rmsNormEps)
        let shape = AttentionShape(
            batch: batch, tokens: tokens, heads: config.heads, keyValueHeads: config.keyValueHeads,
            headDim: config.headDim, isCausal: config.isCausal, keyLengths: config.isCausal ? [] : lengths)
        let positions = (0..<batch).flatMap { _ in (0..<Int32(tokens)) }
        var x = embeddings
        var states = [x]
        for (index, layer) in layers.prefix(demand.states - 1).enumerated() {
            let isLast = index == layers.count - 1
            let rows = isLast ? demand.lastRows : nil
            let block = { (x: Tensor) in
                let normed = tape.rmsNorm(x, weight: layer.inputNorm, epsilon: epsilon)
                let (q, k, v) = (layer.q(normed, on: run), layer.k(normed, on: run), layer.v(normed, on: run))
                tape.rotateInPlace(q, table: rotary, positions: positions, pairing: .splitHalf)
                tape.rotateInPlace(k, table: rotary, positions: positions, pairing: .splitHalf)
                var mixed = tape.attention(q: ColumnBlock(q), k: ColumnBlock(k), v: ColumnBlock(v), shape: shape)
                var x = x
                if let rows {
                    // Rows of the last layer do not meet again: what follows is computed for those that are read.
                    let references = rows.map { RowReference(source: 0, row: $0) }
                    mixed = tape.gatherRows(references, from: [.tensor(mixed)], columns: mixed.columns, period: tokens)
                    x = tape.gatherRows(references, from: [.tensor(x)], columns: x.columns, period: tokens)
                }
                let attended = layer.o(mixed, on: run, residual: x)
                let hidden = tape.rmsNorm(attended, weight: layer.postNorm, epsilon: epsilon)
                let product = tape.swiGLU(gate: layer.gate(hidden, on: run), up: layer.up(hidden, on: run))
                return layer.down(product, on: run, residual: attended)
            }
            x = rows == nil ? tape.segment(x, block) : block(x)
            states.append(isLast ? tape.rmsNorm(x, weight: norm, epsilon: epsilon) : x)
        }
        return states
    }
}
