internal import Data
internal import Formats
internal import Foundation
internal import Models
internal import Tensors

/// A model measured as a run measures its own, without training.
package struct ModelMeasures {
    /// The measures in the order a run reports them, by internal metric name.
    package let values: [(name: String, value: Double)]
    /// What was left out, in sentences.
    package let notes: [String]

    /// Measuring was stopped on the way: there are no values.
    package struct Stopped: Error {}

    /// - Parameters:
    ///   - settings: those of a run: its model is measured, on the episodes it holds out and on its questions.
    ///   - shouldStop: asked between batches.
    /// - Throws: ``Stopped``, and what is wrong with the settings or the files.
    package init(_ settings: RunSettings, shouldStop: () -> Bool = { false }) throws {
        try settings.check()
        let folder = try ModelFolder(path: settings.model, choices: settings.modelChoices)
        guard folder.backbone != nil else {
            throw TrainingError(
                .missing, "\(settings.model)/model.safetensors: no such file; there are no weights to measure")
        }
        var notes: [String] = []
        var sampler: DemonstrationSampler?
        if folder.actionHead == nil {
            notes.append("\(settings.model) has no action head, so actions are not measured")
        } else if settings.task == .demonstrations, settings.holdOutEvery > 0 {
            guard settings.cameras.count == folder.config.cameras else {
                throw TrainingError(
                    .mismatch,
                    "`cameras` names \(settings.cameras.count), but \(settings.model)/config.json is for "
                        + "\(folder.config.cameras)")
            }
            sampler = try DemonstrationSampler(
                DemonstrationParts.open(settings), settings, config: folder.config)
        }
        // As in training, so that the numbers are the same to the last digit.
        let model = VLAModel(
            config: folder.config, fineTuning: folder.adapterSettings.map(FineTuning.lowRank) ?? .full)
        let absent = try folder.load(into: model).filter { name in
            // Without the head that reads them action queries are not used.
            sampler != nil || !(model.isHeadParameter(name) || name == ModelPart.actionQueriesName)
        }
        guard absent.isEmpty else {
            throw TrainingError(
                .missing,
                "\(settings.model): \(absent.count) tensors of the model are missing, the first being \(absent[0])")
        }
        let parallel = Parallel(
            threads: settings.threads, products: settings.matmulPrecision == .bf16 ? try BFloat16Products() : nil)
        let evaluation = Evaluation(
            model: model, prompts: try PromptEncoder(folder: folder),
            tape: Tape(parameters: model.parameters, parallel: parallel))
        let data = try EvaluationData(settings, config: folder.config, demonstrations: sampler)
        let measures: [(String, Double?)]
        do {
            measures = try evaluation.measures(of: data, exchanging: true, shouldStop: shouldStop)
        } catch is Evaluation.Stopped { throw Stopped() }
        values = measures.compactMap { name, value in value.map { (name, $0) } }
        guard !values.isEmpty else {
            throw TrainingError(
                .settings,
                "\(settings.model): there is nothing to measure: "
                    + (notes + ["`questions` is none or `holdOutEvery` holds no episode out"]).joined(separator: "; ")
            )
        }
        self.notes = notes
        withExtendedLifetime(folder) {}
    }
}

extension RunSettings {
    /// The settings of the run that a model folder lies in, `RUN`, `RUN/checkpoints/step-000200` or its `average`; nil
    /// elsewhere.
    package static func ofRun(with model: String) throws -> RunSettings? {
        let url = URL(fileURLWithPath: model)
        let above = url.deletingLastPathComponent().deletingLastPathComponent()
        for run in [url, above, above.deletingLastPathComponent()]
        where FileManager.default.fileExists(atPath: run.path + "/run.json") {
            return try read(run.path + "/config.json")
        }
        return nil
    }
}
