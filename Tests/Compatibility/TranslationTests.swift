import Compatibility
import Formats
import Foundation
import TestSupport
import Testing

/// What an original command becomes, and why another is refused.
@Suite struct TranslationTests {
    private static let assets = BuildFolder.repository.appendingPathComponent("Assets").path

    /// What the shipped model needs of an original command.
    static let shipped = [
        "--config_file_path", assets + "/small-vlm", "--data_root_dir", assets + "/libero-sample", "--dataset_name",
        "libero_spatial_no_noops", "--num_images_in_input", "2", "--use_proprio", "True",
    ]

    private static func translation(_ arguments: [String]) throws -> FinetuneTranslation {
        try FinetuneTranslation(FinetuneArguments(arguments, trainFlags: ["lr", "seed", "threads"]))
    }

    /// The line that a command becomes, and what is said beside it.
    static func line(_ arguments: [String]) throws -> (text: String, notes: String) {
        let translation = try translation(arguments)
        return (translation.line.shellText + " ", translation.notes.joined(separator: "\n"))
    }

    static func expectRefusal(
        _ arguments: [String], _ code: CompatibilityErrorCode, _ says: String...,
        at location: SourceLocation = #_sourceLocation
    ) throws { try expectRefusal(arguments, code, says, at: location) }

