/// Vision transformers by the names that timm gives them and released configurations use.
enum TimmTowers {
    struct Entry {
        /// The tower without its prefix.
        var tower: ModelConfig.Tower
        var patchSize: Int
        /// Side of the images it was pretrained on, whose position grid its timm weights have.
        var nativeImageSize: Int
    }

    /// The tower of a timm id, with or without the pretraining tag after the dot; nil when it is not known.
    static func entry(_ id: String) -> Entry? {
        table[String(id.prefix { $0 != "." })]
    }

    static var known: String { table.keys.sorted().joined(separator: ", ") }

    private static let table: [String: Entry] = [
        "vit_small_patch14_dinov2": dinov2(384, depth: 12, heads: 6, registers: 0),
        "vit_base_patch14_dinov2": dinov2(768, depth: 12, heads: 12, registers: 0),
        "vit_large_patch14_dinov2": dinov2(1024, depth: 24, heads: 16, registers: 0),
        "vit_small_patch14_reg4_dinov2": dinov2(384, depth: 12, heads: 6, registers: 4),
        "vit_base_patch14_reg4_dinov2": dinov2(768, depth: 12, heads: 12, registers: 4),
        "vit_large_patch14_reg4_dinov2": dinov2(1024, depth: 24, heads: 16, registers: 4),
        "vit_base_patch16_siglip_224": siglip(768, depth: 12, heads: 12, mlp: 3072, patch: 16, image: 224),
        "vit_base_patch16_siglip_256": siglip(768, depth: 12, heads: 12, mlp: 3072, patch: 16, image: 256),
        "vit_base_patch16_siglip_384": siglip(768, depth: 12, heads: 12, mlp: 3072, patch: 16, image: 384),
        "vit_base_patch16_siglip_512": siglip(768, depth: 12, heads: 12, mlp: 3072, patch: 16, image: 512),
        "vit_large_patch16_siglip_256": siglip(1024, depth: 24, heads: 16, mlp: 4096, patch: 16, image: 256),
        "vit_large_patch16_siglip_384": siglip(1024, depth: 24, heads: 16, mlp: 4096, patch: 16, image: 384),
        "vit_so400m_patch14_siglip_224": siglip(1152, depth: 27, heads: 16, mlp: 4304, patch: 14, image: 224),
        "vit_so400m_patch14_siglip_384": siglip(1152, depth: 27, heads: 16, mlp: 4304, patch: 14, image: 384),
    ]

    /// DINOv2: LayerScale, class token, no pooling head. Without registers the class token has a position of its own.
    private static func dinov2(_ dim: Int, depth: Int, heads: Int, registers: Int) -> Entry {
        Entry(
            tower: ModelConfig.Tower(
                kind: registers == 0 ? "dinov2" : "dinov2-reg\(registers)", prefix: "", dim: dim, depth: depth,
                heads: heads, mlp: 4 * dim, classToken: true, registerTokens: registers, layerScale: true,
                attnPool: false, outputBlock: depth - 2, layerNormEps: 1e-6, classPosition: registers == 0),
            patchSize: 14, nativeImageSize: 518)
    }

    /// SigLIP: no prefix tokens, an attention-pooling head that VLAs do not use.
    private static func siglip(
        _ dim: Int, depth: Int, heads: Int, mlp: Int, patch: Int, image: Int
    ) -> Entry {
        Entry(
            tower: ModelConfig.Tower(
                kind: "siglip", prefix: "", dim: dim, depth: depth, heads: heads, mlp: mlp, classToken: false,
                registerTokens: 0, layerScale: false, attnPool: true, outputBlock: depth - 2, layerNormEps: 1e-6),
            patchSize: patch, nativeImageSize: image)
    }
}
