/// An episode and where its images lie.
struct RLDSEpisode: Sendable {
    let episode: Episode
    /// Per camera, T byte ranges in the shard; an empty one is a frame that was not taken.
    let frames: [[FrameRange]]
    /// Per camera, what is wrong with its first image that cannot be decoded.
    let imageProblems: [DataError?]
    let shard: Int
    let record: Int
}

/// Where one encoded image lies in its shard file.
struct FrameRange: Sendable {
    var offset: Int
    var length: Int
}
