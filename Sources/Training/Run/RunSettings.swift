internal import Collectives
internal import Data
internal import Formats
internal import Foundation
package import Models
package import PluginRuntime

/// Everything that determines a run, as written to `RUN/config.json`.
///
/// The same seed, settings, files, thread count and kind of processor give the same run bit for bit.
package struct RunSettings: Codable, Sendable, Equatable {
    /// What the model learns from.
    package enum Task: String, Codable, Sendable {
        /// Demonstrations: predict action chunks.
        case demonstrations
        /// Questions about images: predict a one-token answer.
        case questions
    }

    package var task: Task = .demonstrations
    /// Folder of the pretrained model.
    package var model = ""
    /// Whether the model's values are drawn afresh instead of read (pretraining).
    package var startsFresh = false
    /// Root of the data, and the data set's name below it: `A`, or a mixture `A:0.7,B:0.3`. Without a name, the only one.
    package var data = ""
    package var dataset = ""
    package var plugins = [PluginRequest(name: "BaselineL1")]
    package var pluginPath: [String] = []
    /// Optimizer steps, counted from the start of the run.
    package var steps = 200
    package var seed: UInt64 = 0
    /// Samples in a micro-batch.
    package var batchSize = 8
    /// Micro-batches per step.
    package var accumulation = 1
    package var learningRate = 5e-4
    /// Factors on it by parameter group; nil leaves all alike.
    package var learningRateScales: LearningRateScales?
    package var schedule: LearningRateSchedule.Kind = .constant
    package var warmupSteps = 0
    package var decayStep = 100_000
    package var optimizer = AdamWSettings()
    /// The moving average of the weights that is kept beside them; nil keeps none.
    package var average: AverageSettings?
    package var clipNorm = 0.0
    package var adapter: AdapterSettings?
    /// Whether the action head is the Pro one, for a model folder without one; nil is what its configuration says, else Pro.
    package var proPolicy: Bool?
    /// What the gates of a new action head begin at; nil is 0.
    package var gate: Double?
    /// Factor on the first values of a new proprioception projector's last layer; nil is 1.
    package var proprioGain: Double?
    /// Factor on those of its first layer; nil is 1.
    package var proprioBandwidth: Double?
    /// Side of the images in pixels; nil is the model's.
    package var imageSize: Int?
    /// Whether the policy sees the proprioception; nil is the model's.
    package var usesProprio: Bool?
    /// Share of the training samples in which it does not; nil is 0.
    package var proprioDropout: Double?
    /// Steps, from the first, in which samples are drawn for that; nil is all.
    package var proprioDropoutSteps: Int?
    package var cameras = ["image", "wrist_image"]
    package var augments = true
    /// Every k-th episode is kept for evaluation; 0 keeps none.
    package var holdOutEvery = 4
    /// Episodes per instruction; nil uses all.
    package var shots: Int?
    /// Draws them from a seed; nil takes the first in stored order.
    package var shotsSeed: UInt64?
    /// Episodes that actions and states are normalised by; nil is `all`.
    package var statistics: StatisticsRule?
    /// Batches decoded ahead of the step; nil is ``defaultReadAhead``. Batches do not depend on it.
    package var readAhead: Int?
    package var saveEvery = 0
    /// Checkpoints that stay, the latest; nil keeps all.
    package var keepCheckpoints: Int?
    package var logEvery = 1
    /// Programs that the run is reported to beside its metrics.jsonl; nil: TensorBoard.
    package var reportTo: [ReportTarget]?
    /// The project that the run belongs to there, and in W&B the user or team; nil is the program's own default.
    package var project: String?
    package var entity: String?
    /// Steps from one measurement of the model on held-out data to the next; nil measures before and after training alone.
    package var evaluateEvery: Int?
    package var threads = ProcessorMask.count
    package var anchor: AnchorChoice = .automatic
    package var skipsNonFinite = false
    /// Whether blocks keep only their input in the forward pass and are run again in backward passes.
    package var checkpointsActivations = false
    /// What matrix products are computed from; nil is float32.
    package var matmulPrecision: MatmulPrecision?
    /// The same in the forward pass of anchor features; nil is ``matmulPrecision``.
    package var anchorPrecision: MatmulPrecision?
    /// Data beside the run's own that plugins may ask for; nil: none.
    package var streams: [StreamSetting]?
    /// Values by sample that plugins may read; nil: none.
    package var sides: [SideSetting]?
    /// Questions that measure what is retained; empty leaves the measure out.
    package var questions = ""
    /// How many of them.
    package var questionLimit = 1000

    /// Where anchor features come from; `automatic` takes the way that needs least memory.
    package enum AnchorChoice: String, Codable, Sendable, CaseIterable {
        case automatic, adaptersOff, mapped, copy
    }

    /// Operands of matrix products. Sums, weights, moments and everything else are float32 in either case.
    package enum MatmulPrecision: String, Codable, Sendable, CaseIterable {
        case float32
        /// Rounded to bfloat16.
        case bf16
    }

    /// Where the run is reported to.
    package var reportTargets: [ReportTarget] { reportTo ?? [.tensorboard] }

    /// What a run trains on.
    struct DataChoice: Codable, Equatable, CustomStringConvertible {
        var data: String
        var dataset: String

        var description: String { dataset.isEmpty ? data : "\(data) (\(dataset))" }
    }

    var dataChoice: DataChoice { DataChoice(data: data, dataset: dataset) }

    /// Which episodes of a data set its statistics are of.
    package enum StatisticsRule: String, Codable, Sendable, CaseIterable {
        /// Every episode of the data set, whatever is trained on: the reference's rule.
        case all
        /// Those that are trained on, after the hold-out and `shots`.
        case selected
    }

    /// Values that a run of this task never has, by name, each with the reason.
    var absentValues: [String: String] {
        switch task {
        case .demonstrations:
            let reason = "a batch of demonstrations has no questions; craft pretrain trains on questions"
            return ["answer_logits": reason, "answer_ids": reason]
        case .questions:
            let reason = "a batch of questions has no actions; craft train trains on demonstrations"
            return ["predicted_actions": reason, "target_actions": reason]
        }
    }

    package init() {}

    /// What the run makes of its model folder.
    var modelChoices: ModelFolder.Choices {
        var choices = ModelFolder.Choices()
        choices.cameras = cameras.count
        choices.proPolicy = proPolicy
        choices.imageSize = imageSize
        choices.usesProprio = usesProprio
        // A new head is made for the data's actions and states.
        if let embodiment = dataOutline?.embodiment {
            choices.actionDim = embodiment.actionWidth
            choices.proprioDim = embodiment.stateWidth > 0 ? embodiment.stateWidth : nil
        }
        return choices
    }

    /// What the steps of the first data set hold, where its description says so.
    private var dataOutline: DemonstrationOutline? {
        guard task == .demonstrations, let request = try? MixtureRequest(dataset) else { return nil }
        return Demonstrations.outline(root: data, name: request.entries.first?.name)
    }

    /// Takes the data set's cameras, in the order of their names, where it has not the ones that are set, and at most three.
    package mutating func takeCamerasOfData() {
        let found = dataOutline?.cameras.map(\.name) ?? []
        if (1...3).contains(found.count), !Set(cameras).isSubset(of: found) { cameras = found }
    }

    /// The factors on first values of a new proprioception projector, by key.
    var proprioFactors: [(key: String, factor: Double?)] {
        [("proprioGain", proprioGain), ("proprioBandwidth", proprioBandwidth)]
    }

    /// Refuses what a model folder's action head and proprioception projector rule out.
    func checkPolicy(of folder: ModelFolder) throws {
        if let proPolicy, proPolicy != folder.config.policy.pro {
            let (wanted, found) = proPolicy ? ("pro", "base") : ("base", "Pro")
            throw TrainingError(
                .mismatch,
                "`proPolicy` is \(wanted), but the action head in \(model) is the \(found) one; leave `proPolicy` out or start "
                    + "from another model")
        }
        if gate != nil, folder.actionHead != nil, !startsFresh {
            throw TrainingError(
                .mismatch,
                "`gate` is what the gates of a new action head begin at, but \(model) holds a trained one; leave `gate` out or "
                    + "start from another model")
        }
        let factors = proprioFactors.filter { $0.factor != nil }
        let given = factors.map(\.key) + (proprioDropout == nil ? [] : ["proprioDropout"])
        guard folder.config.usesProprio || given.isEmpty else {
            throw TrainingError(
                .mismatch,
                "this policy sees no proprioception (`usesProprio` is false, or config.json of \(model)); leave "
                    + "\(given.map { "`\($0)`" }.joined(separator: " and ")) out")
        }
        if let key = factors.first?.key, folder.proprioProjector != nil, !startsFresh {
            throw TrainingError(
                .mismatch,
                "`\(key)` is for the first weights of a new proprioception projector, but \(model) holds a trained one; "
                    + "leave `\(key)` out or start from another model")
        }
    }

    package static func read(_ path: String) throws -> RunSettings {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw TrainingError(.missing, "\(path): no such file; a run folder holds its settings there")
        }
        do {
            return try JSONDecoder().decode(RunSettings.self, from: data)
        } catch {
            throw TrainingError(
                .malformed, "\(path): not the settings of a run: \(jsonReason(error, in: [UInt8](data)))")
        }
    }

    func write(to path: String) throws {
        try AtomicFile.write(json: self, to: path)
    }
}
