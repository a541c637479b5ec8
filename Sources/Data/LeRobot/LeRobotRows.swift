internal import Formats

/// The rows of one data file of a LeRobot data set.
struct LeRobotRows: Sendable {
    /// What reading pictures needs besides an episode's numbers.
    struct Place: Sendable {
        /// The episode's number in the set.
        var number: Int
        /// Per camera, the pictures in the data file; nil for videos.
        var pictures: [ParquetPictures?]
        /// The episode's first row in that file.
        var firstRow: Int
        /// Per camera, the video, and at which second of it the episode begins.
        var videos: [(path: String, start: Double)?]
        /// Per step, seconds since the episode began.
        var times: [Double]
    }

    private(set) var episodes: [(number: Int, episode: Episode, place: Place)] = []

    /// - Parameter entries: the episodes that should be in the file.
    init(
        _ path: String, _ entries: [LeRobotIndex.Entry], _ info: LeRobotInfo, tasks: [Int: String]
    ) throws(DataError) {
        let file = try ParquetFile(path: path)
        let numbers = try file.integers("episode_index")
        let taskNumbers = try file.integers("task_index")
        let times = try file.numbers("timestamp")
        let (a, s) = (info.embodiment.actionWidth, info.embodiment.stateWidth)
        let actions = try Self.finite(file, info.action, width: a)
        let states = try info.state.map { (state) throws(DataError) in try Self.finite(file, state, width: s) } ?? []
        let pictures = try info.cameras.map { (camera) throws(DataError) in
            camera.isVideo ? nil : try ParquetPictures(file, name: camera.key)
        }
        var spans: [Int: Range<Int>] = [:]
        var start = 0
        for row in 0...numbers.count where row == numbers.count || numbers[row] != numbers[start] {
            guard row > start else { continue }
            guard spans.updateValue(start..<row, forKey: numbers[start]) == nil else {
                throw DataError(
                    .malformed,
                    "\(path): the rows of episode \(numbers[start]) are not in one piece (again at row \(start)).")
            }
            start = row
        }
        for entry in entries {
            guard let rows = spans[entry.number], rows.count == entry.length else {
                throw DataError(
                    .mismatched,
                    "\(path): holds \(spans[entry.number]?.count ?? 0) rows of episode \(entry.number), but meta says it has "
                        + "\(entry.length) steps. The download is incomplete or mixes versions.")
            }
            var instructions: [(start: Int, text: String)] = []
            for (step, row) in rows.enumerated() where step == 0 || taskNumbers[row] != taskNumbers[row - 1] {
                guard let text = tasks[taskNumbers[row]] else {
                    throw DataError(
                        .missing,
                        "\(path): row \(row) is of task \(taskNumbers[row]), which the tasks in meta do not list.")
                }
                instructions.append((step, text))
            }
            var trained = Array(actions[rows.lowerBound * a..<rows.upperBound * a])
            info.embodiment.trained(&trained)
            let episode = Episode(
                instructions: Episode.Instructions(spans: instructions), length: rows.count, source: nil,
                embodiment: info.embodiment, actions: trained,
                proprio: Array(states[rows.lowerBound * s..<rows.upperBound * s]))
            let place = Place(
                number: entry.number, pictures: pictures, firstRow: rows.lowerBound, videos: entry.videos,
                times: Array(times[rows]))
            episodes.append((entry.number, episode, place))
        }
    }

    private static func finite(_ file: ParquetFile, _ name: String, width: Int) throws(DataError) -> [Float] {
        let values = try file.numbers(name, width: width)
        if let bad = values.firstIndex(where: { !Float($0).isFinite }) {
            throw DataError(
                .malformed,
                "\(file.path): column '\(name)' is \(values[bad]) in row \(bad / width), element \(bad % width). Training needs "
                    + "finite values; remove the episode.")
        }
        return values.map { Float($0) }
    }
}