    static func expectRefusal(
        _ arguments: [String], _ code: CompatibilityErrorCode, _ says: [String],
        at location: SourceLocation = #_sourceLocation
    ) throws {
        let error = try #require(
            throws: CompatibilityError.self, "\(arguments)", sourceLocation: location
        ) { _ = try translation(arguments) }
        #expect(error.code == code, "\(arguments): \(error)", sourceLocation: location)
        for words in says {
            #expect(error.description.contains(words), "\(arguments): \(error)", sourceLocation: location)
        }
    }

    @Test func everyFlagIsAcceptedAtItsDefault() throws {
        let rows = FlagTableTests.rows(FinetuneFlags.markdown)
        let file = BuildFolder.fixture("finetune/craft.tsv")
        let names = try String(contentsOf: file, encoding: .utf8).split(separator: "\n").compactMap {
            $0.split(separator: "\t").first.map(String.init)
        }
        // What the shipped model and data settle; None of a text flag is a text, as in the original.
        let settled = ["config_file_path", "data_root_dir", "dataset_name", "num_images_in_input", "use_proprio"]
        let given = names.filter { !settled.contains($0) && $0 != "use_pro_version" }
            .flatMap { ["--\($0)=\(rows[$0]?.standard ?? "")"] }
        let (text, notes) = try Self.line(Self.shipped + given)
        #expect(text.contains(" --plugins BaselineL1 --steps 200000 "))
        #expect(notes.contains("--val_freq has no effect without --use_val_set True"))
        #expect(notes.contains("--shuffle_buffer_size has no effect"))
        #expect(notes.contains("--craft_dual_lr has no effect without --use_craft True"))
    }

    // MARK: - Meaning

    static let meanings: [(flags: String, becomes: [String])] = [
        (
            "",
            [
                "--plugins BaselineL1 ", "--batch-size 8 ", "--lr 0.0005 ",
                "--schedule multistep --decay-step 100000 ",
            ]
        ),
        ("", ["--hold-out-every 0", "--questions none", "--seed 0", "--save-every 10000", "--log-every 10"]),
        ("--batch_size 4 --grad_accumulation_steps=4 --learning_rate 2e-4", ["--accumulation 4 --lr 0.0002 "]),
        ("--batch_size 4 --batch_size 2", ["--batch-size 2 "]),
        ("--max_steps 200_005 --num_steps_before_decay 150000", ["--steps 200005 ", "--decay-step 150000 "]),
        ("--lr_warmup_steps 0.1", ["--warmup 0 "]), ("--lr_warmup_steps 100", ["--warmup 100 "]),
        ("--image_aug False", [" --no-augment ", "+b8+lr-0.0005 "]), ("--image_aug true", [" --augment "]),
        ("--num_images_in_input 1", ["--cameras image "]), ("--n_shot_episodes 5", ["--shots 5 "]),
        ("--n_shot_episodes None --run_id_note null", ["--image_aug "]),
        ("--save_latest_checkpoint_only True", ["--keep-checkpoints 1 "]),
        (
            "--use_lora True --lora_rank 64",
            ["--lora-rank 64 --lora-alpha 128 ", "+lora-r64+dropout-0.0--image_aug"]
        ),
        ("--use_proprio False", ["--no-proprio "]), ("--use_pro_version False", ["--policy base "]),
        ("--use_pro_version True", ["--policy pro "]),
        ("--console_log_freq 7", ["--progress-every 7"]),
        (
            "--dataset_name libero_4_task_suites_no_noops",
            ["--dataset libero_spatial_no_noops,libero_object_no_noops"]
        ),
        ("--run_root_dir out/ --run_id_override mine", ["--out out/mine "]),
        (
            "--learning_rate 5e-5 --run_id_note a",
            ["--out runs/small-vlm+libero_spatial_no_noops+b8+lr-5e-05--image_aug--a"]
        ),
        (
            "--use_craft True --craft_retention_budget 0.005 --craft_dual_lr 0.02",
            [
                "BaselineL1,AnchorVariants:layer=middle:tokens=vision_only:type=concat,CRaFTProjection:enable=true,"
                    + "CRaFTDual:budget=0.005:lr=0.02 "
            ]
        ),
        (
            "--use_craft True --craft_enable_projection False --craft_enable_dual False --craft_fixed_lambda 0.3",
            ["CRaFTProjection:enable=false,FixedMultiplier:value=0.3 "]
        ),
        (
            "--use_craft True --craft_anchor_type aq_only --craft_anchor_layer_idx -1 --craft_cr_token_mode vision_plus_prompt",
            ["AnchorVariants:layer=-1:tokens=vision_plus_prompt:type=aq_only,"]
        ),
        ("-- --threads 1 --seed=7", ["--threads 1 --seed=7"]),
    ]

    @Test(arguments: meanings.indices) func meansTheSame(_ index: Int) throws {
        let (flags, becomes) = Self.meanings[index]
        let (text, _) = try Self.line(Self.shipped + flags.split(separator: " ").map(String.init))
        for part in becomes { #expect(text.contains(part), "\(flags): \(text)") }
    }

    @Test func namesWhatTheDefaultsComeFrom() throws {
        let (text, notes) = try Self.line([
            "--use_craft", "True", "--max_steps", "3", "--wandb_project", "p", "--wandb_entity", "an e",
        ])
        #expect(text.contains("--cameras image,wrist_image") && text.contains("/small-vlm "))
        for part in [
            "no model is given", "no data set is given", "use_proprio is True", "num_images_in_input is 2",
            "craft wandb runs/small-vlm", "--project p --entity 'an e'",
        ] { #expect(notes.contains(part), "\(notes)") }
    }

    @Test func theOFTScriptHasItsOwnDefaults() throws {
        let arguments = ["--vla_path"] + Self.shipped.dropFirst()
        let (text, notes) = try Self.line(arguments + ["--num_diffusion_steps_train", "50"])
        #expect(text.contains("--lora-rank 32 --lora-alpha 16 "))
        #expect(notes.contains("OpenVLA-OFT's head"))
        try Self.expectRefusal(arguments + ["--vlm_path", "x"], .arguments, "--vla_path", "--vlm_path")
    }

    @Test func valuesFromAFileAreOverriddenByFlags() throws {
        let folder = try TemporaryFolder()
        let path = folder.path("run.yaml")
        try Data("batch_size: 2\nuse_lora: true\nlearning_rate: 1e-3\nrun_id_note: null\n".utf8)
            .write(to: URL(fileURLWithPath: path))
        let (text, _) = try Self.line(Self.shipped + ["--learning_rate", "0.01", "--config_path", path])
        #expect(text.contains("--batch-size 2 ") && text.contains("--lr 0.01 ") && text.contains("--lora-rank 32 "))
        try Data("batchsize: 2\n".utf8).write(to: URL(fileURLWithPath: path))
        try Self.expectRefusal(["--config_path", path], .malformedFile, "run.yaml", "batchsize", "'--batch_size'")
    }

    // MARK: - Refusals

    static let refusals: [(flags: String, code: CompatibilityErrorCode, says: [String])] = [
        ("--use_crafts True", .arguments, ["--use_crafts", "did you mean '--use_craft'?"]),
        ("--batch-size 4", .arguments, ["--batch-size", "'--batch_size'"]),
        ("--learning_rat 1", .arguments, ["'--learning_rate'"]),
        ("--seed 7", .arguments, ["--seed", "craft train", "-- --seed"]),
        ("--zzz 1", .arguments, ["--zzz", "--flags"]),
        ("runs", .arguments, ["'runs'"]), ("--use_lora", .arguments, ["--use_lora", "True or False"]),
        ("--use_lora maybe", .arguments, ["--use_lora", "maybe", "True or False"]),
        ("--batch_size 1.5", .arguments, ["--batch_size", "1.5"]),
        ("--batch_size None", .arguments, ["--batch_size", "None"]),
        ("--learning_rate fast", .arguments, ["--learning_rate", "fast"]),
        ("--learning_rate nan", .arguments, ["--learning_rate"]),
        ("--max_steps 0", .arguments, ["--max_steps", "0"]), ("--save_freq 0", .arguments, ["--save_freq"]),
        ("--batch_size 99999999999999999999", .arguments, ["--batch_size"]),
        ("--use_film True", .arguments, ["--use_film", "FiLM"]),
        ("--use_diffusion True", .arguments, ["--use_diffusion", "diffusion"]),
        ("--use_l1_regression False", .arguments, ["--use_l1_regression", "discrete"]),
        ("--use_val_set True", .arguments, ["--use_val_set", "--hold-out-every"]),
        ("--num_images_in_input 3", .arguments, ["--num_images_in_input", "--cameras"]),
        ("--num_images_in_input 9", .arguments, ["--num_images_in_input", "9"]),
        ("--use_lora True --lora_dropout 0.1", .arguments, ["--lora_dropout", "dropout"]),
        ("--use_lora True --use_fz True", .arguments, ["--use_fz", "--use_lora"]),
        ("--phase Inference", .arguments, ["--phase", "craft serve"]),
        ("--save_steps 5", .arguments, ["--save_steps", "--save_freq"]),
        ("--use_quantization True", .arguments, ["--use_quantization", "4-bit"]),
        ("--config_file_path openvla/openvla-7b", .arguments, ["openvla/openvla-7b", "downloads nothing"]),
        ("--vlm_path /nowhere --use_minivlm True", .arguments, ["--vlm_path", "/nowhere"]),
        (
            "--use_craft True --craft_retention_weight 2", .arguments,
            ["--craft_retention_weight", "--craft_fixed_lambda"]
        ),
        ("--use_craft True --craft_projection_eps 1e-3", .arguments, ["--craft_projection_eps"]),
        ("--use_craft True --craft_anchor_type both", .arguments, ["--craft_anchor_type", "aq_only"]),
        ("--use_craft True --craft_retention_budget -1", .arguments, ["--craft_retention_budget", "-1"]),
        ("--use_craft True --craft_log_freq 3", .arguments, ["--craft_log_freq", "--wandb_log_freq"]),
        ("--learning_rate 1e-4 -- --lr 1", .conflict, ["--lr", "--learning_rate"]),
        ("-- --out x", .arguments, ["--out", "--run_root_dir"]),
        ("--config_path /nowhere.yaml", .missingFile, ["/nowhere.yaml"]),
        ("--resume True --resume_step 5", .noRun, ["no run of craft"]),
        ("--resume True --resume_step 5 --resum_vla_path /nowhere/a--5_chkpt", .noRun, ["/nowhere/a", "no run"]),
    ]

    @Test(arguments: refusals.indices) func saysWhyNot(_ index: Int) throws {
        let (flags, code, says) = Self.refusals[index]
        try Self.expectRefusal(Self.shipped + flags.split(separator: " ").map(String.init), code, says)
    }

    @Test func aPrismaticModelIsToldHowToBecomeAFolder() throws {
        let folder = try TemporaryFolder()
        try FileManager.default.createDirectory(
            atPath: folder.path("prism/checkpoints"), withIntermediateDirectories: true)
        for file in ["prism/config.json", "prism/checkpoints/step-020792.pt"] {
            try Data("{}".utf8).write(to: URL(fileURLWithPath: folder.path(file)))
        }
        let model = ["--use_minivlm", "True", "--vlm_path", folder.path("prism")]
        try Self.expectRefusal(
            Self.shipped + model, .arguments, "--vlm_path", "Prismatic",
            "scripts/convert_checkpoint.py \(folder.path("prism/checkpoints/step-020792.pt"))")
        try FileManager.default.createDirectory(
            atPath: folder.path("tuned/lora_adapter"), withIntermediateDirectories: true)
        try FileManager.default.copyItem(
            atPath: Self.assets + "/small-vlm/config.json", toPath: folder.path("tuned/config.json"))
        try Self.expectRefusal(
            ["--config_file_path", folder.path("tuned")], .arguments, "adapter", "craft model merge")
    }
}
