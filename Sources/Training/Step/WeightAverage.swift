internal import Formats
internal import Foundation
internal import Kernels
internal import Models
internal import Tensors

/// Settings of the exponential moving average of the weights.
package struct AverageSettings: Codable, Sendable, Equatable {
    /// Share of the average that a step keeps.
    package var decay: Double
    /// p: after update t the decay is at most 1 - t^-p, so that the initial weights do not linger; nil has no warm-up.
    package var warmupPower: Double?

    package init(decay: Double, warmupPower: Double? = nil) {
        self.decay = decay
        self.warmupPower = warmupPower
    }

    /// The decay of update `t`, counted from 1. With a power this is timm's and diffusers' rule.
    package func decay(ofUpdate t: Int) -> Double {
        guard let warmupPower else { return decay }
        return min(decay, 1 - pow(Double(max(t, 1)), -warmupPower))
    }

    func check(_ problems: inout SettingProblems) {
        // The kernel's float32 must stay below 1 too, or the average would never move.
        problems.need("average.decay", decay, "0 or more and below 1 (0.9999999 at most), 0.99 for instance") {
            $0 >= 0 && Float($0) < 1
        }
        problems.need("average.warmupPower", warmupPower, "a power above 0 and at most 10, 0.75 for instance") {
            $0 > 0 && $0 <= 10
        }
    }
}

/// The exponential moving average of a model's trainable parameters, beside them in float32. With adapters it is that of
/// their factors.
final class WeightAverage {
    let settings: AverageSettings
    /// Laid out as the trainable parameters.
    private let values: FloatBuffer
    private let model: VLAModel
    private let parallel: Parallel

    /// Starts at the model's present weights.
    init(of model: VLAModel, settings: AverageSettings, parallel: Parallel) {
        self.settings = settings
        self.model = model
        self.parallel = parallel
        values = model.parameters.makeTrainableBuffer()
        values.copy(from: model.parameters.trainable)
    }

    /// Takes the present weights in.
    ///
    /// - Parameter update: how many updates the optimizer has made, this one included.
    func take(update: Int) {
        let decay = Float(settings.decay(ofUpdate: update))
        let (average, parameters) = (values.base, model.parameters.trainable)
        parallel.ranges(values.count, grain: 1 << 16) { range in
            ck_average(average + range.lowerBound, parameters + range.lowerBound, decay, range.count)
        }
    }

    /// Where every parameter's value is under the average, by id: what a forward pass and a save can read.
    var weights: [WeightValues] {
        model.parameters.parameters.map { parameter in
            parameter.isTrainable
                ? .float32(UnsafePointer(values.base + parameter.offset)) : model.parameters.weight(parameter.id)
        }
    }

    /// Goes on from the average in a checkpoint; what it need not hold (the head of a run on questions) is the model's.
    ///
    /// - Parameter path: the average's model folder.
    func restore(from path: String) throws {
        values.copy(from: model.parameters.trainable)
        let folder = try ModelFolder(path: path)
        for parameter in model.parameters.parameters where parameter.isTrainable {
            let target = values.base + parameter.offset
            if let (file, name) = folder.location(of: parameter.name) {
                try folder.copyValues(of: parameter, from: file, as: name, into: target)
            } else if !model.isHeadParameter(parameter.name) {
                throw TrainingError(.malformed, "\(path): has no \(parameter.name); the checkpoint is damaged")
            }
        }
    }
}

extension CheckpointFolders.Checkpoint {
    /// The model folder with averaged weights, whether it exists or not.
    var averagePath: String { CheckpointFolders.average(in: path) }
}

extension CheckpointFolders {
    /// The folder within a checkpoint that holds the averaged weights, as a model folder of its own.
    static let averageName = "average"

    /// The folder with averaged weights within a checkpoint, whether it exists or not.
    static func average(in checkpoint: String) -> String { "\(checkpoint)/\(averageName)" }

    /// Whether a model folder is a checkpoint with averaged weights in it.
    package static func hasAverage(_ model: String) -> Bool {
        FileManager.default.fileExists(atPath: average(in: model) + "/config.json")
    }

    /// The model folder that `path` stands for, under the average of the weights if `isAveraged`.
    ///
    /// - Throws: ``TrainingError`` when there is no average.
    package static func model(in path: String, isAveraged: Bool) throws -> String {
        let model = model(in: path)
        guard isAveraged else { return model }
        guard hasAverage(model) else {
            throw TrainingError(
                .missing, "\(model): holds no averaged weights (average/); those of a run with `average` do")
        }
        return average(in: model)
    }
}
