//! The integers that stand for a choice in the plugin interface: generated from Sources/PluginAPI/names.json by scripts/generate_names.py.
//!
//! `BlockScope::Layer as i64` is the code; an `Out<i64>` takes the choice itself.

/// What one block of the Gram matrices is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum BlockScope {
    /// Each parameter tensor by itself.
    Tensor = 0,
    /// A transformer layer or block; tensors outside of one count with their module.
    Layer = 1,
    /// A tower, the projector, the decoder, the queries, the action head, the proprioception projector.
    Module = 2,
    /// All parameters.
    Global = 3,
}

impl From<BlockScope> for i64 {
    fn from(value: BlockScope) -> i64 {
        value as i64
    }
}

/// Which hidden state a tap takes; any other value is an index.
pub mod tap_layer {
    /// None: the tap is turned off.
    pub const OFF: i64 = -1;
    /// The outputs of all decoder layers.
    pub const ALL: i64 = -2;
}

/// Positions a tap takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum TapTokens {
    /// Those of the images.
    Visual = 0,
    /// Those of the images and of the text.
    VisualAndPrompt = 1,
    /// Those of the text.
    Prompt = 2,
    /// The action queries.
    Queries = 3,
    /// All of them, the first token of the prompt too.
    All = 4,
}

impl From<TapTokens> for i64 {
    fn from(value: TapTokens) -> i64 {
        value as i64
    }
}

/// How a tap reduces its tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum TapPooling {
    /// Not at all: each token is kept.
    None = 0,
    /// Their mean.
    Mean = 1,
    /// The greatest value of each column.
    Max = 2,
}

impl From<TapPooling> for i64 {
    fn from(value: TapPooling) -> i64 {
        value as i64
    }
}

/// What is put around a probe's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum ProbeTemplate {
    /// The model's question prompt.
    Question = 0,
    /// The model's action prompt.
    Action = 1,
    /// Nothing.
    None = 2,
}

impl From<ProbeTemplate> for i64 {
    fn from(value: ProbeTemplate) -> i64 {
        value as i64
    }
}

/// What a data stream is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum StreamKind {
    /// Instructions, images and actions.
    Demonstrations = 0,
    /// Questions about images, with answers.
    Questions = 1,
}

impl From<StreamKind> for i64 {
    fn from(value: StreamKind) -> i64 {
        value as i64
    }
}

/// The parameter group a block belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum BlockGroup {
    /// The vision towers.
    Vision = 0,
    /// From the towers to the decoder.
    Projector = 1,
    /// The language model.
    Decoder = 2,
    /// The action queries.
    Queries = 3,
    /// The action head.
    Policy = 4,
    /// The projector of the proprioception.
    Proprio = 5,
}

impl From<BlockGroup> for i64 {
    fn from(value: BlockGroup) -> i64 {
        value as i64
    }
}

/// What a block's parameters are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum BlockKind {
    /// A matrix or a convolution.
    Weight = 0,
    /// The bias of one.
    Bias = 1,
    /// Scale or shift of a normalisation.
    Norm = 2,
    /// A table of vectors by token or position.
    Embedding = 3,
    /// The first, narrowing matrix of a low-rank adapter.
    LoraA = 4,
    /// The second, widening matrix of a low-rank adapter.
    LoraB = 5,
    /// Action queries.
    Query = 6,
    /// Several tensors of different kinds.
    Mixed = 7,
}

impl From<BlockKind> for i64 {
    fn from(value: BlockKind) -> i64 {
        value as i64
    }
}
