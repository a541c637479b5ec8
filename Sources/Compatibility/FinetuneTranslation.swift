import Formats
import Foundation
import Models
import PluginRuntime
import Processes
package import Training

/// What an original command becomes: a `craft train` line and what follows it.
package struct FinetuneTranslation {
    package private(set) var line = TrainLine()
    /// What the user should know: values that change nothing, defaults that come from elsewhere.
    package private(set) var notes: [String] = []
    /// The run's folder.
    package private(set) var run = ""
    /// Whether every checkpoint is merged.
    package private(set) var merges = false
    private let arguments: FinetuneArguments
    private var problems: [String] = []

    package init(_ arguments: FinetuneArguments) throws {
        self.arguments = arguments
        checkFlags()
        if arguments.truth("resume") {
            try finish()
            let resumed = try FinetuneResume(arguments)
            run = resumed.run
            notes += resumed.notes
            line.add("--resume", run, from: "resume")
            line.add("--resume-step", String(resumed.step), from: "resume_step")
            line.add("--steps", String(arguments.whole("max_steps") ?? 0), from: given("max_steps"))
            merges = arguments.truth("merge_lora_during_training") && resumed.hasAdapter
        } else {
            try translate()
        }
        if arguments.isGiven("console_log_freq"), let every = arguments.whole("console_log_freq") {
            line.add("--progress-every", String(every), from: given("console_log_freq"))
        }
        if arguments.passed.contains(where: { ["--out", "--resume"].contains($0.prefix { $0 != "=" }) }) {
            problems.append("--out and --resume follow from --run_root_dir, --run_id_override and --resume; give those")
        }
        try finish()
        try line.append(arguments.passed)
        noteUpload()
    }

    /// All that is wrong, at once.
    private func finish() throws {
        guard problems.isEmpty else { throw CompatibilityError(.arguments, problems.joined(separator: "\n")) }
    }

    private func given(_ name: String) -> String? { arguments.isGiven(name) ? name : nil }

    // MARK: - Each flag by its rule

    private mutating func checkFlags() {
        let vlaFlags = arguments.given.keys.filter { FinetuneFlags.byName[$0]?.scripts == .adapter }.sorted()
        if arguments.isOFT, let flag = vlaFlags.first {
            problems.append(
                "--vla_path is a flag of OpenVLA-OFT's script, --\(flag) one of VLA-Adapter's; use the flags of one script"
            )
        }
        for flag in FinetuneFlags.all where arguments.isGiven(flag.name) {
            let value = arguments.value(flag.name)
            if case .refused(let why) = flag.rule {
                problems.append("--\(flag.name): \(Self.plain(why))")
                continue
            }
            if let needed = flag.needs, !arguments.truth(needed) {
                notes.append("--\(flag.name) has no effect without --\(needed) True, as in the original")
                continue
            }
            switch flag.rule {
            case .honoured, .refused: break
            case .noEffect(let why): notes.append("--\(flag.name) has no effect: \(Self.plain(why))")
            case .defaultOnly(let why):
                let standard = flag.standard(oft: arguments.isOFT)
                if value != standard {
                    problems.append(
                        "--\(flag.name) \(value) cannot be honoured, only \(standard): \(Self.plain(why))")
                }
            }
        }
        for name in ["batch_size", "grad_accumulation_steps", "max_steps", "save_freq", "wandb_log_freq", "lora_rank"]
            + ["console_log_freq", "craft_log_freq", "n_shot_episodes"]
        {
            if let value = arguments.whole(name), value < 1 {
                problems.append("--\(name) is \(value); expected at least 1")
            }
        }
        for name in ["num_steps_before_decay", "shuffle_buffer_size", "resume_step"] {
            if let value = arguments.whole(name), value < 0 {
                problems.append("--\(name) is \(value); expected 0 or more")
            }
        }
    }

    private static func plain(_ markdown: String) -> String { markdown.replacingOccurrences(of: "`", with: "") }

    // MARK: - A new run

    private mutating func translate() throws {
        let model = FinetuneModel(arguments)
        notes += model.notes
        problems += model.problems
        line.add("--model", model.path, from: model.flag)
        addData()
        addPlugins()
        number("max_steps", as: "--steps")
        line.add("--seed", "0")
        number("batch_size", as: "--batch-size")
        number("grad_accumulation_steps", as: "--accumulation")
        addSchedule()
        addAdapters()
        addPolicy(model)
        line.add(arguments.truth("image_aug") ? "--augment" : "--no-augment", nil, from: given("image_aug"))
        // The original trains on every episode and asks no questions.
        line.add("--hold-out-every", "0")
        line.add("--questions", "none")
        if let shots = arguments.whole("n_shot_episodes") {
            line.add("--shots", String(shots), from: given("n_shot_episodes"))
        }
        number("save_freq", as: "--save-every")
        if arguments.truth("save_latest_checkpoint_only") {
            line.add("--keep-checkpoints", "1", from: given("save_latest_checkpoint_only"))
        }
        number("wandb_log_freq", as: "--log-every")
        try finish()
        run = FinetuneRunName.folder(arguments, model: model.path)
        if FileManager.default.fileExists(atPath: run + "/run.json") {
            notes.append(
                "\(run): there is a run of this name already, which the original would write over; it is renamed, \(run).earlier-N. "
                    + "--resume True --resume_step N goes on with it, --run_id_note gives the new one a name of its own"
            )
        }
        line.add("--out", run, from: given("run_root_dir") ?? given("run_id_override") ?? given("run_id_note"))
    }

    private mutating func number(_ name: String, as option: String) {
        line.add(option, arguments.value(name).description, from: given(name))
    }

    private mutating func addData() {
        let (root, name) = (arguments.givenText("data_root_dir"), arguments.givenText("dataset_name"))
        guard root != nil || name != nil else {
            notes.append("no data set is given: the sample that ships with craft, \(Installation.data)")
            line.add("--data", Installation.data)
            line.add("--dataset", Installation.dataset)
            return
        }
        line.add("--data", root ?? arguments.text("data_root_dir") ?? "", from: given("data_root_dir"))
        if name == nil { notes.append("no --dataset_name is given: the only data set below \(root ?? "")") }
        if let name { line.add("--dataset", FinetuneFlags.dataset(name), from: "dataset_name") }
    }

    private mutating func addPlugins() {
        let choices = [
            ("craft_anchor_type", ["concat", "aq_only", "raw_only"]),
            ("craft_cr_token_mode", ["vision_only", "vision_plus_prompt"]),
        ]
        if arguments.truth("use_craft") {
            for (name, allowed) in choices where !allowed.contains(arguments.text(name) ?? "") {
                problems.append(
                    "--\(name) is '\(arguments.value(name))'; expected \(allowed.joined(separator: " or "))")
            }
            for name in ["craft_retention_budget", "craft_dual_lr", "craft_fixed_lambda"] {
                if let value = arguments.number(name), value < 0 {
                    problems.append("--\(name) is \(value); expected 0 or more")
                }
            }
            let (own, all) = (arguments.whole("craft_log_freq") ?? 1, arguments.whole("wandb_log_freq") ?? 1)
            if arguments.isGiven("craft_log_freq"), own > 0, all % own != 0 {
                problems.append(
                    "--craft_log_freq \(own) cannot be honoured beside --wandb_log_freq \(all): craft logs CRaFT's metrics "
                        + "with all others; give the same for both")
            }
            let unread =
                arguments.truth("craft_enable_dual")
                ? ["craft_fixed_lambda"] : ["craft_retention_budget", "craft_dual_lr"]
            for name in unread where arguments.isGiven(name) {
                notes.append(
                    "--\(name) has no effect with --craft_enable_dual \(arguments.value("craft_enable_dual")), as in the "
                        + "original")
            }
        }
        let flag = FinetuneFlags.all.map(\.name).first {
            ($0 == "use_craft" || $0.hasPrefix("craft_")) && arguments.isGiven($0)
        }
        line.add("--plugins", FinetunePlugins.list(arguments).map(\.listText).joined(separator: ","), from: flag)
    }

    private mutating func addSchedule() {
        number("learning_rate", as: "--lr")
        line.add("--schedule", "multistep", from: given("num_steps_before_decay"))
        number("num_steps_before_decay", as: "--decay-step")
        let warmup = arguments.number("lr_warmup_steps") ?? 0
        guard warmup >= 0, warmup < Double(1 << 53) else {
            problems.append("--lr_warmup_steps is \(warmup); expected a number of steps")
            return
        }
        line.add("--warmup", String(Int(warmup)), from: given("lr_warmup_steps"))
        if let decay = arguments.whole("num_steps_before_decay"), let steps = arguments.whole("max_steps"),
            decay < steps,
            !arguments.isOFT
        {
            notes.append(
                "the rate falls to a tenth at step \(decay), as num_steps_before_decay says and CRaFT's script does. "
                    + "VLA-Adapter's own keeps it constant, as its default lr_warmup_steps undoes the decay; for that give "
                    + "--num_steps_before_decay \(steps)")
        }
    }

    private mutating func addAdapters() {
        if arguments.truth("use_lora"), let rank = arguments.whole("lora_rank"), (1...4096).contains(rank) {
            line.add("--lora-rank", String(rank), from: given("lora_rank") ?? given("use_lora"))
            line.add("--lora-alpha", String(arguments.isOFT ? min(rank, 16) : 2 * rank), from: given("lora_rank"))
            merges = arguments.truth("merge_lora_during_training")
            if arguments.truth("use_fz") {
                problems.append(
                    "--use_fz True saves the whole model, --use_lora True the adapter; give one of them")
            }
        } else if arguments.truth("use_lora") {
            problems.append("--lora_rank is \(arguments.value("lora_rank")); expected 1 to 4096")
        }
    }

    private mutating func addPolicy(_ model: FinetuneModel) {
        let config = model.config
        if arguments.isGiven("use_proprio") || arguments.isOFT {
            if !arguments.truth("use_proprio") {
                line.add("--no-proprio", nil, from: given("use_proprio"))
                notes.append("use_proprio is False: the policy reads zeros in place of the arm's state")
            }
        } else {
            notes.append("use_proprio is True, without which the original stops")
        }
        if arguments.isGiven("use_pro_version") {
            if let isPro = model.actionHeadIsPro, isPro != arguments.truth("use_pro_version") {
                problems.append(
                    "--use_pro_version is \(arguments.value("use_pro_version")), but the action head in \(model.path) is the "
                        + "\(isPro ? "Pro" : "base") one; leave the flag out or take another model")
            }
            line.add("--policy", arguments.truth("use_pro_version") ? "pro" : "base", from: "use_pro_version")
        } else if let config, config.fixesPolicy, !config.policy.pro {
            notes.append("use_pro_version is False: the model's config.json has the base policy")
        }
        guard !arguments.passed.contains(where: { $0.hasPrefix("--cameras") }) else { return }
        var images = arguments.whole("num_images_in_input") ?? 1
        if !arguments.isGiven("num_images_in_input"), let config, config.fixesCameras, config.cameras != images {
            images = config.cameras
            notes.append("num_images_in_input is \(images), as the model's config.json says")
        }
        if images != 2 {
            notes.append(
                "num_images_in_input is \(images): VLA-Adapter's action head parts visual tokens from queries after 512 positions, which "
                    + "is right for two images; craft parts them where they part, so a head trained by one gives other actions in the "
                    + "other (docs/FINETUNE.md, What differs)")
        }
        switch images {
        case 1: line.add("--cameras", "image", from: given("num_images_in_input"))
        case 2: line.add("--cameras", "image,wrist_image", from: given("num_images_in_input"))
        case 3:
            problems.append(
                "--num_images_in_input 3: LIBERO's data sets have two cameras; name the three of yours: -- --cameras "
                    + "image,wrist_image,THIRD")
        default: problems.append("--num_images_in_input is \(images); expected 1 to 3")
        }
    }

    // MARK: - W&B

    /// The offline run that the original would leave behind; nil when it is not wanted.
    package var wandb: WandbRun? {
        guard arguments.truth("use_wandb") else { return nil }
        return WandbRun(entity: arguments.givenText("wandb_entity"), project: arguments.givenText("wandb_project"))
    }

    private mutating func noteUpload() {
        let names = ["use_wandb", "wandb_project", "wandb_entity"]
        guard let wandb, names.contains(where: arguments.isGiven) else { return }
        let words = [("--project", wandb.project), ("--entity", wandb.entity)].flatMap { option, value in
            value.map { [option, $0] } ?? []
        }
        notes.append(
            "W&B gets an offline run when training ends, to upload with wandb sync; the same at any time: "
                + ShellText.command(["craft", "wandb", run] + words))
    }
}

extension FinetuneFlags {
    /// A data set's name for `--dataset`: the named mixture of the original is its four sets, by size.
    package static func dataset(_ name: String) -> String {
        guard name == "libero_4_task_suites_no_noops" else { return name }
        return ["spatial", "object", "goal", "10"].map { "libero_\($0)_no_noops" }.joined(separator: ",")
    }
}
