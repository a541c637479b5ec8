internal import Formats

/// A set of demonstrations on disk, whatever its format. Sampling, statistics and `craft data` know no more of one than this.
///
/// A further format is a folder of this room with a store, and its line in ``Demonstrations/formats``.
package protocol DemonstrationStore: AnyObject, Sendable {
    /// What people call the format.
    static var format: String { get }

    /// Whether there is something of this format at `root`, or under `name` below it. Looks at few files, and reads none.
    static func isAt(root: String, name: String?) -> Bool

    /// Opens a set and reads all but its images.
    ///
    /// - Parameters:
    ///   - root: the folder of the set, or one that it is in.
    ///   - name: which set, where there are several; nil takes the only one.
    /// - Throws: ``DataError`` naming the file and place of missing, damaged or unexpected data.
    init(root: String, name: String?) throws(DataError)

    /// The name the set was asked for by; it keys `dataset_statistics.json`.
    var name: String { get }
    /// The set's folder.
    var path: String { get }
    /// In stored order.
    var episodes: [Episode] { get }
    /// Every episode has these.
    var cameras: [Camera] { get }
    var embodiment: Embodiment { get }
    var files: StoredFiles { get }

    /// Over every step of what the format counts as the whole set; computed once.
    func statistics() throws -> DatasetStatistics

    /// The place of a camera among ``cameras``.
    ///
    /// - Throws: when there is none of that name, or when its images are known to be of a kind that cannot be decoded.
    func camera(named name: String) throws(DataError) -> Int

    /// Reads and decodes one stored image, of whatever size it is; nil for a frame that was not taken. Any thread may ask.
    ///
    /// - Parameter camera: an index into ``cameras``.
    func image(episode: Int, step: Int, camera: Int) throws(DataError) -> RGBImage?

    /// The files that training and its statistics read, without reading them.
    static func files(root: String, name: String?) throws(DataError) -> [String]

    /// Every text that a set asks for, without reading its images.
    static func instructions(root: String, name: String?) throws(DataError) -> Set<String>

    /// What a set's steps hold, from its description alone; nil where that does not settle it, or the set cannot be opened.
    static func outline(root: String, name: String?) -> DemonstrationOutline?

    /// Reads every byte of a set and lists everything that is wrong with it.
    ///
    /// - Parameters:
    ///   - threads: files read at a time.
    ///   - progress: called after each with the number done and of all; from any thread, one call at a time.
    /// - Throws: when there is no data set to look at, or several.
    static func verification(
        root: String, name: String?, threads: Int, progress: @escaping @Sendable (_ done: Int, _ of: Int) -> Void
    ) throws(DataError) -> DatasetVerification
}

extension DemonstrationStore {
    /// Steps of all episodes.
    package var transitionCount: Int { episodes.reduce(0) { $0 + $1.length } }

    /// The place of a camera in ``cameras``, by its name alone.
    func listedCamera(named name: String) throws(DataError) -> Int {
        guard let index = cameras.firstIndex(where: { $0.name == name }) else {
            throw DataError(
                .missing,
                "\(path): has no camera '\(name)'; it has: \(cameras.map(\.name).joined(separator: ", ")).")
        }
        return index
    }
}

/// What the steps of a set hold.
package struct DemonstrationOutline: Sendable {
    package let embodiment: Embodiment
    package let cameras: [Camera]
}

/// The files of a set, for people.
package struct StoredFiles: Sendable {
    /// What the set calls itself.
    package let name: String
    package let version: String?
    /// Files that hold episodes.
    package let count: Int
    /// Of these files.
    package let bytes: Int
}

/// Demonstrations of any format that craft reads.
package enum Demonstrations {
    /// In the order in which a folder is looked at. The last is what a folder is taken for that is of no other.
    static let formats: [any DemonstrationStore.Type] = [LeRobotStore.self, RLDSStore.self]

    /// The format of what lies at `root`, or under `name` below it.
    package static func format(root: String, name: String? = nil) -> any DemonstrationStore.Type {
        formats.first { $0.isAt(root: root, name: name) } ?? RLDSStore.self
    }

    /// Opens a set; see ``DemonstrationStore/init(root:name:)``.
    package static func open(root: String, name: String? = nil) throws(DataError) -> any DemonstrationStore {
        try format(root: root, name: name).init(root: root, name: name)
    }

    /// See ``DemonstrationStore/files(root:name:)``.
    package static func files(root: String, name: String?) throws(DataError) -> [String] {
        try format(root: root, name: name).files(root: root, name: name)
    }

    /// See ``DemonstrationStore/instructions(root:name:)``.
    package static func instructions(root: String, name: String?) throws(DataError) -> Set<String> {
        try format(root: root, name: name).instructions(root: root, name: name)
    }

    /// See ``DemonstrationStore/outline(root:name:)``.
    package static func outline(root: String, name: String?) -> DemonstrationOutline? {
        format(root: root, name: name).outline(root: root, name: name)
    }
}
