internal import Formats

/// Takes an observation out of a message.
package struct ObservationReader {
    let summary: Policy.Summary

    package init(summary: Policy.Summary) { self.summary = summary }

    /// openpi's LIBERO keys: observation/image, observation/wrist_image, observation/state, prompt.
    package func openPI(_ message: MessagePackValue) throws(ServingError) -> Observation {
        guard case .map = message else {
            throw ServingError(.malformed, "an observation must be a map; found \(message.kind)")
        }
        var images: [Observation.Image] = []
        for camera in summary.cameras { images.append(try image("observation/\(camera)", in: message)) }
        return Observation(
            images: images, state: try state("observation/state", in: message),
            instruction: try instruction("prompt", in: message))
    }

    /// vla-eval's LIBERO keys: images (agentview, wrist), states, task_description.
    package func vlaEval(_ payload: MessagePackValue) throws(ServingError) -> Observation {
        guard case .map = payload else {
            throw ServingError(.malformed, "the payload of an observation must be a map; found \(payload.kind)")
        }
        guard let images = payload["images"] else { throw missing("images", in: payload) }
        guard case .map = images else {
            throw ServingError(.malformed, "images: expected a map of cameras; found \(images.kind)")
        }
        var found: [Observation.Image] = []
        for camera in summary.cameras { found.append(try image(Self.vlaEvalName(of: camera), in: images)) }
        return Observation(
            images: found, state: try state(payload["states"] == nil ? "state" : "states", in: payload),
            instruction: try instruction("task_description", in: payload))
    }

    /// What vla-eval's LIBERO calls a camera.
    static func vlaEvalName(of camera: String) -> String {
        ["image": "agentview", "wrist_image": "wrist"][camera] ?? camera
    }

    // MARK: - Pieces

    private func missing(_ key: String, in map: MessagePackValue) -> ServingError {
        let keys = map.keys.prefix(16).map { String($0.prefix(64)) }.joined(separator: ", ")
        return ServingError(.missing, "'\(key)' is missing; the keys found are: \(keys.isEmpty ? "none" : keys)")
    }

    private func image(_ key: String, in map: MessagePackValue) throws(ServingError) -> Observation.Image {
        guard let value = map[key] else { throw missing(key, in: map) }
        if case .binary(let file) = value { return .encoded(file) }
        if value["__image__"] != nil, let format = value["format"]?.text, format != "raw" {
            guard ["png", "jpeg"].contains(format) else {
                throw ServingError(
                    .unsuitable, "\(key): the format is '\(format.prefix(32))'; expected png, jpeg or raw")
            }
            guard case .binary(let file)? = value["data"] else {
                throw ServingError(
                    .unsuitable, "\(key): 'data' must be bytes; found \(value["data"]?.kind ?? "nothing")")
            }
            return .encoded(file)
        }
        // A raw image has the fields of an array under another mark.
        let array = try NumPyArray(value["__image__"] == nil ? value : value.markedAsArray, key: key)
        guard let array else {
            throw ServingError(
                .unsuitable,
                "\(key): expected a uint8 array [height, width, 3] or the bytes of a JPEG or PNG file; found \(value.kind)"
            )
        }
        guard array.isBytes, array.shape.count == 3, array.shape[2] == 3, array.shape[0] > 0, array.shape[1] > 0 else {
            throw ServingError(
                .unsuitable,
                "\(key): expected uint8 [height, width, 3]; found '\(array.dtype)' \(array.shape)")
        }
        return .pixels(array.data, height: array.shape[0], width: array.shape[1])
    }

    private func state(_ key: String, in map: MessagePackValue) throws(ServingError) -> [Float] {
        guard let value = map[key] else { throw missing(key, in: map) }
        let expected = "expected \(summary.stateDim) numbers (position, axis-angle, two finger joints)"
        let numbers: [Double]
        if let array = try NumPyArray(value, key: key) {
            guard array.shape == [summary.stateDim] else {
                throw ServingError(.unsuitable, "\(key): \(expected); found '\(array.dtype)' \(array.shape)")
            }
            numbers = array.doubles
        } else if case .list(let values) = value {
            guard values.count == summary.stateDim else {
                throw ServingError(.unsuitable, "\(key): \(expected); found \(value.kind)")
            }
            if let other = values.first(where: { $0.double == nil }) {
                throw ServingError(.unsuitable, "\(key): \(expected); found \(other.description) among them")
            }
            numbers = values.compactMap(\.double)
        } else {
            throw ServingError(.unsuitable, "\(key): \(expected); found \(value.kind)")
        }
        if let number = numbers.first(where: { !Float($0).isFinite }) {
            throw ServingError(.unsuitable, "\(key): holds \(number), which is not finite in float32")
        }
        return numbers.map { Float($0) }
    }

    private func instruction(_ key: String, in map: MessagePackValue) throws(ServingError) -> String {
        guard var value = map[key] else { throw missing(key, in: map) }
        // numpy.str_, as openpi-client sends it.
        if value["__npgeneric__"] != nil, let item = value["data"] { value = item }
        guard let text = value.text else {
            throw ServingError(.unsuitable, "\(key): expected a text; found \(value.kind)")
        }
        guard !text.isEmpty, text.utf8.count <= Policy.maximumInstruction else {
            throw ServingError(
                .unsuitable,
                "\(key): expected an instruction of 1 to \(Policy.maximumInstruction) bytes; found \(text.utf8.count)")
        }
        return text
    }
}

extension MessagePackValue {
    fileprivate var markedAsArray: MessagePackValue {
        guard case .map(let entries) = self else { return self }
        return .map(entries + [.init(.text("__ndarray__"), .boolean(true))])
    }
}
