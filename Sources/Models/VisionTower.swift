internal import Tensors

/// A pre-norm vision transformer (Dosovitskiy et al. 2021) with timm's tensor names, run up to its output block.
///
/// B images, N patches, R prefix tokens, D width. Position embeddings are added to patches before the class and register
/// tokens are put in front, as in DINOv2 with registers; where `pos_embed` has a first row for it, to the class token too.
struct VisionTower {
    private struct Block {
        let norm1: (weight: Int, bias: Int)
        let qkv: LinearLayer
        let proj: LinearLayer
        let scale1: Int?
        let norm2: (weight: Int, bias: Int)
        let fc1: LinearLayer
        let fc2: LinearLayer
        let scale2: Int?
    }

    private static let positionsName = "pos_embed"

    /// Whether a tensor holds position embeddings, which fit images of another size once they are resampled.
    static func isPositions(_ name: String) -> Bool { name.hasSuffix("." + positionsName) }

    let config: ModelConfig.Tower
    private let patches: Int
    private let patchEmbedding: LinearLayer
    private let positions: Int
    private let classToken: Int?
    private let registerTokens: Int?
    private let blocks: [Block]

    init(_ tower: ModelConfig.Tower, of model: ModelConfig, declaring root: ParameterDeclarer) {
        config = tower
        patches = model.patchesPerImage
        let scope = root.part(tower.part, drawing: .fanIn)
        let dim = tower.dim
        classToken = tower.classToken ? scope.tensor("cls_token", [1, 1, dim], .table) : nil
        registerTokens =
            tower.registerTokens > 0 ? scope.tensor("reg_token", [1, tower.registerTokens, dim], .table) : nil
        positions = scope.tensor(Self.positionsName, [1, tower.prefixPositions + patches, dim], .table)
        patchEmbedding = scope.linear(
            "patch_embed.proj", inputs: [3, model.patchSize, model.patchSize], outputs: dim)
        let all = (0..<tower.depth).map { index in
            let block = scope.scoped("blocks.\(index)").carried(unless: index <= tower.outputBlock)
            return Block(
                norm1: block.norm("norm1", dim),
                qkv: block.linear("attn.qkv", inputs: dim, outputs: 3 * dim),
                proj: block.linear("attn.proj", inputs: dim, outputs: dim),
                scale1: tower.layerScale ? block.tensor("ls1.scale_factor", [dim], .layerScale) : nil,
                norm2: block.norm("norm2", dim),
                fc1: block.linear("mlp.fc1", inputs: dim, outputs: tower.mlp),
                fc2: block.linear("mlp.fc2", inputs: tower.mlp, outputs: dim),
                scale2: tower.layerScale ? block.tensor("ls2.scale_factor", [dim], .layerScale) : nil)
        }
        blocks = Array(all.prefix(tower.outputBlock + 1))
        Self.declareRest(of: tower, in: scope.carried())
    }

    /// What comes after the blocks in timm's transformer and is on no path to a policy.
    private static func declareRest(of tower: ModelConfig.Tower, in scope: ParameterDeclarer) {
        let dim = tower.dim
        scope.norm("norm", dim)
        guard tower.attnPool else { return }
        let pool = scope.scoped("attn_pool")
        pool.tensor("latent", [1, 1, dim], .table)
        pool.linear("q", inputs: dim, outputs: dim)
        pool.linear("kv", inputs: dim, outputs: 2 * dim)
        pool.linear("proj", inputs: dim, outputs: dim)
        pool.norm("norm", dim)
        pool.linear("mlp.fc1", inputs: dim, outputs: tower.mlp)
        pool.linear("mlp.fc2", inputs: tower.mlp, outputs: dim)
    }

