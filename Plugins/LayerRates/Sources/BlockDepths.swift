import PluginKit

/// How far each block is from the top of the model.
struct BlockDepths {
    /// [k].
    let depths: [Int]

    /// - Parameter first: groups of depth 0.
    init(
        _ groups: ArrayView<Int64>, _ layers: ArrayView<Int64>, _ kinds: ArrayView<Int64>, first: Set<BlockGroup>
    ) throws {
        let blocks = try groups.elements.map { try Self.group($0) }
        func layerCount(_ group: BlockGroup) -> Int {
            blocks.indices.reduce(0) { blocks[$1] == group ? max($0, Int(layers[$1]) + 1) : $0 }
        }
        let (decoderLayers, towerLayers) = (layerCount(.decoder), layerCount(.vision))
        // A depth for each layer, and one for what is below the lowest.
        let projector = decoderLayers + 2
        depths = blocks.indices.map { block in
            let layer = Int(layers[block])
            if first.contains(blocks[block]) { return 0 }
            switch blocks[block] {
            case .queries, .policy, .proprio: return 1
            case .decoder:
                if layer >= 0 { return decoderLayers - layer }
                // Beside the layers there are the embeddings, below them all, and the last normalisation and head.
                let isBelow = [BlockKind.embedding.rawValue, BlockKind.mixed.rawValue].contains(kinds[block])
                return isBelow ? decoderLayers + 1 : 1
            case .projector: return projector
            case .vision:
                if layer >= 0 { return projector + towerLayers - layer }
                return kinds[block] == BlockKind.norm.rawValue ? projector + 1 : projector + towerLayers + 1
            }
        }
    }

    /// The group of a code. Throws ``PluginError`` for a block that has several.
    static func group(_ code: Int64) throws -> BlockGroup {
        guard let group = BlockGroup(rawValue: code) else {
            throw PluginError(
                "a block has parameters of several groups and no depth: use a scope of tensor, layer or module")
        }
        return group
    }
}
