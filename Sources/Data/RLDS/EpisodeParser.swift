internal import Formats

/// Turns one record into an ``RLDSEpisode``: checks the features that training uses, whatever else the record holds.
struct EpisodeParser: Sendable {
    private enum Key {
        static let action = "steps/action"
        static let state = "steps/observation/state"
        static let instruction = "steps/language_instruction"
        static let source = "episode_metadata/file_path"
    }

    static var instructionKey: String { Key.instruction }

    /// The features whose numbers training reads.
    static let numbers = [Key.action, Key.state]

    let cameras: [Camera]
    let embodiment: Embodiment
    private let wanted: Set<String>

    /// Checks the schema: what training reads must be there, of any width and type of number.
    init(schema: FeatureSchema) throws(DataError) {
        func width(_ key: String) throws(DataError) -> Int {
            guard let width = try schema.width(of: key) else {
                throw DataError(
                    .malformed,
                    "\(schema.path): feature '\(key)' is \(schema.leaves[key]?.summary ?? ""): how many numbers a step has must "
                        + "be known. Give the Tensor a shape and write the data set again.")
            }
            return width
        }
        embodiment = Embodiment(
            actionWidth: try width(Key.action), stateWidth: schema.leaves[Key.state] == nil ? 0 : try width(Key.state))
        try schema.requireText(Key.instruction)
        cameras = try schema.cameras()
        wanted = Set(cameras.map { Self.key(of: $0) } + [Key.action, Key.state, Key.instruction, Key.source])
    }

    private static func key(of camera: Camera) -> String { FeatureSchema.observationPrefix + camera.name }

    /// - Parameters:
    ///   - payload: the serialised example, valid during the call.
    ///   - offset: where the payload starts in its file.
    ///   - place: the file and record, for messages.
    func episode(
        _ payload: UnsafeRawBufferPointer, offset: Int, shard: Int, record: Int, file: String
    ) throws(DataError) -> RLDSEpisode {
        let place = "\(file): record \(record)"
        let example: TFExample
        do throws(ProtobufCursor.Malformed) {
            example = try TFExample(payload, wanted: wanted)
        } catch {
            throw DataError(
                .malformed,
                "\(place) is not a tf.train.Example: \(error.problem) at offset \(offset + error.offset). "
                    + "Its checksum is right, so it was written that way; use a TFDS data set.")
        }
        let reader = Reader(example: example, payload: payload, place: place)
        let texts = try reader.bytes(Key.instruction)
        let steps = texts.count
        guard steps > 0 else {
            throw DataError(.empty, "\(place): has no steps ('\(Key.instruction)' is empty). Remove the episode.")
        }

        var actions = try reader.numbers(Key.action, steps: steps, width: embodiment.actionWidth)
        embodiment.trained(&actions)
        let proprio =
            embodiment.stateWidth == 0
            ? [] : try reader.numbers(Key.state, steps: steps, width: embodiment.stateWidth)
        var frames: [[FrameRange]] = []
        var problems: [DataError?] = []
        for camera in cameras {
            let ranges = try reader.bytes(Self.key(of: camera), count: steps)
            frames.append(ranges.map { FrameRange(offset: offset + $0.lowerBound, length: $0.count) })
            problems.append(reader.imageProblem(ranges, camera: camera.name, offset: offset))
        }
        let episode = Episode(
            instructions: try reader.instructions(Key.instruction, texts), length: steps,
            source: reader.firstText(Key.source), embodiment: embodiment, actions: actions, proprio: proprio)
        return RLDSEpisode(episode: episode, frames: frames, imageProblems: problems, shard: shard, record: record)
    }
}

/// Typed access to an example's features, with errors that name the record and the feature.
private struct Reader {
    let example: TFExample
    let payload: UnsafeRawBufferPointer
    let place: String

    private func feature(_ key: String) throws(DataError) -> TFExample.Feature {
        guard let feature = example.features[key] else {
            throw DataError(
                .missing, "\(place): has no feature '\(key)'. features.json promises it; the record is incomplete.")
        }
        return feature
    }

    private func wrongKind(_ key: String, _ expected: String, _ found: TFExample.Feature) -> DataError {
        DataError(.malformed, "\(place): feature '\(key)' is stored as \(found.kind), expected \(expected).")
    }

    /// Numbers of either list, as floats.
    func numbers(_ key: String, steps: Int, width: Int) throws(DataError) -> [Float] {
        let found = try feature(key)
        let values: [Float]
        switch found {
        case .floats(let floats): values = floats
        case .integers(let integers): values = integers.map(Float.init)
        case .bytes, .empty: throw wrongKind(key, "float_list or int64_list", found)
        }
        guard values.count == steps * width else {
            throw DataError(
                .malformed,
                "\(place): feature '\(key)' has \(values.count) values, expected \(steps * width) "
                    + "(\(steps) steps of \(width)).")
        }
        if let bad = values.firstIndex(where: { !$0.isFinite }) {
            throw DataError(
                .malformed,
                "\(place): feature '\(key)' is \(values[bad]) at step \(bad / width), element \(bad % width). "
                    + "Training needs finite values; remove the episode.")
        }
        return values
    }

    /// - Parameter count: expected entries; nil takes any number.
    func bytes(_ key: String, count: Int? = nil) throws(DataError) -> [Range<Int>] {
        let found = try feature(key)
        guard case .bytes(let values) = found else { throw wrongKind(key, "bytes_list", found) }
        if let count, values.count != count {
            throw DataError(
                .malformed, "\(place): feature '\(key)' has \(values.count) entries, expected \(count), one per step.")
        }
        return values
    }

    private func text(_ key: String, _ range: Range<Int>) throws(DataError) -> String {
        guard let text = String(validating: payload[range], as: UTF8.self) else {
            throw DataError(.malformed, "\(place): feature '\(key)' is not valid UTF-8.")
        }
        return text
    }

    /// A text that RLDS repeats at every step, and that may change.
    func instructions(_ key: String, _ ranges: [Range<Int>]) throws(DataError) -> Episode.Instructions {
        var spans: [(start: Int, text: String)] = []
        for (step, range) in ranges.enumerated()
        where step == 0 || !payload[range].elementsEqual(payload[ranges[step - 1]]) {
            spans.append((step, try text(key, range)))
        }
        return Episode.Instructions(spans: spans)
    }

    /// The first text of a feature that training does not need; nil where there is none.
    func firstText(_ key: String) -> String? {
        guard case .bytes(let ranges)? = example.features[key], let range = ranges.first else { return nil }
        return try? text(key, range)
    }

    /// The first image that no decoder will read, told by its first bytes and its header.
    func imageProblem(_ ranges: [Range<Int>], camera: String, offset: Int) -> DataError? {
        for (step, range) in ranges.enumerated() where !range.isEmpty {
            do throws(DataError) { _ = try EncodedImage(UnsafeRawBufferPointer(rebasing: payload[range])) } catch {
                return DataError(
                    error.code,
                    "\(place), step \(step), camera '\(camera)' (\(range.count) bytes at offset "
                        + "\(offset + range.lowerBound)): \(error)")
            }
        }
        return nil
    }
}
