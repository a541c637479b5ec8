internal import Data
internal import Formats
internal import Foundation
internal import Models
internal import Training

/// What a checkpoint path stands for: a model folder, its statistics, and how it was trained.
struct PolicySource {
    let folder: ModelFolder
    let statistics: DatasetStatistics
    /// Camera features in the policy's order.
    let cameras: [String]
    let centreCrops: Bool
    /// Tells the policy from others by its files.
    let identity: String
    /// What whoever serves it should know.
    let notes: [String]

    /// - Parameter path: a run folder (its last checkpoint is taken), one checkpoint of a run, or a model folder with
    ///   `dataset_statistics.json` in it.
    init(path: String, options: PolicyOptions) throws {
        guard FileManager.default.fileExists(atPath: path) else {
            throw ServingError(
                .missing,
                "--checkpoint \(path): no such folder; expected a run, one of its checkpoints, or a model folder")
        }
        let model = CheckpointFolders.model(in: path)
        let settings = try RunSettings.ofRun(with: model)
        if settings != nil, model == path, FileManager.default.fileExists(atPath: path + "/run.json") {
            throw ServingError(
                .missing,
                "--checkpoint \(path): the run has no complete checkpoint yet; wait for its first save")
        }
        var choices = ModelFolder.Choices()
        choices.cameras = settings?.cameras.count
        choices.base = options.base
        folder = try ModelFolder(path: model, choices: choices)
        guard folder.actionHead != nil else {
            throw ServingError(
                .unservable,
                "\(model): has no action_head--*checkpoint.safetensors; a policy server needs a model that was "
                    + "fine-tuned on demonstrations")
        }
        let statisticsPath = try Self.statisticsPath(in: model)
        // Not by the run's own setting, which may be empty or a mixture: its file has the data sets it trained on, no others.
        if let dataset = options.dataset {
            statistics = try DatasetStatistics.load(contentsOf: statisticsPath, dataset: dataset)
        } else if let only = try DatasetStatistics.only(contentsOf: statisticsPath) {
            statistics = only
        } else {
            let names = DatasetStatistics.names(contentsOf: statisticsPath)
            throw ServingError(
                .unservable,
                "\(statisticsPath): describes \(names.isEmpty ? "no data set" : "several data sets; name one with --dataset: ")"
                    + names.joined(separator: ", "))
        }
        cameras = settings?.cameras ?? Self.cameraNames(folder.config.cameras)
        guard cameras.count == folder.config.cameras else {
            throw ServingError(
                .unservable,
                "\(model): the run trained with the cameras \(cameras.joined(separator: ", ")), but config.json is for "
                    + "\(folder.config.cameras)")
        }
        // The released recipes augment; their evaluation crops.
        centreCrops = options.centreCrop ?? settings?.augments ?? true
        let visual = folder.config.patchesPerImage * cameras.count
        // A scaled-down configuration is craft's own.
        notes =
            settings == nil && visual != 512 && !(folder.config.fixesCameras && folder.config.fixesPolicy)
            ? [
                "\(model) has \(visual) visual tokens. VLA-Adapter's own action head takes the first 512 positions for them whatever "
                    + "their number, craft takes \(visual): if that code trained this head, its actions are others here "
                    + "(docs/FINETUNE.md, What differs)"
            ] : []
        identity = try ContentIdentity().model(model, base: folder.backbone?.files.map(\.path) ?? [])
    }

    /// `dataset_statistics.json`, else a `config.json` with norm_stats, as OpenVLA's checkpoints carry them.
    private static func statisticsPath(in model: String) throws -> String {
        let path = model + "/dataset_statistics.json"
        if FileManager.default.fileExists(atPath: path) { return path }
        let config = model + "/config.json"
        guard DatasetStatistics.names(contentsOf: config).isEmpty else { return config }
        throw ServingError(
            .missing,
            "\(path): no such file, and config.json has no norm_stats; without the statistics of the training data actions "
                + "cannot be turned back into metres and radians")
    }

    private static func cameraNames(_ count: Int) -> [String] {
        (0..<count).map { $0 == 0 ? "image" : $0 == 1 ? "wrist_image" : "image_\($0)" }
    }
}
