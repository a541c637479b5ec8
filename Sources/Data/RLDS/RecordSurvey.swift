/// Everything that is wrong inside one record whose checksum is right.
struct RecordSurvey {
    let schema: FeatureSchema
    /// Valid as long as the survey runs.
    let payload: UnsafeRawBufferPointer
    /// Where the payload starts in its file.
    let offset: Int
    let record: Int
    let file: String

    private(set) var steps = 0
    private(set) var images = 0
    private(set) var problems: [DatasetProblem] = []

    init(schema: FeatureSchema, payload: UnsafeRawBufferPointer, offset: Int, record: Int, file: String) {
        (self.schema, self.payload, self.offset, self.record, self.file) = (schema, payload, offset, record, file)
    }

    private static let stepPrefix = "steps/"
    private static let instruction = "steps/language_instruction"

    private mutating func note(_ message: String, at place: Int? = nil) {
        problems.append(
            DatasetProblem(
                file: file, record: record, offset: place ?? offset,
                message: "\(file): record \(record) at offset \(offset): \(message)"))
    }

    mutating func run() {
        let example: TFExample
        do throws(ProtobufCursor.Malformed) {
            example = try TFExample(payload, wanted: Set(schema.leaves.keys))
        } catch {
            note(
                "is not a tf.train.Example: \(error.problem) at offset \(offset + error.offset). Its checksum is right, so "
                    + "it was written that way.", at: offset + error.offset)
            return
        }
        let leaves = schema.leaves.sorted { $0.key < $1.key }
        steps = stepCount(example, leaves)
        if steps == 0 { note("has no steps.") }
        for (key, leaf) in leaves {
            guard let feature = example.features[key] else {
                note("has no feature '\(key)', which features.json promises (\(leaf.summary)).")
                continue
            }
            guard feature.kind == leaf.kind || (feature == .empty && steps == 0) else {
                note("feature '\(key)' is stored as \(feature.kind), expected \(leaf.kind).")
                continue
            }
            checkLength(key, leaf, feature)
            switch feature {
            case .floats(let values): checkFinite(key, values, width: leaf.width ?? 1)
            case .bytes(let ranges):
                if case .image(_, let shape, _) = leaf { checkImages(key, ranges, shape: shape) }
                if leaf == .text { checkText(key, ranges) }
            case .integers, .empty: break
            }
        }
    }

    /// What most of the step features agree on.
    private func stepCount(_ example: TFExample, _ leaves: [(key: String, value: FeatureSchema.Leaf)]) -> Int {
        var votes: [Int: Int] = [:]
        for (key, leaf) in leaves where key.hasPrefix(Self.stepPrefix) {
            guard let width = leaf.width, let feature = example.features[key] else { continue }
            if feature.count % width == 0 { votes[feature.count / width, default: 0] += 1 }
        }
        return votes.max { ($0.value, $0.key) < ($1.value, $1.key) }?.key ?? 0
    }

    private mutating func checkLength(_ key: String, _ leaf: FeatureSchema.Leaf, _ feature: TFExample.Feature) {
        guard let width = leaf.width else { return }
        let expected = key.hasPrefix(Self.stepPrefix) ? steps * width : width
        guard feature.count != expected else { return }
        note(
            key.hasPrefix(Self.stepPrefix)
                ? "feature '\(key)' has \(feature.count) values, expected \(expected) (\(steps) steps of \(width), as most "
                    + "features have)."
                : "feature '\(key)' has \(feature.count) values, expected \(expected).")
    }

    private mutating func checkFinite(_ key: String, _ values: [Float], width: Int) {
        let bad = values.indices.filter { !values[$0].isFinite }
        guard let first = bad.first else { return }
        note(
            "feature '\(key)' is \(values[first]) at step \(first / width), element \(first % width)"
                + (bad.count > 1 ? ", and \(bad.count - 1) more of its values are not finite." : "."))
    }

    /// Images that cannot be decoded are listed; of those of another size, which are often all, the first and how many.
    private mutating func checkImages(_ key: String, _ ranges: [Range<Int>], shape: [Int]) {
        var misfits = 0
        var first = 0
        for (step, range) in ranges.enumerated() {
            let place = "feature '\(key)', step \(step) (\(range.count) bytes at offset \(offset + range.lowerBound))"
            images += 1
            do throws(DataError) {
                let image = try RGBImage(decoding: Array(payload[range]))
                if shape.count == 3, shape[0] > 0, shape[1] > 0, image.height != shape[0] || image.width != shape[1] {
                    misfits += 1
                    guard misfits == 1 else { continue }
                    first = problems.count
                    note(
                        "\(place): the image is \(image.width)x\(image.height), expected \(shape[1])x\(shape[0]) "
                            + "(features.json).", at: offset + range.lowerBound)
                }
            } catch {
                note("\(place): \(error)", at: offset + range.lowerBound)
            }
        }
        if misfits > 1 { problems[first].message += " \(misfits - 1) more of its images are not of that size." }
    }

    private mutating func checkText(_ key: String, _ ranges: [Range<Int>]) {
        for (step, range) in ranges.enumerated() {
            guard String(validating: payload[range], as: UTF8.self) != nil else {
                note("feature '\(key)' is not valid UTF-8 at step \(step).", at: offset + range.lowerBound)
                return
            }
            if key == Self.instruction, !payload[range].elementsEqual(payload[ranges[0]]) {
                note(
                    "feature '\(key)' changes at step \(step) from '\(String(decoding: payload[ranges[0]], as: UTF8.self))' "
                        + "to '\(String(decoding: payload[range], as: UTF8.self))'; an episode has one instruction.",
                    at: offset + range.lowerBound)
                return
            }
        }
    }
}

extension FeatureSchema.Leaf {
    /// The list of a tf.train.Feature that holds it.
    fileprivate var kind: String {
        switch self {
        case .tensor(let dtype, _):
            dtype.hasPrefix("float") || dtype == "bfloat16"
                ? "float_list" : dtype == "string" || dtype == "object" ? "bytes_list" : "int64_list"
        case .image, .text: "bytes_list"
        }
    }

    /// Values of one step; nil when a dimension is unknown.
    fileprivate var width: Int? {
        guard case .tensor(_, let shape) = self else { return 1 }
        var width = 1
        for extent in shape {
            guard extent > 0 else { return nil }
            let (product, overflow) = width.multipliedReportingOverflow(by: extent)
            guard !overflow else { return nil }
            width = product
        }
        return width
    }
}

extension TFExample.Feature {
    fileprivate var count: Int {
        switch self {
        case .bytes(let values): values.count
        case .floats(let values): values.count
        case .integers(let values): values.count
        case .empty: 0
        }
    }
}
