import Foundation

/// One thing that is wrong with a data set, and where.
package struct DatasetProblem: Codable, Equatable, Sendable {
    package var file: String
    /// The record's index in its file, from 0.
    package var record: Int?
    /// Where in the file, bytes.
    package var offset: Int?
    /// A sentence that names the place too.
    package var message: String
}

/// What reading every byte of a data set found, whatever its format.
package struct DatasetVerification: Codable, Sendable {
    package internal(set) var path: String
    package internal(set) var name: String
    /// Files that hold records.
    package internal(set) var shards = 0
    /// Episodes as stored, damaged ones included.
    package internal(set) var records = 0
    /// Of the records that could be read.
    package internal(set) var steps = 0
    /// Images decoded.
    package internal(set) var images = 0
    /// Of these files.
    package internal(set) var bytes = 0
    /// By file, then by place.
    package internal(set) var problems: [DatasetProblem] = []
    /// What is unusual and does not keep the set from being trained on: images of other sizes than described, for instance.
    package internal(set) var remarks: [DatasetProblem] = []

    package var isSound: Bool { problems.isEmpty }

    init(path: String, name: String) { (self.path, self.name) = (path, name) }

    /// Reads the set that ``Demonstrations/open(root:name:)`` would open.
    ///
    /// - Parameters:
    ///   - threads: files read at a time; nil uses all cores.
    ///   - progress: called after each file with the number done and of all; from any thread, one call at a time.
    /// - Throws: when there is no data set to look at, or several.
    package init(
        root: String, name: String? = nil, threads: Int? = nil,
        progress: @escaping @Sendable (_ done: Int, _ of: Int) -> Void = { _, _ in }
    ) throws(DataError) {
        self = try Demonstrations.format(root: root, name: name).verification(
            root: root, name: name, threads: threads ?? ProcessInfo.processInfo.activeProcessorCount, progress: progress
        )
    }
}
