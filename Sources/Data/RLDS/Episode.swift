/// One camera of a data set and the size of its stored images, in pixels.
public struct Camera: Codable, Equatable, Sendable {
    public let name: String
    public let height: Int
    public let width: Int

    package init(name: String, height: Int, width: Int) {
        self.name = name
        self.height = height
        self.width = width
    }
}

/// One demonstration: what the trainer needs in memory, and where its images lie on disk.
public struct Episode: Sendable {
    /// Width of an action: 6 end-effector deltas and the gripper (1 open, 0 closed).
    public static let actionWidth = 7
    /// Width of the proprioceptive state: position 3, axis-angle 3, finger joints 2.
    public static let proprioWidth = 8

    /// What the robot is asked to do; may be empty, and then the episode gives no samples.
    public let instruction: String
    /// T, the number of steps.
    public let length: Int
    /// `episode_metadata/file_path`, when the record has it.
    public let source: String?
    /// The cameras, sorted by name, with the sizes of the stored images.
    public let cameras: [Camera]

    /// [T, 7] row major, after the LIBERO transform.
    package let actions: [Float]
    /// [T, 8] row major.
    package let proprio: [Float]
    /// Per camera, T byte ranges in the shard.
    let frames: [[FrameRange]]
    let shard: Int
    let record: Int
}

/// Where one encoded image lies in its shard file.
struct FrameRange: Sendable {
    var offset: Int
    var length: Int
}
