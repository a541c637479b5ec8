internal import Models
internal import PluginRuntime
internal import Tensors

extension ParameterBlocks {
    /// Who the blocks are, as plugins are told.
    var facts: BlockFacts {
        BlockFacts(
            names: blocks.map(\.name), numel: blocks.map { Int64($0.count) },
            group: blocks.map { block in Self.common(block.parameters.map { Int64(Self.group(of: $0)) }) ?? -1 },
            layer: blocks.map { block in Self.common(block.parameters.map { Int64(Self.layer(of: $0.name)) }) ?? -1 },
            kind: blocks.map { block in
                Self.common(block.parameters.map { Self.kind(of: $0).rawValue }) ?? BlockKind.mixed.rawValue
            },
            shape: blocks.flatMap { Self.shape(of: $0.parameters) })
    }

    /// What all have in common.
    private static func common(_ codes: [Int64]) -> Int64? {
        codes.first.flatMap { first in codes.allSatisfy { $0 == first } ? first : nil }
    }

    private static func group(of parameter: Tensors.Parameter) -> Int {
        switch ParameterGroup(of: parameter.name) {
        case .vision: Int(BlockGroup.vision.rawValue)
        case .projector: Int(BlockGroup.projector.rawValue)
        case .decoder: Int(BlockGroup.decoder.rawValue)
        case .queries: Int(BlockGroup.queries.rawValue)
        case .policy: Int(BlockGroup.policy.rawValue)
        case .proprio: Int(BlockGroup.proprio.rawValue)
        case nil: -1
        }
    }

    /// The number behind `layers`, `blocks` or `mlp_resnet_blocks` in a checkpoint's name; -1 outside of such a list.
    private static func layer(of name: String) -> Int {
        let parts = name.split(separator: ".")
        for (part, next) in zip(parts, parts.dropFirst())
        where BlockScope.layerLists.contains(String(part)) {
            if let index = Int(next) { return index }
        }
        return -1
    }

    private static func kind(of parameter: Tensors.Parameter) -> BlockKind {
        let name = parameter.name
        let parts = name.split(separator: ".")
        if parts.contains("lora_A") { return .loraA }
        if parts.contains("lora_B") { return .loraB }
        if ModelPart(of: name) == .actionQueries { return .query }
        if parts.last == "bias" { return .bias }
        let tables = ["embed_tokens", "pos_embed", "cls_token", "reg_token", "embed_positions"]
        if parts.contains(where: { tables.contains(String($0)) }) { return .embedding }
        // Scales of normalisations and of layer scale are the only vectors that are not biases.
        return parameter.shape.count(where: { $0 > 1 }) <= 1 && parameter.count > 1 ? .norm : .weight
    }

    private static func shape(of parameters: [Tensors.Parameter]) -> [Int64] {
        guard parameters.count == 1, let parameter = parameters.first else { return [0, 0] }
        guard parameter.shape.count > 1, let rows = parameter.shape.first, rows > 0 else {
            return [Int64(parameter.count), 1]
        }
        return [Int64(rows), Int64(parameter.count / rows)]
    }
}