    /// - `pixels`: flattened normalised patches, [B * N, 3 * patch * patch], channel first.
    /// - Returns features of the patches, [B * N, D].
    func callAsFunction(_ pixels: Tensor, on run: ForwardRun) -> Tensor {
        let tape = run.tape
        let images = pixels.rows / patches
        let embedded = patchEmbedding(pixels, on: run)
        var x = assemble(embedded, images: images, on: tape)
        let tokens = patches + config.prefixTokens
        let shape = AttentionShape(
            batch: images, tokens: tokens, heads: config.heads, keyValueHeads: config.heads,
            headDim: config.dim / config.heads, isCausal: false)
        let epsilon = Float(config.layerNormEps)
        for block in blocks {
            x = tape.segment(
                x,
                BlockPass(
                    block: block, shape: shape, width: config.dim, epsilon: epsilon,
                    activation: config.activation ?? .gelu, usesAdapters: run.usesAdapters))
        }
        guard config.prefixTokens > 0 else { return x }
        let rows = tape.list(images * patches) { index in
            let (image, patch) = index.quotientAndRemainder(dividingBy: patches)
            return RowReference(source: 0, row: image * tokens + config.prefixTokens + patch)
        }
        return tape.gatherRows(rows, of: x)
    }

    /// A block, run on one batch.
    private struct BlockPass: TapeSegment {
        let block: Block
        let shape: AttentionShape
        let width: Int
        let epsilon: Float
        let activation: ActivationFunction
        let usesAdapters: Bool

        func callAsFunction(_ x: Tensor, on tape: Tape) -> Tensor {
            let run = ForwardRun(tape: tape, usesAdapters: usesAdapters)
            let normed = tape.layerNorm(x, weight: block.norm1.weight, bias: block.norm1.bias, epsilon: epsilon)
            let qkv = block.qkv(normed, on: run)
            let mixed = tape.attention(
                q: ColumnBlock(qkv), k: ColumnBlock(qkv, offset: width), v: ColumnBlock(qkv, offset: 2 * width),
                shape: shape)
            let attended = residual(x, through: block.proj, of: mixed, scale: block.scale1, on: run)
            let hidden = block.fc1(
                tape.layerNorm(attended, weight: block.norm2.weight, bias: block.norm2.bias, epsilon: epsilon),
                on: run)
            return residual(
                attended, through: block.fc2, of: tape.activation(hidden, activation), scale: block.scale2, on: run)
        }

        private func residual(
            _ x: Tensor, through layer: LinearLayer, of h: Tensor, scale: Int?, on run: ForwardRun
        ) -> Tensor {
            guard let scale else { return layer(h, on: run, residual: x) }
            return run.tape.layerScaleResidual(x, layer(h, on: run), gamma: scale)
        }
    }

    private func assemble(_ embedded: Tensor, images: Int, on tape: Tape) -> Tensor {
        var sources = tape.list(of: RowSource.self, capacity: 4)
        sources.append(.tensor(embedded))
        sources.append(.parameter(positions))
        var prefix = tape.list(of: RowReference.self, capacity: config.prefixTokens)
        if let classToken {
            prefix.append(RowReference(source: sources.count, row: 0))
            sources.append(.parameter(classToken))
        }
        if let registerTokens {
            for row in 0..<config.registerTokens { prefix.append(RowReference(source: sources.count, row: row)) }
            sources.append(.parameter(registerTokens))
        }
        let tokens = patches + prefix.count
        var rows = tape.list(of: RowReference.self, capacity: images * tokens)
        var addends = tape.list(of: RowReference.self, capacity: images * tokens)
        for image in 0..<images {
            for (index, row) in prefix.enumerated() {
                rows.append(row)
                addends.append(index < config.prefixPositions ? RowReference(source: 1, row: index) : .zero)
            }
            for patch in 0..<patches {
                rows.append(RowReference(source: 0, row: image * patches + patch))
                addends.append(RowReference(source: 1, row: config.prefixPositions + patch))
            }
        }
        return tape.gatherRows(rows, adding: addends, from: sources, columns: config.dim)
    }
}
