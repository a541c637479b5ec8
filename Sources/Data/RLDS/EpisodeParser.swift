/// Turns one record into an ``Episode``: checks every feature's kind and length, applies the LIBERO transform.
struct EpisodeParser: Sendable {
    private enum Key {
        static let action = "steps/action"
        static let state = "steps/observation/state"
        static let instruction = "steps/language_instruction"
        static let isLast = "steps/is_last"
        static let source = "episode_metadata/file_path"
    }

    let cameras: [Camera]
    private let wanted: Set<String>

    /// Checks the schema: what training reads must be there, with LIBERO's shapes.
    init(schema: FeatureSchema) throws(DataError) {
        try schema.require(Key.action, .tensor(dtype: "float32", shape: [Episode.actionWidth]))
        try schema.require(Key.state, .tensor(dtype: "float32", shape: [Episode.proprioWidth]))
        try schema.require(Key.isLast, .tensor(dtype: "bool", shape: []))
        try schema.require(Key.instruction, .text)
        cameras = try schema.cameras()
        wanted = Set(
            cameras.map { Self.key(of: $0) } + [Key.action, Key.state, Key.instruction, Key.isLast, Key.source])
    }

    private static func key(of camera: Camera) -> String { "steps/observation/\(camera.name)" }

    /// - Parameters:
    ///   - payload: the serialised example, valid during the call.
    ///   - offset: where the payload starts in its file.
    ///   - place: the file and record, for messages.
    func episode(
        _ payload: UnsafeRawBufferPointer, offset: Int, shard: Int, record: Int, file: String
    ) throws(DataError) -> Episode {
        let place = "\(file): record \(record)"
        let example: TFExample
        do throws(ProtobufCursor.Malformed) {
            example = try TFExample(payload, wanted: wanted)
        } catch {
            throw DataError(
                "\(place) is not a tf.train.Example: \(error.problem) at offset \(offset + error.offset). "
                    + "Its checksum is right, so it was written that way; use a TFDS data set.")
        }
        let reader = Reader(example: example, payload: payload, place: place)
        let steps = try reader.integers(Key.isLast).count
        guard steps > 0 else {
            throw DataError("\(place): has no steps ('\(Key.isLast)' is empty). Remove the episode.")
        }

        var actions = try reader.floats(Key.action, steps: steps, width: Episode.actionWidth)
        let proprio = try reader.floats(Key.state, steps: steps, width: Episode.proprioWidth)
        // LIBERO stores the gripper as -1 open / +1 close; policies are trained on 1 open / 0 closed.
        for last in stride(from: Episode.actionWidth - 1, to: actions.count, by: Episode.actionWidth) {
            actions[last] = 1 - min(max(actions[last], 0), 1)
        }
        var frames: [[FrameRange]] = []
        for camera in cameras {
            let ranges = try reader.bytes(Self.key(of: camera), count: steps)
            frames.append(ranges.map { FrameRange(offset: offset + $0.lowerBound, length: $0.count) })
        }
        return Episode(
            instruction: try reader.sameText(Key.instruction, steps: steps), length: steps,
            source: try reader.optionalText(Key.source), cameras: cameras, actions: actions, proprio: proprio,
            frames: frames, shard: shard, record: record)
    }
}

/// Typed access to an example's features, with errors that name the record and the feature.
private struct Reader {
    let example: TFExample
    let payload: UnsafeRawBufferPointer
    let place: String

    private func feature(_ key: String) throws(DataError) -> TFExample.Feature {
        guard let feature = example.features[key] else {
            throw DataError("\(place): has no feature '\(key)'. features.json promises it; the record is incomplete.")
        }
        return feature
    }

    private func wrongKind(_ key: String, _ expected: String, _ found: TFExample.Feature) -> DataError {
        DataError("\(place): feature '\(key)' is stored as \(found.kind), expected \(expected).")
    }

    func integers(_ key: String) throws(DataError) -> [Int64] {
        let found = try feature(key)
        guard case .integers(let values) = found else { throw wrongKind(key, "int64_list", found) }
        return values
    }

    func floats(_ key: String, steps: Int, width: Int) throws(DataError) -> [Float] {
        let found = try feature(key)
        guard case .floats(let values) = found else { throw wrongKind(key, "float_list", found) }
        guard values.count == steps * width else {
            throw DataError(
                "\(place): feature '\(key)' has \(values.count) values, expected \(steps * width) "
                    + "(\(steps) steps of \(width)).")
        }
        if let bad = values.firstIndex(where: { !$0.isFinite }) {
            throw DataError(
                "\(place): feature '\(key)' is \(values[bad]) at step \(bad / width), element \(bad % width). "
                    + "Training needs finite values; remove the episode.")
        }
        return values
    }

    func bytes(_ key: String, count: Int) throws(DataError) -> [Range<Int>] {
        let found = try feature(key)
        guard case .bytes(let values) = found else { throw wrongKind(key, "bytes_list", found) }
        guard values.count == count else {
            throw DataError("\(place): feature '\(key)' has \(values.count) entries, expected \(count), one per step.")
        }
        return values
    }

    private func text(_ key: String, _ range: Range<Int>) throws(DataError) -> String {
        guard let text = String(validating: payload[range], as: UTF8.self) else {
            throw DataError("\(place): feature '\(key)' is not valid UTF-8.")
        }
        return text
    }

    /// A text that RLDS repeats at every step.
    func sameText(_ key: String, steps: Int) throws(DataError) -> String {
        let ranges = try bytes(key, count: steps)
        let first = try text(key, ranges[0])
        for (step, range) in ranges.enumerated() where !payload[range].elementsEqual(payload[ranges[0]]) {
            throw DataError(
                "\(place): feature '\(key)' changes at step \(step) from '\(first)' to '\(try text(key, range))'. "
                    + "An episode has one instruction; split it.")
        }
        return first
    }

    func optionalText(_ key: String) throws(DataError) -> String? {
        guard example.features[key] != nil else { return nil }
        return try text(key, try bytes(key, count: 1)[0])
    }
}
