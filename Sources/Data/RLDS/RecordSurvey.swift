internal import Formats

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
    /// What is unusual and changes nothing that training reads.
    private(set) var remarks: [DatasetProblem] = []

    init(schema: FeatureSchema, payload: UnsafeRawBufferPointer, offset: Int, record: Int, file: String) {
        (self.schema, self.payload, self.offset, self.record, self.file) = (schema, payload, offset, record, file)
    }

    private func finding(_ message: String, at place: Int? = nil) -> DatasetProblem {
        DatasetProblem(
            file: file, record: record, offset: place ?? offset,
            message: "\(file): record \(record) at offset \(offset): \(message)")
    }

    private mutating func note(_ message: String, at place: Int? = nil) { problems.append(finding(message, at: place)) }

    mutating func run() {
        let example: TFExample
        do throws(ProtobufCursor.Malformed) {
            let names = schema.leaves.flatMap { $1.sequences == 0 ? [$0] : [$0, Self.flatValues($0)] }
            example = try TFExample(payload, wanted: Set(names))
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
            guard let kind = leaf.storedKind else { continue }
            // Lists of any length may be stored apart from their lengths.
            let ragged = leaf.sequences > 0 ? example.features[Self.flatValues(key)] : nil
            guard let feature = example.features[key] ?? ragged else {
                note("has no feature '\(key)', which features.json promises (\(leaf.summary)).")
                continue
            }
            // A list without values may come without its kind.
            guard feature.kind == kind || (feature == .empty && (steps == 0 || leaf.sequences > 0)) else {
                // Training takes numbers of either kind.
                if case .tensor = leaf.kind, kind != "bytes_list", feature.kind != "bytes_list", feature != .empty {
                    remarks.append(
                        finding(
                            "feature '\(key)' is stored as \(feature.kind), though features.json says \(leaf.summary).")
                    )
                } else {
                    note("feature '\(key)' is stored as \(feature.kind), expected \(kind).")
                }
                continue
            }
            if leaf.sequences == 0 { checkLength(key, leaf, feature) }
            switch feature {
            case .floats(let values): checkFinite(key, values, width: leaf.width ?? 1)
            case .bytes(let ranges):
                if leaf.isColourImage, case .image(_, let shape, _) = leaf.kind {
                    checkImages(key, ranges, shape: shape)
                }
                if leaf.kind == .text { checkText(key, ranges) }
            case .integers, .empty: break
            }
        }
    }

    private static func flatValues(_ key: String) -> String { key + "/ragged_flat_values" }

    /// What most of the step features agree on.
    private func stepCount(_ example: TFExample, _ leaves: [(key: String, value: FeatureSchema.Leaf)]) -> Int {
        var votes: [Int: Int] = [:]
        for (key, leaf) in leaves where key.hasPrefix(FeatureSchema.stepPrefix) {
            guard leaf.sequences == 0, let width = leaf.width, let feature = example.features[key] else { continue }
            if feature.count % width == 0 { votes[feature.count / width, default: 0] += 1 }
        }
        return votes.max { ($0.value, $0.key) < ($1.value, $1.key) }?.key ?? 0
    }

    private mutating func checkLength(_ key: String, _ leaf: FeatureSchema.Leaf, _ feature: TFExample.Feature) {
        guard let width = leaf.width else { return }
        let expected = key.hasPrefix(FeatureSchema.stepPrefix) ? steps * width : width
        guard feature.count != expected else { return }
        note(
            key.hasPrefix(FeatureSchema.stepPrefix)
                ? "feature '\(key)' has \(feature.count) values, expected \(expected) (\(steps) steps of \(width), as most "
                    + "features have)."
                : "feature '\(key)' has \(feature.count) values, expected \(expected).")
    }

    /// Training needs finite numbers in what it reads.
    private mutating func checkFinite(_ key: String, _ values: [Float], width: Int) {
        let bad = values.indices.filter { !values[$0].isFinite }
        guard let first = bad.first else { return }
        let found = finding(
            "feature '\(key)' is \(values[first]) at step \(first / width), element \(first % width)"
                + (bad.count > 1 ? ", and \(bad.count - 1) more of its values are not finite." : "."))
        if EpisodeParser.numbers.contains(key) { problems.append(found) } else { remarks.append(found) }
    }

    /// Images that cannot be decoded are problems. Training decodes those of another size than the description's, and those with
    /// faults that the decoder passes over: the first of each is a remark, with how many more there are.
    private mutating func checkImages(_ key: String, _ ranges: [Range<Int>], shape: [Int]) {
        var (misfits, faults): ([DatasetProblem], [DatasetProblem]) = ([], [])
        // An empty text stands for a frame that was not taken.
        for (step, range) in ranges.enumerated() where !range.isEmpty {
            let place = "feature '\(key)', step \(step) (\(range.count) bytes at offset \(offset + range.lowerBound))"
            images += 1
            do throws(DataError) {
                let encoded = try EncodedImage(UnsafeRawBufferPointer(rebasing: payload[range]))
                let (image, fault) = try RGBImage.decoded(encoded)
                if shape.count == 3, shape[0] > 0, shape[1] > 0, image.height != shape[0] || image.width != shape[1] {
                    misfits.append(
                        finding(
                            "\(place): the image is \(image.width)x\(image.height), not \(shape[1])x\(shape[0]) as "
                                + "features.json says.", at: offset + range.lowerBound))
                }
                if let fault { faults.append(finding("\(place): \(fault).", at: offset + range.lowerBound)) }
            } catch {
                note("\(place): \(error)", at: offset + range.lowerBound)
            }
        }
        for found in [misfits, faults] {
            guard var first = found.first else { continue }
            if found.count > 1 { first.message += " The same goes for \(found.count - 1) more of its images." }
            remarks.append(first)
        }
    }

    private mutating func checkText(_ key: String, _ ranges: [Range<Int>]) {
        for (step, range) in ranges.enumerated() where String(validating: payload[range], as: UTF8.self) == nil {
            note("feature '\(key)' is not valid UTF-8 at step \(step).", at: offset + range.lowerBound)
            return
        }
    }
}

extension FeatureSchema.Leaf {
    /// The list of a tf.train.Feature that holds it; nil for features that are not looked into.
    fileprivate var storedKind: String? {
        switch kind {
        case .tensor(let dtype, _):
            if !packing.isEmpty || dtype == "string" { return "bytes_list" }
            return dtype.hasPrefix("float") || dtype.hasPrefix("bfloat") ? "float_list" : "int64_list"
        case .image, .text: return "bytes_list"
        case .other: return nil
        }
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
