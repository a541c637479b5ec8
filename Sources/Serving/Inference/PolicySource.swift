internal import Data
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

    /// - Parameter path: a run folder (its last checkpoint is taken), one checkpoint of a run, or a model folder with
    ///   `dataset_statistics.json` in it.
    init(path: String, options: PolicyOptions) throws {
        guard FileManager.default.fileExists(atPath: path) else {
            throw ServingError(
                "--checkpoint \(path): no such folder; expected a run, one of its checkpoints, or a model folder")
        }
        let model = CheckpointFolders.model(in: path)
        let settings = try RunSettings.ofRun(with: model)
        if settings != nil, model == path, FileManager.default.fileExists(atPath: path + "/run.json") {
            throw ServingError(
                "--checkpoint \(path): the run has no complete checkpoint yet; wait for its first save")
        }
        var choices = ModelFolder.Choices()
        choices.cameras = settings?.cameras.count
        folder = try ModelFolder(path: model, choices: choices)
        guard folder.actionHead != nil else {
            throw ServingError(
                "\(model): has no action_head--*checkpoint.safetensors; a policy server needs a model that was "
                    + "fine-tuned on demonstrations")
        }
        let statisticsPath = model + "/dataset_statistics.json"
        guard FileManager.default.fileExists(atPath: statisticsPath) else {
            throw ServingError(
                "\(statisticsPath): no such file; without the statistics of the training data actions cannot be turned "
                    + "back into metres and radians")
        }
        // Not by the run's own setting, which may be empty or a mixture: its file has the data sets it trained on, no others.
        if let dataset = options.dataset {
            statistics = try DatasetStatistics.load(contentsOf: statisticsPath, dataset: dataset)
        } else if let only = try DatasetStatistics.only(contentsOf: statisticsPath) {
            statistics = only
        } else {
            throw ServingError("\(statisticsPath): describes no data set or several; name one with --dataset")
        }
        cameras = settings?.cameras ?? Self.cameraNames(folder.config.cameras)
        guard cameras.count == folder.config.cameras else {
            throw ServingError(
                "\(model): the run trained with the cameras \(cameras.joined(separator: ", ")), but config.json is for "
                    + "\(folder.config.cameras)")
        }
        // The released recipes augment; their evaluation crops.
        centreCrops = options.centreCrop ?? settings?.augments ?? true
    }

    private static func cameraNames(_ count: Int) -> [String] {
        (0..<count).map { $0 == 0 ? "image" : $0 == 1 ? "wrist_image" : "image_\($0)" }
    }
}
