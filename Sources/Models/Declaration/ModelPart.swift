/// The parts of a model, by what the names of their tensors begin with. Counts are given for each.
package enum ModelPart: String, Sendable, CaseIterable, Codable {
    case featurizer = "vision_backbone.featurizer"
    case fusedFeaturizer = "vision_backbone.fused_featurizer"
    case projector = "projector"
    case languageModel = "language_model"
    case actionQueries = "action_queries"
    case actionHead = "action_head"
    case proprioProjector = "proprio_projector"

    /// Those of the vision towers, in the order of a configuration's towers.
    static let towers: [ModelPart] = [.featurizer, .fusedFeaturizer]
    /// Those that have a file of their own beside the vision-language model's.
    static let heads: [ModelPart] = [.actionHead, .proprioProjector]
    /// The one tensor of the action queries, [queries, width].
    package static let actionQueriesName = ModelPart.actionQueries.scope + "weight"
    /// The output head, which PEFT adapts too, and a model with tied embeddings does not store.
    static let outputHead = ModelPart.languageModel.scope + "lm_head"

    /// The part of a tensor or a module by its name in checkpoints; that of an adapter is its layer's.
    package init?(of name: some StringProtocol) {
        let base = AdapterKey.layer(of: name)
        guard let part = Self.allCases.first(where: { base.hasPrefix($0.scope) }) else { return nil }
        self = part
    }

    /// What stands before a tensor's name within the part.
    package var scope: String { rawValue + "." }

    /// The last component of the name: a tower's prefix in `craft_small`.
    var component: String {
        String(rawValue[(rawValue.lastIndex(of: ".").map(rawValue.index(after:)) ?? rawValue.startIndex)...])
    }

    /// Whether the part is in the vision-language model's file.
    package var isBackbone: Bool { !Self.heads.contains(self) }

    /// A tensor's name within the part, as the part's own file has it.
    package func nameInside(_ name: String) -> String { name.removingPrefix(scope) ?? name }
}
