/// One camera of a data set and the size of its stored images, in pixels, where `features.json` says one.
package struct Camera: Codable, Equatable, Sendable {
    package let name: String
    package let height: Int?
    package let width: Int?

    package init(name: String, height: Int?, width: Int?) {
        self.name = name
        self.height = height
        self.width = width
    }
}

/// One demonstration: what the trainer needs in memory, and where its images lie on disk.
package struct Episode: Sendable {
    /// What the robot is asked to do, first step first; changes within an episode are rare.
    struct Instructions: Sendable {
        /// The texts, each with the step from which on it holds; the first is 0.
        var spans: [(start: Int, text: String)]

        subscript(step: Int) -> String { spans.last { $0.start <= step }?.text ?? "" }
    }

    let instructions: Instructions
    /// T, the number of steps.
    package let length: Int
    /// `episode_metadata/file_path`, when the record has it.
    package let source: String?
    /// The cameras, sorted by name.
    package let cameras: [Camera]
    package let embodiment: Embodiment

    /// [T, actionWidth] row major, as policies are trained on them.
    package let actions: [Float]
    /// [T, stateWidth] row major.
    package let proprio: [Float]
    /// Per camera, T byte ranges in the shard; an empty one is a frame that was not taken.
    let frames: [[FrameRange]]
    /// Per camera, what is wrong with its first image that cannot be decoded.
    let imageProblems: [DataError?]
    let shard: Int
    let record: Int

    /// The instruction of the first step.
    package var instruction: String { instructions[0] }

    /// What the robot is asked to do at a step.
    package func instruction(at step: Int) -> String { instructions[step] }

    /// Whether any step has an instruction; without, the episode gives no samples.
    package var isLabelled: Bool { instructions.spans.contains { !$0.text.isEmpty } }
}

/// Where one encoded image lies in its shard file.
struct FrameRange: Sendable {
    var offset: Int
    var length: Int
}
