package import Formats

/// Where an import takes the tensors of a part of a model from: a file of another library, under that library's names.
package protocol PretrainedSource {
    /// The file or folder, for messages.
    var path: String { get }
    /// Whether the source has a tensor that the model declares.
    func holds(_ entry: CheckpointLayout.Entry) -> Bool
    /// The values of one that it has, row major.
    ///
    /// - Throws: when they are of another shape than the model's.
    func values(of entry: CheckpointLayout.Entry) throws(FileError) -> [Float]
    /// The first of the source's tensors that should be in the model and none of `entries` stands for: to leave one out would
    /// be another model.
    func unread(_ entries: [CheckpointLayout.Entry]) -> String?
}

/// A pretrained language model: its tensors, its `text_config` and its tokeniser.
package protocol PretrainedDecoder: PretrainedSource {
    /// `text_config` of the model.
    var configuration: [String: Any] { get }
    var hiddenSize: Int { get }
    var layers: Int { get }
    /// A Hugging Face `tokenizer.json`.
    var tokenizer: [UInt8] { get }
    /// What its chat format begins with, where a policy's prompt should not have the default.
    var systemPrompt: String? { get }
}
