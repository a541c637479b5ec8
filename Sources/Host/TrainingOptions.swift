import ArgumentParser
import Formats
import Foundation
import Models
import PluginRuntime
import Processes
import Training

/// The flags that describe a run. Each is optional: what is not given is the command's default, or that of a run that goes on.
struct TrainingOptions<Defaults: RunDefaults>: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Folder of the pretrained model. Default: the small model that ships with craft.", valueName: "folder"))
    var model: String?

    @Option(
        help: ArgumentHelp(
            "Root folder of the data. Default: \(Defaults.folders.data).", valueName: "folder"))
    var data: String?

    @Option(
        help: ArgumentHelp(
            "Data set below --data, or a mixture: A:0.7,B:0.3 by share of samples, A,B by size. Default: the only one.",
            valueName: "name"))
    var dataset: String?

    @Option(
        help: Defaults.help(
            "The strategy: plugin names or .so files, with settings, in order: A,B:key=value,C.",
            { $0.plugins.map(\.listText) }, valueName: "list"))
    var plugins: String?

    @OptionGroup var assignments: SettingAssignments

    @OptionGroup var folders: PluginFolders

    @Option(help: Defaults.help("Optimizer steps, counted from the start of the run.", { $0.steps }))
    var steps: Int?

    @Option(help: Defaults.help("Seed of everything random.", { $0.seed }))
    var seed: UInt64?

    @Option(help: Defaults.help("Samples in a micro-batch.", { $0.batchSize }))
    var batchSize: Int?

    @Option(help: Defaults.help("Micro-batches per step.", { $0.accumulation }))
    var accumulation: Int?

    @Option(name: .customLong("lr"), help: Defaults.help("Learning rate.", { $0.learningRate }))
    var learningRate: Double?

    @Option(
        name: .customLong("lr-scale"),
        help: ArgumentHelp(
            "Factors on the rate by parameter group: vision, projector, decoder, queries, policy, proprio. Default: 1 for each.",
            valueName: "group=factor,..."))
    var learningRateScales: String?

    @Option(help: Defaults.help("How the rate changes over a run.", { $0.schedule.rawValue }))
    var schedule: LearningRateSchedule.Kind?

    @Option(help: Defaults.help("Steps of linear warm-up from a tenth of the rate.", { $0.warmupSteps }))
    var warmup: Int?

    @Option(help: Defaults.help("Step from which multistep uses a tenth of the rate.", { $0.decayStep }))
    var decayStep: Int?

    @Option(help: Defaults.help("Decoupled weight decay.", { $0.optimizer.weightDecay }))
    var weightDecay: Double?

    @Option(help: Defaults.help("AdamW: decay of the mean of gradients, per step.", { $0.optimizer.beta1 }))
    var adamBeta1: Double?

    @Option(help: Defaults.help("AdamW: decay of the mean of their squares.", { $0.optimizer.beta2 }))
    var adamBeta2: Double?

    @Option(help: Defaults.help("AdamW: added to the root of that mean.", { $0.optimizer.epsilon }))
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

    @Option(help: Defaults.help("Largest gradient norm; 0 does not clip.", { $0.clipNorm }))
    var clip: Double?

    @Option(help: "Fine-tune by low-rank adapters of this rank instead of in full. Default: full fine-tuning.")
    var loraRank: Int?

    @Option(help: "Alpha of the adapters, whose scale is alpha / rank. Default: twice the rank.")
    var loraAlpha: Double?

    @Option(help: "Action head, for a model folder that has none yet. Default: what its config.json says, else pro.")
    var policy: ActionHead?

    @Option(
        help: Defaults.help(
            "What the gates of a new action head begin at; at 0 it attends to all visual tokens alike.", { $0.gate },
            note: ", as in VLA-Adapter"))
    var gate: Double?

    @Option(
        help: Defaults.help(
            "Factor on the first weights of a new proprioception projector's last layer, whose token is faint beside the hidden states otherwise.",
            { $0.proprioGain }, note: ", as in VLA-Adapter"))
    var proprioGain: Double?

    @Option(
        help: Defaults.help(
            "Factor on the first weights of a new proprioception projector's first layer: with more, the policy tells close states of the arm apart sooner.",
            { $0.proprioBandwidth }, note: ", as in VLA-Adapter"))
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
        help: Defaults.help(
            "Probability with which a training sample shows the policy zeros in place of the arm's state, so that it learns to look as well.",
            { $0.proprioDropout }))
    var proprioDropout: Double?

    @Option(
        help: ArgumentHelp(
            "Do so in the first steps only: later ones teach what the arm's state is exact about. Default: all steps.",
            valueName: "steps"))
    var proprioDropoutSteps: Int?

    @Option(
        help: Defaults.help(
            "Camera features, in the model's order; the data set's own where it has others.", { $0.cameras },
            valueName: "list"))
    var cameras: String?

    @Flag(
        inversion: .prefixedNo,
        help: Defaults.help(
            "Augment images (crop, brightness, contrast, saturation, hue).", flag: "augment", \.augments))
    var augment: Bool?

    @Option(help: Defaults.help("Keep every k-th episode for evaluation; 0 keeps none.", { $0.holdOutEvery }))
    var holdOutEvery: Int?

    @Option(help: "Use only N episodes of each instruction. Default: all.")
    var shots: Int?

    @Option(help: "Draw the episodes of --shots from this seed. Default: the first ones in stored order.")
    var shotsSeed: UInt64?

    @Option(
        help: Defaults.help(
            "Normalise by the statistics of all episodes of a data set, or of the selected ones.",
            { $0.statistics?.rawValue }))
    var statistics: RunSettings.StatisticsRule?

    @Option(help: Defaults.help("Batches decoded ahead of the step; 0 decodes each when it is due.", { $0.readAhead }))
    var readAhead: Int?

    @Option(
        help: Defaults.help(
            "Save a checkpoint every N steps; the last step is always saved.", { $0.saveEvery },
            note: " (last step only)"))
    var saveEvery: Int?

    @Option(help: "Keep only the latest N checkpoints. Default: all.")
    var keepCheckpoints: Int?

    @Option(
        name: .customLong("evaluate-every"),
        help: "Steps from one measurement on held-out data to the next. Default: before and after training alone.")
    var evaluateEvery: Int?

    @Option(help: Defaults.help("Log metrics every N steps.", { $0.logEvery }))
    var logEvery: Int?

    @Option(
        help: Defaults.help(
            "Programs to report the run to beside its metrics.jsonl, separated by commas, or none.",
            { $0.reportTo?.map(\.rawValue) }, valueName: "list"))
    var reportTo: ReportTargets?

    @Option(help: "Project of the run in those programs. Default: their own.")
    var project: String?

    @Option(help: "User or team of the run in W&B. Default: W&B's own.")
    var entity: String?

    @Option(help: "Threads. Default: the processors of the machine.")
    var threads: Int?

    @Option(help: Defaults.help("Where anchor features come from.", { $0.anchor.rawValue }))
    var anchor: RunSettings.AnchorChoice?

    @Flag(
        inversion: .prefixedNo,
        help: Defaults.help(
            "Run blocks again in the backward pass instead of keeping their values: less memory, more time.",
            flag: "checkpoint-activations", \.checkpointsActivations))
    var checkpointActivations: Bool?

    @Option(
        help: Defaults.help(
            "float32, or bf16 to round the operands of matrix products to bfloat16.", { $0.matmulPrecision?.rawValue }))
    var matmulPrecision: RunSettings.MatmulPrecision?

    @Option(
        help:
            "The same for anchor features alone. In bf16 they cost half, and drift starts at the rounding instead of 0. Default: that of --matmul-precision."
    )
    var anchorPrecision: RunSettings.MatmulPrecision?

    @Option(
        help: Defaults.help(
            "What a non-finite loss does; with skip the step is skipped and counted.",
            { $0.skipsNonFinite ? NonFiniteRule.skip.rawValue : NonFiniteRule.error.rawValue }))
    var onNonFinite: NonFiniteRule?

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
            "Questions that measure retention: a folder in easy-VQA's layout, or none. Default: \(Defaults.folders.questions).",
            valueName: "folder"))
    var questions: String?

    @Option(help: Defaults.help("How many of the questions to ask.", { $0.questionLimit }))
    var questionLimit: Int?

    /// The command's defaults with the given flags in place.
    func settings() throws -> RunSettings { try settings(over: Defaults.settings) }

    /// The command's defaults with the given flags in place.
    ///
    /// - Parameter others: further plugin lists that `--set` is for; they come back with its values in place.
    func settings(
        and others: [[PluginRequest]]
    ) throws -> (settings: RunSettings, others: [[PluginRequest]]) {
        var settings = try self.settings(over: Defaults.settings, isAssigning: false)
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
        settings.pluginPath = folders.paths
        if let steps { settings.steps = steps }
        if let seed { settings.seed = seed }
        if let batchSize { settings.batchSize = batchSize }
        if let accumulation { settings.accumulation = accumulation }
        if let learningRate { settings.learningRate = learningRate }
        if let learningRateScales {
            settings.learningRateScales = try LearningRateScales(parsing: learningRateScales)
        }
        if let schedule { settings.schedule = schedule }
        if let warmup { settings.warmupSteps = warmup }
        if let decayStep { settings.decayStep = decayStep }
        if let weightDecay { settings.optimizer.weightDecay = weightDecay }
        if let adamBeta1 { settings.optimizer.beta1 = adamBeta1 }
        if let adamBeta2 { settings.optimizer.beta2 = adamBeta2 }
        if let adamEpsilon { settings.optimizer.epsilon = adamEpsilon }
        if let ema {
            settings.average = AverageSettings(decay: ema, warmupPower: emaWarmup)
        } else if emaWarmup != nil {
            throw CommandError(.usage, "--ema-warmup is given without --ema; give the decay of the average too")
        }
        if let clip { settings.clipNorm = clip }
        if let loraRank, settings.adapter?.rank != loraRank {
            settings.adapter = AdapterSettings(rank: loraRank, alpha: RunSettings.defaultAlpha(rank: loraRank))
        }
        if let loraAlpha {
            guard settings.adapter != nil else {
                throw CommandError(
                    .usage, "--lora-alpha is given without --lora-rank; give the rank of the adapters too")
            }
            settings.adapter?.alpha = loraAlpha
        }
        if let policy { settings.proPolicy = policy == .pro }
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
        if let statistics { settings.statistics = statistics }
        if let readAhead { settings.readAhead = readAhead }
        if let saveEvery { settings.saveEvery = saveEvery }
        if let keepCheckpoints { settings.keepCheckpoints = keepCheckpoints }
        if let logEvery { settings.logEvery = logEvery }
        if let evaluateEvery { settings.evaluateEvery = evaluateEvery }
        if let reportTo { settings.reportTo = reportTo.targets }
        if let project { settings.project = project }
        if let entity { settings.entity = entity }
        if let threads { settings.threads = threads }
        if let anchor { settings.anchor = anchor }
        if let checkpointActivations { settings.checkpointsActivations = checkpointActivations }
        if let matmulPrecision { settings.matmulPrecision = matmulPrecision }
        if let anchorPrecision { settings.anchorPrecision = anchorPrecision }
        if let onNonFinite { settings.skipsNonFinite = onNonFinite == .skip }
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
        if folders.isGiven { settings.pluginPath = folders.paths }
    }
}
