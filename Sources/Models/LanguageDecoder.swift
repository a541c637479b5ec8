internal import Tensors

/// A pre-norm decoder of the Qwen / Llama family (``DecoderFamily``): RMSNorm, rotary positions, grouped-query attention, SwiGLU.
///
/// B sequences of T tokens, D width. Tensor names are those of transformers under `language_model.`.
struct LanguageDecoder {
    private struct Layer {
        let inputNorm: Int
        let q: LinearLayer
        let k: LinearLayer
        let v: LinearLayer
        let o: LinearLayer
        /// Scales of each head of q and k, [headDim].
        let qNorm: Int?
        let kNorm: Int?
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
        let language = root.part(
            .languageModel, drawing: .normal(deviation: Float(config.initializerRange)))
        let scope = language.scoped("model")
        let vocabulary = [config.vocabularySize, d]
        embedding = scope.matrix("embed_tokens.weight", vocabulary)
        // PEFT adapts the head too, though no gradient of a regression on hidden states reaches it.
        language.unreachedModule("lm_head", vocabulary, order: 1)
        head =
            config.tiesWordEmbeddings ? embedding : language.matrix("lm_head.weight", vocabulary, order: 1)
        layers = (0..<config.layers).map { index in
            let layer = scope.scoped("layers.\(index)")
            let (attention, mlp) = (layer.scoped("self_attn"), layer.scoped("mlp"))
            return Layer(
                inputNorm: layer.scale("input_layernorm", d, order: 1),
                q: attention.linear("q_proj", inputs: d, outputs: width, bias: config.hasAttentionBias),
                k: attention.linear("k_proj", inputs: d, outputs: kvWidth, bias: config.hasAttentionBias),
                v: attention.linear("v_proj", inputs: d, outputs: kvWidth, bias: config.hasAttentionBias),
                o: attention.linear("o_proj", inputs: width, outputs: d, bias: config.hasOutputBias),
                qNorm: config.family.normalisesHeads ? attention.scale("q_norm", config.headDim) : nil,
                kNorm: config.family.normalisesHeads ? attention.scale("k_norm", config.headDim) : nil,
                postNorm: layer.scale("post_attention_layernorm", d, order: 1),
                gate: mlp.linear("gate_proj", inputs: d, outputs: config.intermediateSize, bias: false),
                up: mlp.linear("up_proj", inputs: d, outputs: config.intermediateSize, bias: false),
                down: mlp.linear("down_proj", inputs: config.intermediateSize, outputs: d, bias: false))
        }
        norm = scope.scale("norm", d)
    }

    /// - `embeddings`: [B * T, D]. `layout`: of the sequences.
    /// - `demand`: what of the hidden states is read.
    /// - Returns the hidden states, at most layers + 1, [B * T, D]: the embeddings, each layer's output, the last one
    ///   normalised and with the demanded rows only.
    func callAsFunction(
        _ embeddings: Tensor, layout: SequenceLayout, rotary: RotaryTable, demand: StateDemand, on run: ForwardRun
    ) -> ArenaList<Tensor> {
        let tape = run.tape
        let tokens = layout.tokens
        let epsilon = Float(config.rmsNormEps)
        let shape = AttentionShape(
            batch: layout.batch, tokens: tokens, heads: config.heads, keyValueHeads: config.keyValueHeads,
            headDim: config.headDim, isCausal: config.isCausal,
            keyLengths: config.isCausal ? [] : (0..<layout.batch).map(layout.length))
        let positions = tape.list(embeddings.rows) { Int32($0 % tokens) }
        var x = embeddings
        var states = tape.list(of: Tensor.self, capacity: layers.count + 1)
        states.append(x)
        for (index, layer) in layers.prefix(demand.states - 1).enumerated() {
            let isLast = index == layers.count - 1
            let pass = LayerPass(
                layer: layer, shape: shape, rotary: rotary, positions: positions, rows: isLast ? demand.lastRows : nil,
                epsilon: epsilon, usesAdapters: run.usesAdapters)
            x = pass.rows == nil ? tape.segment(x, pass) : pass(x, on: tape)
            states.append(isLast ? tape.rmsNorm(x, weight: norm, epsilon: epsilon) : x)
        }
        return states
    }

    /// A layer, run on one batch.
    private struct LayerPass: TapeSegment {
        let layer: Layer
        let shape: AttentionShape
        let rotary: RotaryTable
        let positions: ArenaList<Int32>
        /// Rows whose output is wanted; nil: all.
        let rows: ArenaList<Int32>?
        let epsilon: Float
        let usesAdapters: Bool

        func callAsFunction(_ x: Tensor, on tape: Tape) -> Tensor {
            let run = ForwardRun(tape: tape, usesAdapters: usesAdapters)
            let normed = tape.rmsNorm(x, weight: layer.inputNorm, epsilon: epsilon)
            func normalised(_ heads: Tensor, _ scale: Int?) -> Tensor {
                scale.map { tape.rmsNorm(heads, weight: $0, epsilon: epsilon) } ?? heads
            }
            let q = normalised(layer.q(normed, on: run), layer.qNorm)
            let k = normalised(layer.k(normed, on: run), layer.kNorm)
            let v = layer.v(normed, on: run)
            tape.rotateInPlace(q, table: rotary, positions: positions, pairing: .splitHalf)
            tape.rotateInPlace(k, table: rotary, positions: positions, pairing: .splitHalf)
            let all = tape.attention(q: ColumnBlock(q), k: ColumnBlock(k), v: ColumnBlock(v), shape: shape)
            // Rows of the last layer do not meet again: what follows is computed for those that are read.
            let read = rows.map { rows in tape.list(rows.count) { RowReference(source: 0, row: Int(rows[$0])) } }
            func kept(_ x: Tensor) -> Tensor { read.map { tape.gatherRows($0, of: x, period: shape.tokens) } ?? x }
            let attended = layer.o(kept(all), on: run, residual: kept(x))
            let hidden = tape.rmsNorm(attended, weight: layer.postNorm, epsilon: epsilon)
            let product = tape.swiGLU(gate: layer.gate(hidden, on: run), up: layer.up(hidden, on: run))
            return layer.down(product, on: run, residual: attended)
        }
    }
}
