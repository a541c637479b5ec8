// Generated from Sources/PluginAPI/names.json by scripts/generate_names.py: change codes there.

extension CodeTable {
    /// Every table of the plugin interface.
    package static let all = [
        blockScope, tapLayer, tapTokens, tapPooling, probeTemplate, streamKind, blockGroup, blockKind,
    ]

    /// What one block of the Gram matrices is.
    package static let blockScope = CodeTable(
        name: "block_scope", doc: "What one block of the Gram matrices is.", isOpen: false,
        values: [
            Value(name: "tensor", code: 0, doc: "Each parameter tensor by itself."),
            Value(
                name: "layer", code: 1,
                doc: "A transformer layer or block; tensors outside of one count with their module."),
            Value(
                name: "module", code: 2,
                doc: "A tower, the projector, the decoder, the queries, the action head, the proprioception projector."),
            Value(name: "global", code: 3, doc: "All parameters."),
        ])

    /// Which hidden state a tap takes; any other value is an index.
    package static let tapLayer = CodeTable(
        name: "tap_layer", doc: "Which hidden state a tap takes; any other value is an index.", isOpen: true,
        values: [
            Value(name: "off", code: -1, doc: "None: the tap is turned off."),
            Value(name: "all", code: -2, doc: "The outputs of all decoder layers."),
        ])

    /// Positions a tap takes.
    package static let tapTokens = CodeTable(
        name: "tap_tokens", doc: "Positions a tap takes.", isOpen: false,
        values: [
            Value(name: "visual", code: 0, doc: "Those of the images."),
            Value(name: "visual_and_prompt", code: 1, doc: "Those of the images and of the text."),
            Value(name: "prompt", code: 2, doc: "Those of the text."),
            Value(name: "queries", code: 3, doc: "The action queries."),
            Value(name: "all", code: 4, doc: "All of them, the first token of the prompt too."),
        ])

    /// How a tap reduces its tokens.
    package static let tapPooling = CodeTable(
        name: "tap_pooling", doc: "How a tap reduces its tokens.", isOpen: false,
        values: [
            Value(name: "none", code: 0, doc: "Not at all: each token is kept."),
            Value(name: "mean", code: 1, doc: "Their mean."),
            Value(name: "max", code: 2, doc: "The greatest value of each column."),
        ])

    /// What is put around a probe's text.
    package static let probeTemplate = CodeTable(
        name: "probe_template", doc: "What is put around a probe's text.", isOpen: false,
        values: [
            Value(name: "question", code: 0, doc: "The model's question prompt."),
            Value(name: "action", code: 1, doc: "The model's action prompt."),
            Value(name: "none", code: 2, doc: "Nothing."),
        ])

    /// What a data stream is of.
    package static let streamKind = CodeTable(
        name: "stream_kind", doc: "What a data stream is of.", isOpen: false,
        values: [
            Value(name: "demonstrations", code: 0, doc: "Instructions, images and actions."),
            Value(name: "questions", code: 1, doc: "Questions about images, with answers."),
        ])

    /// The parameter group a block belongs to.
    package static let blockGroup = CodeTable(
        name: "block_group", doc: "The parameter group a block belongs to.", isOpen: false,
        values: [
            Value(name: "vision", code: 0, doc: "The vision towers."),
            Value(name: "projector", code: 1, doc: "From the towers to the decoder."),
            Value(name: "decoder", code: 2, doc: "The language model."),
            Value(name: "queries", code: 3, doc: "The action queries."),
            Value(name: "policy", code: 4, doc: "The action head."),
            Value(name: "proprio", code: 5, doc: "The projector of the proprioception."),
        ])

    /// What a block's parameters are.
    package static let blockKind = CodeTable(
        name: "block_kind", doc: "What a block's parameters are.", isOpen: false,
        values: [
            Value(name: "weight", code: 0, doc: "A matrix or a convolution."),
            Value(name: "bias", code: 1, doc: "The bias of one."),
            Value(name: "norm", code: 2, doc: "Scale or shift of a normalisation."),
            Value(name: "embedding", code: 3, doc: "A table of vectors by token or position."),
            Value(name: "lora_a", code: 4, doc: "The first, narrowing matrix of a low-rank adapter."),
            Value(name: "lora_b", code: 5, doc: "The second, widening matrix of a low-rank adapter."),
            Value(name: "query", code: 6, doc: "Action queries."),
            Value(name: "mixed", code: 7, doc: "Several tensors of different kinds."),
        ])
}

/// What one block of the Gram matrices is.
package enum BlockScope: Int64, HookCode {
    /// Each parameter tensor by itself.
    case tensor = 0
    /// A transformer layer or block; tensors outside of one count with their module.
    case layer = 1
    /// A tower, the projector, the decoder, the queries, the action head, the proprioception projector.
    case module = 2
    /// All parameters.
    case global = 3

    package static var table: CodeTable { .blockScope }
}

/// Which hidden state a tap takes; any other value is an index.
package enum TapLayer {
    /// None: the tap is turned off.
    package static let off = -1
    /// The outputs of all decoder layers.
    package static let all = -2
}

/// Positions a tap takes.
package enum TapTokens: Int64, HookCode {
    /// Those of the images.
    case visual = 0
    /// Those of the images and of the text.
    case visualAndPrompt = 1
    /// Those of the text.
    case prompt = 2
    /// The action queries.
    case queries = 3
    /// All of them, the first token of the prompt too.
    case all = 4

    package static var table: CodeTable { .tapTokens }
}

/// How a tap reduces its tokens.
package enum TapPooling: Int64, HookCode {
    /// Not at all: each token is kept.
    case none = 0
    /// Their mean.
    case mean = 1
    /// The greatest value of each column.
    case max = 2

    package static var table: CodeTable { .tapPooling }
}

/// What is put around a probe's text.
package enum ProbeTemplate: Int64, HookCode {
    /// The model's question prompt.
    case question = 0
    /// The model's action prompt.
    case action = 1
    /// Nothing.
    case none = 2

    package static var table: CodeTable { .probeTemplate }
}

/// What a data stream is of.
package enum StreamKind: Int64, HookCode {
    /// Instructions, images and actions.
    case demonstrations = 0
    /// Questions about images, with answers.
    case questions = 1

    package static var table: CodeTable { .streamKind }
}

/// The parameter group a block belongs to.
package enum BlockGroup: Int64, HookCode {
    /// The vision towers.
    case vision = 0
    /// From the towers to the decoder.
    case projector = 1
    /// The language model.
    case decoder = 2
    /// The action queries.
    case queries = 3
    /// The action head.
    case policy = 4
    /// The projector of the proprioception.
    case proprio = 5

    package static var table: CodeTable { .blockGroup }
}

/// What a block's parameters are.
package enum BlockKind: Int64, HookCode {
    /// A matrix or a convolution.
    case weight = 0
    /// The bias of one.
    case bias = 1
    /// Scale or shift of a normalisation.
    case norm = 2
    /// A table of vectors by token or position.
    case embedding = 3
    /// The first, narrowing matrix of a low-rank adapter.
    case loraA = 4
    /// The second, widening matrix of a low-rank adapter.
    case loraB = 5
    /// Action queries.
    case query = 6
    /// Several tensors of different kinds.
    case mixed = 7

    package static var table: CodeTable { .blockKind }
}
