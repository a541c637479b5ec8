import ArgumentParser
import Foundation
import Models
import PluginRuntime
import Processes
import Training

/// The flags that describe a run. Each is optional, so that a command can have defaults of its own.
struct TrainingOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Folder of the pretrained model. Default: the small model that ships with craft.", valueName: "folder"))
    var model: String?

    @Option(
        help: ArgumentHelp(
            "Root folder of the data. Default: the LIBERO sample that ships with craft.", valueName: "folder"))
    var data: String?

    @Option(
        help: ArgumentHelp(
            "Data set below --data, or a mixture: A:0.7,B:0.3 by share of samples, A,B by size. Default: the only one.",
            valueName: "name"))
    var dataset: String?

    @Option(
        help: ArgumentHelp(
            "The strategy: plugin names or .so files, with settings, in order: A,B:key=value,C. Default: BaselineL1.",
            valueName: "list"))
    var plugins: String?

    @OptionGroup var assignments: SettingAssignments

    @Option(
        help: ArgumentHelp(
            "Folders to search for plugins, separated by colons. CRAFT_PLUGIN_PATH and the executable's own folder come after.",
            valueName: "folders"))
    var pluginPath: String?

    @Option(help: "Optimizer steps, counted from the start of the run. Default: 200.")
    var steps: Int?

    @Option(help: "Seed of everything random. Default: 0.")
    var seed: UInt64?

    @Option(help: "Samples in a micro-batch. Default: 8.")
    var batchSize: Int?

    @Option(help: "Micro-batches per step. Default: 1.")
    var accumulation: Int?

    @Option(name: .customLong("lr"), help: "Learning rate. Default: 0.0005.")
    var learningRate: Double?

    @Option(
        name: .customLong("lr-scale"),
        help: ArgumentHelp(
            "Factors on the rate by parameter group: vision, projector, decoder, queries, policy, proprio. Default: 1 for each.",
            valueName: "group=factor,..."))
    var learningRateScales: String?

    @Option(help: "constant, multistep or cosine. Default: constant.")
    var schedule: String?

    @Option(help: "Steps of linear warm-up from a tenth of the rate. Default: 0.")
    var warmup: Int?

    @Option(help: "Step from which multistep uses a tenth of the rate. Default: 100000.")
    var decayStep: Int?

    @Option(help: "Decoupled weight decay. Default: 0.01.")
    var weightDecay: Double?

    @Option(help: "AdamW: decay of the mean of gradients, per step. Default: 0.9.")
    var adamBeta1: Double?

    @Option(help: "AdamW: decay of the mean of their squares. Default: 0.999.")
    var adamBeta2: Double?

    @Option(help: "AdamW: added to the root of that mean. Default: 1e-8.")
    var adamEpsilon: Double?

    @Option(
        help: ArgumentHelp(
            "Keep an exponential moving average of the weights with this decay, 0.99 for instance: measured, saved and resumed beside them. Default: none.",
            valueName: "decay"))
    var ema: Double?

    @Option(
        help: ArgumentHelp(
            "Let the average follow faster at first: its decay is at most 1 - t^-power after update t. 0.67 is timm's power, 0.75 Diffusion Policy's. Default: the same decay throughout.",
            valueName: "power"))
    var emaWarmup: Double?

    @Option(help: "Largest gradient norm; 0 does not clip. Default: 0.")
    var clip: Double?

    @Option(help: "Fine-tune by low-rank adapters of this rank instead of in full. Default: full fine-tuning.")
    var loraRank: Int?

    @Option(help: "Alpha of the adapters, whose scale is alpha / rank. Default: twice the rank.")
    var loraAlpha: Double?

    @Option(
        help: ArgumentHelp(
            "Action head, for a model folder that has none yet. Default: what its config.json says, else pro.",
            valueName: "pro|base"
        ))
    var policy: String?

    @Option(
        help:
            "What the gates of a new action head begin at; at 0 it attends to all visual tokens alike. Default: 0, as in VLA-Adapter."
    )
    var gate: Double?

    @Option(
        help:
            "Factor on the first weights of a new proprioception projector's last layer, whose token is faint beside the hidden states otherwise. Default: 1, as in VLA-Adapter."
    )
    var proprioGain: Double?

    @Option(
        help:
            "Factor on the first weights of a new proprioception projector's first layer: with more, the policy tells close states of the arm apart sooner. Default: 1, as in VLA-Adapter."
    )
    var proprioBandwidth: Double?

    @Option(
        help: ArgumentHelp(
            "Side of the images that the model sees, a multiple of its patches; position embeddings are resampled. Default: the model's.",
            valueName: "pixels"))
    var imageSize: Int?

    @Flag(
        inversion: .prefixedNo,
        help:
            "Let the policy see the arm's state, or zeros in its place: a policy that can go by it may not look. Default: the model's."
    )
    var proprio: Bool?

    @Option(
        help:
            "Probability with which a training sample shows the policy zeros in place of the arm's state, so that it learns to look as well. Default: 0."
    )
    var proprioDropout: Double?

    @Option(
        help: ArgumentHelp(
            "Do so in the first steps only: later ones teach what the arm's state is exact about. Default: all steps.",
            valueName: "steps"))
    var proprioDropoutSteps: Int?

    @Option(
        help: ArgumentHelp(
            "Camera features, in the model's order. Default: image,wrist_image, or the data set's own where it has others.",
            valueName: "list"))
    var cameras: String?

    @Flag(
        inversion: .prefixedNo,
        help: "Augment images (crop, brightness, contrast, saturation, hue). Default: --augment.")
    var augment: Bool?

    @Option(help: "Keep every k-th episode for evaluation; 0 keeps none. Default: 4.")
    var holdOutEvery: Int?

    @Option(help: "Use only N episodes of each instruction. Default: all.")
    var shots: Int?

    @Option(help: "Draw the episodes of --shots from this seed. Default: the first ones in stored order.")
    var shotsSeed: UInt64?

    @Option(
        help: ArgumentHelp(
            "Normalise by the statistics of all episodes of a data set, or of the selected ones. Default: all.",
            valueName: "all|selected"))
    var statistics: String?

    @Option(help: "Batches decoded ahead of the step; 0 decodes each when it is due. Default: 2.")
    var readAhead: Int?

    @Option(help: "Save a checkpoint every N steps; the last step is always saved. Default: 0 (last step only).")
    var saveEvery: Int?

    @Option(help: "Keep only the latest N checkpoints. Default: all.")
    var keepCheckpoints: Int?

    @Option(
        name: .customLong("evaluate-every"),
        help: "Steps from one measurement on held-out data to the next. Default: before and after training alone.")
    var evaluateEvery: Int?

    @Option(help: "Log metrics every N steps. Default: 1.")
    var logEvery: Int?

    @Option(
        help: ArgumentHelp(
            "Programs to report the run to beside its metrics.jsonl: \(ReportTarget.allCases.map(\.rawValue).joined(separator: ", ")), or none. Default: tensorboard.",
            valueName: "list"))
    var reportTo: String?

    @Option(help: "Project of the run in those programs. Default: their own.")
    var project: String?

    @Option(help: "User or team of the run in W&B. Default: W&B's own.")
    var entity: String?

    @Option(help: "Threads. Default: the processors of the machine.")
    var threads: Int?

    @Option(help: "Where anchor features come from: automatic, adaptersOff, mapped or copy. Default: automatic.")
    var anchor: String?

    @Flag(
        inversion: .prefixedNo,
        help:
            "Run blocks again in the backward pass instead of keeping their values: less memory, more time. Default: --no-checkpoint-activations."
    )
    var checkpointActivations: Bool?

    @Option(
        help: "float32, or bf16 to round the operands of matrix products to bfloat16. Default: float32.")
    var matmulPrecision: String?

    @Option(
        help:
            "The same for anchor features alone. In bf16 they cost half, and drift starts at the rounding instead of 0. Default: that of --matmul-precision."
    )
    var anchorPrecision: String?

    @Option(help: "What a non-finite loss does: error or skip (the step is skipped and counted). Default: error.")
    var onNonFinite: String?

    @Option(
        help: ArgumentHelp(
            "Further data that plugins ask for by NAME, beside --data: questions in easy-VQA's layout (its split train, or a split's own folder) or demonstrations; as often as needed.",
            valueName: "name=questions:folder|name=demonstrations:folder"))
    var stream: [String] = []

    @Option(
        help: ArgumentHelp(
            "Values by sample that plugins read as side.NAME: a safetensors file with ids [N] and values [N, ...]; as often as needed.",
            valueName: "name=file"))
    var side: [String] = []

    @Option(
        help: ArgumentHelp(
            "Questions that measure retention: a folder in easy-VQA's layout, or none. Default: the held-out ones that ship with craft.",
            valueName: "folder"))
    var questions: String?

    @Option(help: "How many of the questions to ask. Default: 1000.")
    var questionLimit: Int?

    /// `base` with the given flags in place.
    ///
    /// - Parameter others: further plugin lists that `--set` is for; they come back with its values in place.
    func settings(
        over base: RunSettings, and others: [[PluginRequest]]
    ) throws -> (settings: RunSettings, others: [[PluginRequest]]) {
        var settings = try self.settings(over: base, isAssigning: false)
        let lists = try assignments.apply(to: [settings.plugins] + others)
        settings.plugins = lists[0]
        return (settings, Array(lists.dropFirst()))
    }

    /// `base` with the given flags in place.
    ///
    /// - Parameter isAssigning: whether `--set` is one of them.
    func settings(over base: RunSettings, isAssigning: Bool = true) throws -> RunSettings {
        var settings = base
        if let model { settings.model = model }
        reviseData(of: &settings)
        if let plugins { settings.plugins = try PluginRequest.parseList(plugins) }
        if isAssigning { settings.plugins = try assignments.apply(to: [settings.plugins])[0] }
        settings.pluginPath = Installation.pluginPath(pluginPath)
        if let steps { settings.steps = steps }
        if let seed { settings.seed = seed }
        if let batchSize { settings.batchSize = batchSize }
        if let accumulation { settings.accumulation = accumulation }
        if let learningRate { settings.learningRate = learningRate }
        if let learningRateScales {
            settings.learningRateScales = try LearningRateScales(parsing: learningRateScales)
        }
        if let schedule { settings.schedule = try choice(schedule, "--schedule") }
        if let warmup { settings.warmupSteps = warmup }
        if let decayStep { settings.decayStep = decayStep }
        if let weightDecay { settings.optimizer.weightDecay = weightDecay }
        if let adamBeta1 { settings.optimizer.beta1 = adamBeta1 }
        if let adamBeta2 { settings.optimizer.beta2 = adamBeta2 }
        if let adamEpsilon { settings.optimizer.epsilon = adamEpsilon }
        if let ema {
            settings.average = AverageSettings(decay: ema, warmupPower: emaWarmup)
        } else if emaWarmup != nil {
            throw TrainingError("--ema-warmup is given without --ema; give the decay of the average too")
        }
        if let clip { settings.clipNorm = clip }
        if let loraRank, settings.adapter?.rank != loraRank {
            settings.adapter = AdapterSettings(rank: loraRank, alpha: Double(2 * max(0, min(loraRank, 1 << 20))))
        }
        if let loraAlpha {
            guard settings.adapter != nil else {
                throw TrainingError("--lora-alpha is given without --lora-rank; give the rank of the adapters too")
            }
            settings.adapter?.alpha = loraAlpha
        }
        if let policy {
            guard ["pro", "base"].contains(policy) else {
                throw TrainingError("--policy is \(policy); expected pro or base")
            }
            settings.proPolicy = policy == "pro"
        }
        if let gate { settings.gate = gate }
        if let proprioGain { settings.proprioGain = proprioGain }
        if let proprioBandwidth { settings.proprioBandwidth = proprioBandwidth }
        if let imageSize { settings.imageSize = imageSize }
        if let proprio { settings.usesProprio = proprio }
        if let proprioDropout { settings.proprioDropout = proprioDropout }
        if let proprioDropoutSteps { settings.proprioDropoutSteps = proprioDropoutSteps }
        if let cameras {
            settings.cameras = cameras.split(separator: ",").map(String.init)
        } else if data != nil || dataset != nil {
            settings.takeCamerasOfData()
        }
        if let augment { settings.augments = augment }
        if let holdOutEvery { settings.holdOutEvery = holdOutEvery }
        if let shots { settings.shots = shots }
        if let shotsSeed { settings.shotsSeed = shotsSeed }
        if let statistics { settings.statistics = try choice(statistics, "--statistics") }
        if let readAhead { settings.readAhead = readAhead }
        if let saveEvery { settings.saveEvery = saveEvery }
        if let keepCheckpoints { settings.keepCheckpoints = keepCheckpoints }
        if let logEvery { settings.logEvery = logEvery }
        if let evaluateEvery { settings.evaluateEvery = evaluateEvery }
        if let reportTo {
            let names = reportTo == "none" ? [] : reportTo.split(separator: ",").map(String.init)
            settings.reportTo = try names.map { try choice($0, "--report-to") }
        }
        if let project { settings.project = project }
        if let entity { settings.entity = entity }
        if let threads { settings.threads = threads }
        if let anchor { settings.anchor = try choice(anchor, "--anchor") }
        if let checkpointActivations { settings.checkpointsActivations = checkpointActivations }
        if let matmulPrecision { settings.matmulPrecision = try choice(matmulPrecision, "--matmul-precision") }
        if let anchorPrecision { settings.anchorPrecision = try choice(anchorPrecision, "--anchor-precision") }
        if let onNonFinite {
            guard ["error", "skip"].contains(onNonFinite) else {
                throw TrainingError("--on-non-finite is \(onNonFinite); expected error or skip")
            }
            settings.skipsNonFinite = onNonFinite == "skip"
        }
        if !stream.isEmpty { settings.streams = try StreamSetting.parse(stream) }
        if !side.isEmpty { settings.sides = try SideSetting.parse(side) }
        if let questions { settings.questions = questions == "none" ? "" : questions }
        if let questionLimit { settings.questionLimit = questionLimit }
        return settings
    }

    /// Puts what is said about the data into `settings`.
    func reviseData(of settings: inout RunSettings) {
        if let data {
            let isOther =
                URL(fileURLWithPath: data).standardizedFileURL
                != URL(fileURLWithPath: settings.data).standardizedFileURL
            // A name of the data set goes with its folder.
            if isOther || settings.data.isEmpty { (settings.data, settings.dataset) = (data, "") }
        }
        if let dataset { settings.dataset = dataset }
    }

    /// Puts what is said about plugins into the settings of a run that is resumed.
    func revisePlugins(of settings: inout RunSettings) throws {
        if let plugins { settings.plugins = try PluginRequest.parseList(plugins) }
        settings.plugins = try assignments.apply(to: [settings.plugins])[0]
        if pluginPath != nil { settings.pluginPath = Installation.pluginPath(pluginPath) }
    }

    private func choice<Choice: RawRepresentable & CaseIterable>(
        _ text: String, _ flag: String
    ) throws -> Choice where Choice.RawValue == String {
        guard let value = Choice(rawValue: text) else {
            let all = Choice.allCases.map(\.rawValue).joined(separator: ", ")
            throw TrainingError("\(flag) is \(text); expected one of \(all)")
        }
        return value
    }

    /// What `craft train` does when nothing is said.
    static var trainDefaults: RunSettings {
        var settings = RunSettings()
        settings.model = Installation.model
        settings.data = Installation.data
        settings.dataset = Installation.dataset
        settings.plugins = [PluginRequest(name: "BaselineL1")]
        settings.steps = 200
        settings.learningRate = 5e-4
        settings.holdOutEvery = 4
        settings.questions = Installation.questions
        return settings
    }
}
