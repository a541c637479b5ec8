// Generated from Sources/PluginAPI/names.json by scripts/generate_names.py: change codes there.

/// What one block of the Gram matrices is.
public enum BlockScope: Int64, HookCode {
    /// Each parameter tensor by itself.
    case tensor = 0
    /// A transformer layer or block; tensors outside of one count with their module.
    case layer = 1
    /// A tower, the projector, the decoder, the queries, the action head, the proprioception projector.
    case module = 2
    /// All parameters.
    case global = 3

    /// As a user types it.
    public var name: String {
        switch self {
        case .tensor: "tensor"
        case .layer: "layer"
        case .module: "module"
        case .global: "global"
        }
    }
}

/// Which hidden state a tap takes; any other value is an index.
public enum TapLayer {
    /// None: the tap is turned off.
    public static let off = -1
    /// The outputs of all decoder layers.
    public static let all = -2
}

/// Positions a tap takes.
public enum TapTokens: Int64, HookCode {
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

    /// As a user types it.
    public var name: String {
        switch self {
        case .visual: "visual"
        case .visualAndPrompt: "visual_and_prompt"
        case .prompt: "prompt"
        case .queries: "queries"
        case .all: "all"
        }
    }
}

/// How a tap reduces its tokens.
public enum TapPooling: Int64, HookCode {
    /// Not at all: each token is kept.
    case none = 0
    /// Their mean.
    case mean = 1
    /// The greatest value of each column.
    case max = 2

    /// As a user types it.
    public var name: String {
        switch self {
        case .none: "none"
        case .mean: "mean"
        case .max: "max"
        }
    }
}

/// What is put around a probe's text.
public enum ProbeTemplate: Int64, HookCode {
    /// The model's question prompt.
    case question = 0
    /// The model's action prompt.
    case action = 1
    /// Nothing.
    case none = 2

    /// As a user types it.
    public var name: String {
        switch self {
        case .question: "question"
        case .action: "action"
        case .none: "none"
        }
    }
}

/// What a data stream is of.
public enum StreamKind: Int64, HookCode {
    /// Instructions, images and actions.
    case demonstrations = 0
    /// Questions about images, with answers.
    case questions = 1

    /// As a user types it.
    public var name: String {
        switch self {
        case .demonstrations: "demonstrations"
        case .questions: "questions"
        }
    }
}

/// The parameter group a block belongs to.
public enum BlockGroup: Int64, HookCode {
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

    /// As a user types it.
    public var name: String {
        switch self {
        case .vision: "vision"
        case .projector: "projector"
        case .decoder: "decoder"
        case .queries: "queries"
        case .policy: "policy"
        case .proprio: "proprio"
        }
    }
}

/// What a block's parameters are.
public enum BlockKind: Int64, HookCode {
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

    /// As a user types it.
    public var name: String {
        switch self {
        case .weight: "weight"
        case .bias: "bias"
        case .norm: "norm"
        case .embedding: "embedding"
        case .loraA: "lora_a"
        case .loraB: "lora_b"
        case .query: "query"
        case .mixed: "mixed"
        }
    }
}
