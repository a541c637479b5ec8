internal import Data
internal import Formats
internal import Foundation
internal import Tensors

/// What a checkpoint holds besides the model's tensors and the optimizer's moments: `trainer_state.json`.
struct TrainerState: Codable {
    /// 1 had the states of plugins in it, as base64; 1 and 2 had data cursors as texts of JSON, which are read all the same.
    static let currentFormat = 3
    var format = Self.currentFormat
    /// Steps done; the next one has this number.
    var step: Int
    /// Updates the optimizer has made.
    var updates: Int
    var skippedSteps: Int
    /// Multipliers by objective, as the next step will use them.
    var multipliers: [String: Double]
    var dataCursor: DataCursor
    /// Where each data stream is in its data; nil in checkpoints of a craft without them.
    var streamCursors: [String: DataCursor]?
    /// What the cursor is a position in; nil in checkpoints of a craft that could not change it.
    var dataChoice: RunSettings.DataChoice?
    /// SHA-256 of the model's backbone file when the run began.
    var modelHash: String
    /// Factors on the learning rate by parameter group; nil when there are none.
    var learningRateScales: [String: Double]?
    /// The average whose values are in the checkpoint's `average` folder; nil when there is none.
    var average: AverageSettings?

    /// Processes that trained together; nil: one.
    var ranks: Int?

    /// Factors on the learning rate by parameter group, as plugins set them last.
    var pluginRateScales: [String: Double]?
    /// Updates of the parameters that have seen others than `updates`, by name; nil in checkpoints of a craft that did not
    /// count them.
    var parameterUpdates: [String: Int]?

    func write(to path: String) throws {
        try AtomicFile.write(json: self, to: path)
    }

    static func read(_ path: String) throws -> TrainerState {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw TrainingError(.missing, "\(path): no such file; a checkpoint holds the trainer's state there")
        }
        let state: TrainerState
        do {
            state = try JSONDecoder().decode(TrainerState.self, from: data)
        } catch {
            throw TrainingError(.malformed, "\(path): not a trainer's state: \(jsonReason(error, in: [UInt8](data)))")
        }
        guard (1...currentFormat).contains(state.format) else {
            throw TrainingError(
                .malformed, "\(path): format \(state.format); this craft reads formats 1 to \(currentFormat)")
        }
        return state
    }
}

/// The optimizer's moments as a safetensors file, under `first_moment.<parameter>` and `second_moment.<parameter>`.
enum MomentFile {
    /// - Parameter moments: the first and the second, laid out as the trainable parameters.
    static func write(_ moments: (FloatBuffer, FloatBuffer), of parameters: ParameterSet, to path: String) throws {
        let tensors = parameters.parameters.filter(\.isTrainable).flatMap { parameter in
            [("first_moment.", moments.0), ("second_moment.", moments.1)].map {
                SafetensorsWriter.Tensor(
                    $0.0 + parameter.name, shape: parameter.shape, pointer: $0.1.base + parameter.offset)
            }
        }
        try SafetensorsWriter.write(tensors, to: path)
    }

    static func read(_ path: String, into optimizer: AdamW, of parameters: ParameterSet) throws {
        let file = try SafetensorsFile(path: path)
        for parameter in parameters.parameters where parameter.isTrainable {
            for (prefix, buffer) in [
                ("first_moment.", optimizer.firstMoment), ("second_moment.", optimizer.secondMoment),
            ] {
                try file.copyFloats(
                    prefix + parameter.name, shape: parameter.shape, into: buffer.base + parameter.offset,
                    count: parameter.count)
            }
        }
    }
}
