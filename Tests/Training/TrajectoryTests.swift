import Formats
import Foundation
import Models
import PluginRuntime
import Tensors
import TestSupport
import Testing
import Training

/// Ten optimizer steps on one batch, against the same steps in PyTorch (`scripts/reference/vla_reference.py`, float64).
@Suite struct TrajectoryTests {
    private struct Reference: Decodable {
        // The names are the file's.
        // swift-format-ignore: AlwaysUseLowerCamelCase
        struct Settings: Decodable {
            var steps: Int
            var lr: Double
            var weight_decay: Double
            var budget: Double
            var dual_lr: Double
            var initial_multiplier: Double
        }
        struct Step: Decodable {
            var lossAction: Double
            var lossRetention: Double
            var gradientNorm: Double?
            var lambdaAfter: Double?

            enum CodingKeys: String, CodingKey {
                case lossAction = "loss.action"
                case lossRetention = "loss.retention"
                case gradientNorm = "gradient_norm"
                case lambdaAfter = "lambda_after"
            }
        }
        var settings: Settings
        /// Factors on the rate in the run `groups`.
        // swift-format-ignore: AlwaysUseLowerCamelCase
        var lr_scale: [String: Double]
        var runs: [String: [Step]]
    }

    /// The case's one batch, again and again.
    private final class OneBatch: BatchSource {
        private let batch: TrainingBatch
        init(_ batch: TrainingBatch) { self.batch = batch }
        func next() throws -> TrainingBatch { batch }
    }

    private func batch(_ folder: ModelFolder) throws -> TrainingBatch {
        let inputs = try SafetensorsFile(path: folder.path + "/inputs.safetensors")
        let ids = try inputs.integers("input_ids")
        let mask = try inputs.integers("attention_mask")
        let count = try inputs.requiredEntry("proprio").shape[0]
        let width = ids.count / count
        let prompts = (0..<count).map { sample in
            (0..<width).filter { mask[sample * width + $0] == 1 }.map { Int32(ids[sample * width + $0]) }
        }
        return TrainingBatch(
            input: ModelInput(
                images: .normalised(try inputs.floats("pixel_values")), cameras: folder.config.cameras,
                prompts: prompts,
                action: .init(
                    proprio: try inputs.floats("proprio"), policyInput: try inputs.floats("policy_noise"))),
            targetActions: try inputs.floats("actions"))
    }

    @Test(arguments: ["baseline", "craft", "groups"]) func followsPyTorch(_ run: String) throws {
        let path = BuildFolder.fixture("vla/two-towers-qwen2-base").path
        let reference = try JSONDecoder().decode(
            Reference.self, from: Data(contentsOf: URL(fileURLWithPath: path + "/trajectory.json")))
        let settings = reference.settings
        let plugins =
            run != "craft"
            ? "BaselineL1"
            : "BaselineL1,AnchorVariants,CRaFTProjection,CRaFTDual:budget=\(settings.budget):lr=\(settings.dual_lr)"
                + ":init=\(settings.initial_multiplier)"
        let folder = try ModelFolder(path: path)
        let model = VLAModel(config: folder.config, fineTuning: .full)
        #expect(try folder.load(into: model).isEmpty)
        var optimizer = AdamWSettings()
        optimizer.weightDecay = settings.weight_decay
        var stepSettings = StepSettings()
        if run == "groups" {
            stepSettings.learningRateScales = try LearningRateScales(
                parsing: reference.lr_scale.map { "\($0.key)=\($0.value)" }.joined(separator: ","))
        }
        let step = try TrainingStep(
            model: model,
            composition: Composition(
                try PluginRequest.parseList(plugins), search: PluginSearch(paths: [BuildFolder.url.path]),
                registry: .training),
            settings: stepSettings, optimizer: optimizer,
            schedule: LearningRateSchedule(base: settings.lr, totalSteps: settings.steps),
            parallel: Parallel(threads: 2), batchSize: 2, steps: settings.steps,
            makeAnchor: { try AnchorWeights(model: model, source: .mapped, folder: folder, initial: nil) })
        let source = OneBatch(try batch(folder))
        let expected = try #require(reference.runs[run])
        var worst = 0.0
        for (index, want) in expected.enumerated() {
            let metrics = try step.run(step: index, from: source).metrics
            func compare(_ name: String, _ value: Double?, _ tolerance: Double) {
                guard let value else { return }
                let got = metrics[name] ?? .nan
                let error = abs(got - value) / max(abs(value), 1e-3)
                worst = max(worst, error)
                #expect(error < tolerance, "\(run) step \(index + 1) \(name): \(got), PyTorch \(value)")
            }
            compare("loss.action", want.lossAction, 1e-3)
            if run == "craft" {
                compare("loss.retention", want.lossRetention, 1e-3)
                compare("lambda.retention", want.lambdaAfter, 1e-3)
            }
        }
        #expect(expected.first?.lossAction != expected.last?.lossAction, "the reference's loss never moved")
        print("trajectory \(run): worst relative error \(worst)")
    }
}
