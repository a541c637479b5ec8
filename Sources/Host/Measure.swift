import ArgumentParser
import Formats
import Foundation
import Processes
import Training

struct Measure: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure a model as a run measures its own, without training: held-out action L1, VQA accuracy.",
        discussion: """
            craft measure runs/craft                           # the last checkpoint, by the run's own settings
            craft measure runs/craft --average                 # its moving average
            craft measure models/half --hold-out-every 4       # any model folder: data and questions that ship with craft

            A run, or a folder within one, is measured by the settings in its config.json; flags go over them.
            """)

    @Argument(help: "Run (its last checkpoint), checkpoint or model folder.")
    var model: String

    @Flag(help: "Measure the moving average of the weights, which a run with --ema saves beside them.")
    var average = false

    @Option(help: ArgumentHelp("Root folder of the data.", valueName: "folder"))
    var data: String?

    @Option(help: ArgumentHelp("Data set below --data, or a mixture as for craft train.", valueName: "name"))
    var dataset: String?

    @Option(help: "Measure on every k-th episode; 0 leaves actions out. Default: the run's, else 4.")
    var holdOutEvery: Int?

    @Option(
        help: ArgumentHelp("Camera features, in the model's order. Default: image,wrist_image.", valueName: "list"))
    var cameras: String?

    @Flag(
        inversion: .prefixedNo,
        help: "Crop images at the centre. Default: as the run was trained; for a model folder, crop.")
    var centerCrop: Bool?

    @Option(
        help: ArgumentHelp("Questions: a folder in easy-VQA's layout, or none.", valueName: "folder"))
    var questions: String?

    @Option(help: "How many of the questions to ask. Default: 1000.")
    var questionLimit: Int?

    @Option(help: "Samples at a time. Default: the run's, else 8.")
    var batchSize: Int?

    @Option(help: "Threads. Default: the run's, else the processors of the machine.")
    var threads: Int?

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let folder = try CheckpointFolders.model(in: model, isAveraged: average)
        guard FileManager.default.fileExists(atPath: folder) else {
            throw CommandError(
                .missingFile, "\(model): no such folder; expected a run, one of its checkpoints, or a model folder")
        }
        if folder == model, FileManager.default.fileExists(atPath: model + "/run.json") {
            throw CommandError(
                .missingFile, "\(model): the run has no complete checkpoint yet; wait for its first save")
        }
        var settings = try RunSettings.ofRun(with: folder) ?? TrainDefaults.settings
        settings.model = folder
        var options = try TrainingOptions<TrainDefaults>.parse([])
        (options.data, options.dataset, options.holdOutEvery) = (data, dataset, holdOutEvery)
        (options.cameras, options.questions, options.questionLimit) = (cameras, questions, questionLimit)
        (options.batchSize, options.threads, options.augment) = (batchSize, threads, centerCrop)
        settings = try options.settings(over: settings)
        Interruption.install()
        let measures: ModelMeasures
        do {
            measures = try ModelMeasures(settings, shouldStop: { Interruption.isRequested })
        } catch is ModelMeasures.Stopped { throw ExitCode(130) }
        if json {
            let values = Dictionary(uniqueKeysWithValues: measures.values.map { ($0.name, $0.value) })
            let data = try JSONSerialization.data(withJSONObject: values, options: [.prettyPrinted, .sortedKeys])
            return print(String(decoding: data, as: UTF8.self))
        }
        print("\(folder): \(settings.data)\(settings.dataset.isEmpty ? "" : " (\(settings.dataset))")")
        for (name, value) in measures.values { print("\(name) \(String(format: "%.4f", value))") }
        for note in measures.notes { print("note: \(SettingFlags.sentence(note))") }
    }
}
