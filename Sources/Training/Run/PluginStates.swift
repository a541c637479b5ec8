internal import Formats
internal import Foundation

/// What plugins get back from a checkpoint, `plugins.safetensors`: bytes under `state.<instance>` and `previous_values`.
struct PluginStates {
    static let fileName = "plugins.safetensors"
    private static let prefix = "state."
    private static let previousName = "previous_values"

    /// Each instance's own state.
    var states: [String: Data]
    /// Values of the last step that hooks read as `name@prev`.
    var previousValues: Data

    init(states: [String: Data], previousValues: Data) {
        (self.states, self.previousValues) = (states, previousValues)
    }

    func write(to folder: String) throws {
        let all = states.sorted { $0.key < $1.key }.map { (Self.prefix + $0.key, $0.value) }
        let tensors = (all + [(Self.previousName, previousValues)]).map { name, data in
            SafetensorsWriter.Tensor(name, shape: [data.count], bytes: [UInt8](data))
        }
        try SafetensorsWriter.write(tensors, to: "\(folder)/\(Self.fileName)")
    }

    /// Reads what a checkpoint has, from `trainer_state.json` if it is of format 1.
    init(of checkpoint: CheckpointFolders.Checkpoint, format: Int) throws {
        guard format > 1 else {
            self = try Self.inFormat1(checkpoint.file("trainer_state.json"))
            return
        }
        let file = try SafetensorsFile(path: checkpoint.file(Self.fileName))
        func data(_ name: String) throws -> Data {
            let entry = try file.requiredEntry(name)
            guard entry.dtype == .u8 else {
                throw TrainingError(
                    .malformed, "\(file.path): '\(name)' is of type \(entry.dtype.rawValue); expected bytes (U8)")
            }
            return file.withBytes(entry) { Data($0) }
        }
        states = [:]
        for name in file.names where name.hasPrefix(Self.prefix) {
            states[String(name.dropFirst(Self.prefix.count))] = try data(name)
        }
        previousValues = try data(Self.previousName)
    }

    private static func inFormat1(_ path: String) throws -> PluginStates {
        struct Old: Decodable {
            var plugins: [String: Data]
            var previousValues: Data
        }
        let json = FileManager.default.contents(atPath: path) ?? Data()
        do {
            let old = try JSONDecoder().decode(Old.self, from: json)
            return PluginStates(states: old.plugins, previousValues: old.previousValues)
        } catch {
            throw TrainingError(
                .malformed, "\(path): has no states of plugins in it: \(jsonReason(error, in: [UInt8](json)))")
        }
    }
}
