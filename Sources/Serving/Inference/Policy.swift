internal import Collectives
package import Data
internal import Formats
internal import Foundation
internal import Models
internal import Tensors
internal import Training

/// What can be said about how a checkpoint is served.
package struct PolicyOptions: Sendable {
    /// Key in `dataset_statistics.json`; nil takes the only one.
    package var dataset: String?
    /// Folder of the base model of an adapter; nil takes the one that the adapter names.
    package var base: String?
    /// Whether images are cropped at the centre; nil does as the run was trained, and crops for a model folder.
    package var centreCrop: Bool?
    /// Whether images that come as pixels or PNG are compressed as JPEG and decoded first, as the training data were.
    package var compresses = true
    package var threads = ProcessorMask.count

    package init() {}
}

/// A fine-tuned model that answers observations with chunks of actions.
///
/// Images: JPEG round trip (quality 95) unless they come as JPEG or the options say no, Lanczos resize to the model's
/// size, centre crop when training cropped; proprioception normalised and actions un-normalised by the training data's
/// quantiles; the gripper as LIBERO's environments take it. This is VLA-Adapter's evaluation path but for the half turn, which the clients of
/// both protocols do themselves. Not for use by several threads at once.
package final class Policy: ServedPolicy {
    /// What clients and pages are told.
    package struct Summary: Sendable {
        package let checkpoint: String
        /// Tells the policy from others by its files.
        package let identity: String
        /// Camera features in the policy's order.
        package let cameras: [String]
        package let imageSize: Int
        /// Actions in a chunk, numbers in an action, numbers in a state.
        package let chunk: Int
        package let actionDim: Int
        package let stateDim: Int
        /// What the last number of an action says.
        package let gripper: Embodiment.Gripper
        package let parameterCount: Int
        package let centreCrops: Bool

        package init(
            checkpoint: String, identity: String, cameras: [String], imageSize: Int, chunk: Int, actionDim: Int,
            stateDim: Int, gripper: Embodiment.Gripper, parameterCount: Int, centreCrops: Bool
        ) {
            (self.checkpoint, self.identity, self.cameras, self.imageSize) = (checkpoint, identity, cameras, imageSize)
            (self.chunk, self.actionDim, self.stateDim, self.gripper) = (chunk, actionDim, stateDim, gripper)
            (self.parameterCount, self.centreCrops) = (parameterCount, centreCrops)
        }
    }

    /// Largest side of an image, in pixels.
    static let maximumImageSide = 4_096
    /// Longest instruction, in UTF-8 bytes.
    static let maximumInstruction = 2_000

    package let summary: Summary
    /// What whoever serves it should know.
    package let notes: [String]
    private let model: VLAModel
    private let prompts: PromptEncoder
    private let tape: Tape
    private let statistics: DatasetStatistics
    /// For pixels and PNG, and for JPEG, which is compressed already.
    private let preprocessor: (plain: ObservationPreprocessor, jpeg: ObservationPreprocessor)
    /// Owns the mapped weights.
    private let folder: ModelFolder

    package init(checkpoint: String, options: PolicyOptions = PolicyOptions()) throws {
        let source = try PolicySource(path: checkpoint, options: options)
        folder = source.folder
        statistics = source.statistics
        notes = source.notes
        let config = folder.config
        guard config.actionDim == statistics.embodiment.actionWidth,
            config.proprioDim == statistics.embodiment.stateWidth || !config.usesProprio
        else {
            throw ServingError(
                .unservable,
                "\(folder.path): the model has \(config.actionDim) action and \(config.proprioDim) state dimensions, "
                    + "its dataset_statistics.json \(statistics.action.mean.count) and \(statistics.proprio.mean.count)"
            )
        }
        prompts = try PromptEncoder(folder: folder)
        model = VLAModel(config: config, fineTuning: folder.adapterSettings.map(FineTuning.lowRank) ?? .frozen)
        let absent = try folder.load(into: model)
        guard absent.isEmpty else {
            throw ServingError(
                .missing,
                "\(folder.path): \(absent.count) tensors of the model are missing, the first being \(absent[0])")
        }
        tape = Tape(parameters: model.parameters, parallel: Parallel(threads: options.threads))
        func preprocessor(compressed: Bool) throws -> ObservationPreprocessor {
            try ObservationPreprocessor(
                imageSize: config.imageSize, rotated: false, compressed: compressed, centreCropped: source.centreCrops)
        }
        self.preprocessor = (try preprocessor(compressed: options.compresses), try preprocessor(compressed: false))
        summary = Summary(
            checkpoint: folder.path, identity: source.identity, cameras: source.cameras, imageSize: config.imageSize,
            chunk: config.chunk,
            actionDim: config.actionDim, stateDim: config.proprioDim, gripper: statistics.embodiment.gripper,
            parameterCount: model.parameters.parameters.reduce(0) { $0 + $1.count }, centreCrops: source.centreCrops)
    }

    /// Predicts a chunk of actions, [chunk, actionDim], as an environment takes them: metres and radians un-normalised,
    /// the gripper -1 (open) or 1 (close).
    package func actions(for observation: Observation) throws -> [Float] {
        let predicted = try normalisedActions(for: observation)
        guard predicted.allSatisfy(\.isFinite) else {
            throw ServingError(
                .failed, "the model gave an action that is not finite; is the checkpoint of a run that diverged?")
        }
        var actions = statistics.unnormaliseAction(predicted)
        // LIBERO: the evaluator's 2g - 1, sign, minus: the policy's gripper is 1 when open, the environment's -1.
        statistics.embodiment.executed(&actions)
        return actions
    }

    /// The policy's own output, [chunk, actionDim]: what its training compares with.
    package func normalisedActions(for observation: Observation) throws -> [Float] {
        guard observation.images.count == summary.cameras.count else {
            throw ServingError(
                .unsuitable,
                "expected \(summary.cameras.count) images (\(summary.cameras.joined(separator: ", "))), found "
                    + "\(observation.images.count)")
        }
        guard observation.state.count == summary.stateDim, observation.state.allSatisfy(\.isFinite) else {
            throw ServingError(
                .unsuitable,
                "the state must be \(summary.stateDim) finite numbers (position, axis-angle, two finger joints); found "
                    + (observation.state.count == summary.stateDim
                        ? "one that is not finite" : "\(observation.state.count) numbers"))
        }
        let instruction = observation.instruction
        guard !instruction.isEmpty, instruction.utf8.count <= Self.maximumInstruction else {
            throw ServingError(
                .unsuitable,
                "the instruction must have 1 to \(Self.maximumInstruction) bytes; it has \(instruction.utf8.count)")
        }
        var pixels: [UInt8] = []
        for (camera, image) in zip(summary.cameras, observation.images) {
            do {
                pixels += try prepared(image)
            } catch {
                throw ServingError(.unsuitable, "image '\(camera)': \(error)")
            }
        }
        let input = ModelInput(
            images: .rgb(pixels), cameras: summary.cameras.count, prompts: [prompts.action(instruction)],
            action: .init(
                proprio: statistics.embodiment.stateWidth == summary.stateDim
                    ? statistics.normaliseProprio(observation.state) : observation.state))
        tape.reset(weights: model.parameters.currentWeights(), recording: false)
        guard let predicted = model.forward(input, on: tape).predictedActions else {
            throw ServingError(.failed, "the model has no action head")
        }
        return Array(UnsafeBufferPointer(start: predicted.values, count: predicted.count))
    }

    private func prepared(_ image: Observation.Image) throws -> [UInt8] {
        switch image {
        case .encoded(let file):
            let isJPEG = file.starts(with: [0xff, 0xd8])
            return try (isJPEG ? preprocessor.jpeg : preprocessor.plain).prepared(
                encoded: Array(file), maximumSide: Self.maximumImageSide)
        case .pixels(let pixels, let height, let width):
            guard max(height, width) <= Self.maximumImageSide else {
                throw ServingError(
                    .tooLarge, "is \(width)x\(height); sides of at most \(Self.maximumImageSide) are supported")
            }
            return try preprocessor.plain.prepared(Array(pixels), height: height, width: width)
        }
    }
}
