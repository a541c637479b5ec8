/// Every flag of the original scripts: VLA-Adapter's, CRaFT's, which extends it, OpenVLA-OFT's, from which both come,
/// and those of OpenVLA's own that differ.
package enum FinetuneFlags {
    package static let all: [FinetuneFlag] =
        model + data + architecture + schedule + saving + adapters + logging + craft + openVLA

    package static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })

    private static let model: [FinetuneFlag] = [
        .init(
            "config_file_path", .text, "openvla/openvla-7b", in: .adapter,
            becomes: "`--model`; its last component begins the run's name. Default: the model that ships with craft"),
        .init(
            "vlm_path", .text, "openvla/openvla-7b", in: .adapter, needs: "use_minivlm",
            becomes: "`--model`, before `config_file_path`; a folder with `config.json` and safetensors"),
        .init(
            "vla_path", .text, "openvla/openvla-7b", in: .oft,
            becomes: "`--model`; tells that the command is OpenVLA-OFT's, whose defaults then hold"),
        .init(
            "use_minivlm", .truth, "False", in: .adapter,
            becomes: "weights from `vlm_path`; must agree with the model's prompt: `True` chat, `False` OpenVLA's"),
        .init(
            "resum_vla_path", .text, "openvla/openvla-7b", in: .adapter, needs: "resume",
            becomes: "the run of `--resume`: `RUN--10000_chkpt` stands for step 10000 of `RUN`"),
        .init(
            "phase1_path", .text, "None", in: .adapter,
            .noEffect("the original never reads it")),
    ]

    private static let data: [FinetuneFlag] = [
        .init(
            "data_root_dir", .text, "datasets/rlds", becomes: "`--data`. Default: the sample that ships with craft"),
        .init(
            "dataset_name", .text, "aloha_scoop_x_into_bowl",
            becomes: "`--dataset`; `libero_4_task_suites_no_noops` is the four LIBERO sets by size"),
        .init("run_root_dir", .text, "runs", becomes: "`--out`, with the run's name below it"),
        .init(
            "shuffle_buffer_size", .whole, "100000",
            .noEffect("samples are drawn from the whole data set, whose images are not kept in memory")),
        .init("n_shot_episodes", .whole, "None", optional: true, in: .craft, becomes: "`--shots`"),
        .init("image_aug", .truth, "True", becomes: "`--augment` or `--no-augment`"),
    ]

    private static let architecture: [FinetuneFlag] = [
        .init(
            "use_l1_regression", .truth, "True",
            .defaultOnly("craft trains the continuous action head; discrete action tokens have no objective here")),
        .init("use_diffusion", .truth, "False", .defaultOnly("craft has no diffusion head; L1 regression is the one")),
        .init(
            "num_diffusion_steps", .whole, "50", in: .adapter, needs: "use_diffusion",
            .noEffect("read with `use_diffusion` only")),
        .init(
            "num_diffusion_steps_train", .whole, "50", in: .oft, needs: "use_diffusion",
            .noEffect("read with `use_diffusion` only")),
        .init(
            "diffusion_sample_freq", .whole, "50", needs: "use_diffusion", .noEffect("read with `use_diffusion` only")),
        .init("use_film", .truth, "False", .defaultOnly("craft's towers have no FiLM layers")),
        .init(
            "num_images_in_input", .whole, "1",
            becomes: "`--cameras image` or `image,wrist_image`; not given, what the model's `config.json` says, else 1"),
        .init(
            "use_proprio", .truth, "False",
            becomes:
                "`False` is `--no-proprio`; not given, it is `True` for VLA-Adapter and CRaFT, which stop without it"),
        .init(
            "use_pro_version", .truth, "True", in: .adapter,
            becomes: "`--policy pro` or `base`; not given, what the model folder says, else pro"),
        .init(
            "phase", .text, "Training", in: .adapter,
            .defaultOnly("the command trains; craft eval and craft serve are for inference")),
    ]

    private static let schedule: [FinetuneFlag] = [
        .init("batch_size", .whole, "8", becomes: "`--batch-size`; there is one device"),
        .init("grad_accumulation_steps", .whole, "1", becomes: "`--accumulation`"),
        .init("learning_rate", .number, "0.0005", becomes: "`--lr`"),
        .init(
            "lr_warmup_steps", .number, "0.1", oft: "0",
            becomes: "`--warmup`, its whole part; below 1 there is no warm-up, as in CRaFT's script"),
        .init(
            "num_steps_before_decay", .whole, "100000",
            becomes: "`--schedule multistep --decay-step`, counted from the start of the run also when it resumes"),
        .init("max_steps", .whole, "200000", becomes: "`--steps`"),
        .init(
            "use_val_set", .truth, "False",
            .defaultOnly(
                "RLDS sets of LIBERO have no validation split, and the original's path stops; `-- --hold-out-every 4` keeps "
                    + "every fourth episode and measures before and after")),
        .init("val_freq", .whole, "10000", needs: "use_val_set", .noEffect("read with `use_val_set` only")),
        .init("val_time_limit", .whole, "180", needs: "use_val_set", .noEffect("read with `use_val_set` only")),
    ]

    private static let saving: [FinetuneFlag] = [
        .init("save_freq", .whole, "10000", becomes: "`--save-every`; the last step is saved as well"),
        .init("save_latest_checkpoint_only", .truth, "False", becomes: "`--keep-checkpoints 1`"),
        .init("resume", .truth, "False", becomes: "`--resume`, with optimizer, multiplier, data and schedule"),
        .init(
            "resume_step", .whole, "None", optional: true, needs: "resume",
            becomes: "`--resume-step`; later checkpoints of the run are set aside"),
    ]

    private static let adapters: [FinetuneFlag] = [
        .init("use_lora", .truth, "False", oft: "True", becomes: "`--lora-rank`, or full fine-tuning without it"),
        .init(
            "lora_rank", .whole, "32", needs: "use_lora",
            becomes: "`--lora-rank` and `--lora-alpha`: twice the rank, in OpenVLA-OFT's commands at most 16"),
        .init("lora_dropout", .number, "0.0", needs: "use_lora", .defaultOnly("craft's adapters have no dropout")),
        .init(
            "merge_lora_during_training", .truth, "False", oft: "True", needs: "use_lora",
            becomes: "`craft model merge` of every checkpoint, after the last step"),
        .init(
            "use_fz", .truth, "False", in: .adapter,
            becomes: "`+frozen` in the run's name; checkpoints hold the whole model whenever there is no adapter"),
    ]

    private static let logging: [FinetuneFlag] = [
        .init("wandb_entity", .text, "your-wandb-entity", becomes: "the offline W&B run: its user or team"),
        .init("wandb_project", .text, "your-wandb-project", becomes: "the offline W&B run: its project"),
        .init(
            "use_wandb", .truth, "True", in: .craft,
            becomes:
                "an offline W&B run in `RUN/wandb` after the last step, made by `craft wandb RUN`; `False` leaves it out"
        ),
        .init("wandb_log_freq", .whole, "10", becomes: "`--log-every`"),
        .init(
            "console_log_freq", .whole, "10", in: .craft,
            becomes: "`--progress-every`; not given, craft's own progress line"),
        .init("run_id_note", .text, "None", optional: true, becomes: "the end of the run's name"),
        .init("run_id_override", .text, "None", optional: true, becomes: "the run's name"),
    ]

    private static let craft: [FinetuneFlag] = [
        .init(
            "use_craft", .truth, "False", in: .craft,
            becomes: "`--plugins BaselineL1,AnchorVariants,CRaFTProjection,CRaFTDual`, or `BaselineL1`"),
        .init(
            "craft_retention_weight", .number, "1.0", in: .craft, needs: "use_craft",
            .defaultOnly(
                "the original never reads it; a constant weight is `--craft_enable_dual False --craft_fixed_lambda W`")),
        .init(
            "craft_retention_budget", .number, "0.1", in: .craft, needs: "use_craft", becomes: "`CRaFTDual:budget`"),
        .init("craft_dual_lr", .number, "0.01", in: .craft, needs: "use_craft", becomes: "`CRaFTDual:lr`"),
        .init(
            "craft_projection_eps", .number, "1e-8", in: .craft, needs: "use_craft",
            .defaultOnly("CRaFTProjection divides without an epsilon and leaves zero gradients alone")),
        .init(
            "craft_enable_projection", .truth, "True", in: .craft, needs: "use_craft",
            becomes: "`CRaFTProjection:enable`; conflicts are measured either way"),
        .init(
            "craft_enable_dual", .truth, "True", in: .craft, needs: "use_craft",
            becomes: "`CRaFTDual`, or `FixedMultiplier` in its place"),
        .init(
            "craft_fixed_lambda", .number, "0.1", in: .craft, needs: "use_craft",
            becomes: "`FixedMultiplier:value`, with `craft_enable_dual False`"),
        .init(
            "craft_anchor_type", .text, "concat", in: .craft, needs: "use_craft",
            becomes: "`AnchorVariants:type`: `concat`, `aq_only` or `raw_only`"),
        .init(
            "craft_anchor_layer_idx", .whole, "None", optional: true, in: .craft, needs: "use_craft",
            becomes: "`AnchorVariants:layer`; `None` is `middle`"),
        .init(
            "craft_cr_token_mode", .text, "vision_only", in: .craft, needs: "use_craft",
            becomes: "`AnchorVariants:tokens`: `vision_only` or `vision_plus_prompt`"),
        .init(
            "craft_log_freq", .whole, "10", in: .craft, needs: "use_craft",
            becomes: "`--log-every` logs all metrics together: must divide `wandb_log_freq`"),
    ]

    private static let openVLA: [FinetuneFlag] = [
        .init(
            "adapter_tmp_dir", .text, "adapter-tmp", in: .openVLA,
            .noEffect("merging needs no temporary folder")),
        .init(
            "save_steps", .whole, "5000", in: .openVLA,
            .refused("a flag of OpenVLA's own script, which trains discrete action tokens; write `--save_freq`")),
        .init("use_quantization", .truth, "False", in: .openVLA, .defaultOnly("craft has no 4-bit weights")),
    ]

    // MARK: - The table

    /// The table of docs/FINETUNE.md.
    package static var markdown: String {
        let rows = all.map { flag in
            let standard = "`\(flag.defaultText)`" + (flag.oftDefault.map { " (OpenVLA-OFT `\($0)`)" } ?? "")
            return
                "| `--\(flag.name)` | \(flag.kind.rawValue) | \(standard) | \(flag.scripts.rawValue) | \(flag.summary) |"
        }
        return (["| flag | type | default | script | in craft |", "|---|---|---|---|---|"] + rows).joined(
            separator: "\n")
    }

    /// The table for a terminal.
    package static var help: String {
        all.map { flag in
            let text = flag.summary.filter { $0 != "`" }
            return "--\(flag.name) (\(flag.kind.rawValue), \(flag.defaultText))\n    \(text)"
        }.joined(separator: "\n")
    }
}
