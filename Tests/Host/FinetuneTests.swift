import Foundation
import TestSupport
import Testing

/// The original scripts' flags.
extension HostTests {
    @Suite struct FinetuneTests {
        /// What the shipped model needs of an original command.
        static let shipped = [
            "--config_file_path", CraftCommand.assets + "/small-vlm", "--data_root_dir",
            CraftCommand.assets + "/libero-sample", "--dataset_name", "libero_spatial_no_noops",
            "--num_images_in_input",
            "2", "--use_proprio", "True",
        ]

        /// The printed line of a command that is accepted.
        static func line(
            _ arguments: [String], at location: SourceLocation = #_sourceLocation
        ) throws -> (text: String, notes: String) {
            let folder = try TemporaryFolder()
            let result = try CraftCommand.run(["finetune", "--print-only"] + arguments, in: folder.url)
            #expect(result.status == 0, "\(arguments): \(result.output)", sourceLocation: location)
            return (result.standardOutput.replacing("\n", with: " "), result.standardError)
        }

        // MARK: - The table

        struct Row {
            let name: String
            let type: String
            let standard: String
            let oftStandard: String?
        }

        /// The rows of a Markdown table of flags.
        static func rows(_ markdown: String) -> [String: Row] {
            let rows = markdown.split(separator: "\n").filter { $0.hasPrefix("| `--") }.map { line in
                let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
                let values = cells[2].matches(of: /`([^`]*)`/).map { String($0.1) }
                return Row(
                    name: cells[0].filter { $0 != "`" }.replacing("--", with: ""), type: cells[1], standard: values[0],
                    oftStandard: values.count > 1 ? values[1] : nil)
            }
            return Dictionary(uniqueKeysWithValues: rows.map { ($0.name, $0) })
        }

        @Test(arguments: ["vla-adapter", "craft", "openvla-oft"])
        func everyFlagOfTheScriptIsKnownWithItsDefault(_ script: String) throws {
            let rows = Self.rows(try CraftCommand.run(["finetune", "--flags"]).standardOutput)
            let file = BuildFolder.fixture("finetune/\(script).tsv")
            let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
            #expect(lines.count > 30)
            for line in lines {
                let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
                guard let row = rows[fields[0]] else {
                    Issue.record("--\(fields[0]) is missing")
                    continue
                }
                let standard = script == "openvla-oft" ? row.oftStandard ?? row.standard : row.standard
                let isSame = standard == fields[2] || Double(standard).map { $0 == Double(fields[2]) } ?? false
                #expect(isSame, "--\(fields[0]): \(standard), the script has \(fields[2])")
                // VLA-Adapter calls the warm-up an int and gives it 0.1.
                let types = ["Path": "str", "Optional[str]": "str", "Optional[int]": "int"]
                let type = fields[0] == "lr_warmup_steps" ? "float" : types[fields[1]] ?? fields[1]
                #expect(row.type == type, "--\(fields[0])")
            }
        }

        @Test func theGuideHasTheTableOfTheCode() throws {
            let guide = try String(
                contentsOf: BuildFolder.repository.appendingPathComponent("docs/FINETUNE.md"), encoding: .utf8)
            let table = try CraftCommand.run(["finetune", "--flags"]).standardOutput
            #expect(
                guide.contains(table), "docs/FINETUNE.md is not up to date: put in what craft finetune --flags prints")
        }

        @Test func everyFlagIsAcceptedAtItsDefault() throws {
            let rows = Self.rows(try CraftCommand.run(["finetune", "--flags"]).standardOutput)
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
            CraftCommand.expectRefusal(
                try CraftCommand.run(["finetune", "--print-only"] + arguments + ["--vlm_path", "x"]), "--vla_path",
                "--vlm_path")
        }

        @Test func valuesFromAFileAreOverriddenByFlags() throws {
            let folder = try TemporaryFolder()
            let path = folder.path("run.yaml")
            try Data("batch_size: 2\nuse_lora: true\nlearning_rate: 1e-3\nrun_id_note: null\n".utf8)
                .write(to: URL(fileURLWithPath: path))
            let (text, _) = try Self.line(Self.shipped + ["--learning_rate", "0.01", "--config_path", path])
            #expect(text.contains("--batch-size 2 ") && text.contains("--lr 0.01 ") && text.contains("--lora-rank 32 "))
            try Data("batchsize: 2\n".utf8).write(to: URL(fileURLWithPath: path))
            CraftCommand.expectRefusal(
                try CraftCommand.run(["finetune", "--config_path", path]), "run.yaml", "batchsize", "'--batch_size'")
        }

        // MARK: - Refusals

        static let refusals: [(flags: String, says: [String])] = [
            ("--use_crafts True", ["--use_crafts", "did you mean '--use_craft'?"]),
            ("--batch-size 4", ["--batch-size", "'--batch_size'"]), ("--learning_rat 1", ["'--learning_rate'"]),
            ("--seed 7", ["--seed", "craft train", "-- --seed"]), ("--zzz 1", ["--zzz", "--flags"]),
            ("runs", ["'runs'"]), ("--use_lora", ["--use_lora", "True or False"]),
            ("--use_lora maybe", ["--use_lora", "maybe", "True or False"]),
            ("--batch_size 1.5", ["--batch_size", "1.5"]),
            ("--batch_size None", ["--batch_size", "None"]), ("--learning_rate fast", ["--learning_rate", "fast"]),
            ("--learning_rate nan", ["--learning_rate"]), ("--learning_rate -1", ["--lr"]),
            ("--max_steps 0", ["--max_steps", "0"]), ("--save_freq 0", ["--save_freq"]),
            ("--batch_size 99999999999999999999", ["--batch_size"]),
            ("--use_film True", ["--use_film", "FiLM"]), ("--use_diffusion True", ["--use_diffusion", "diffusion"]),
            ("--use_l1_regression False", ["--use_l1_regression", "discrete"]),
            ("--use_val_set True", ["--use_val_set", "--hold-out-every"]),
            ("--num_images_in_input 3", ["--num_images_in_input", "--cameras"]),
            ("--num_images_in_input 9", ["--num_images_in_input", "9"]),
            ("--use_lora True --lora_dropout 0.1", ["--lora_dropout", "dropout"]),
            ("--use_lora True --use_fz True", ["--use_fz", "--use_lora"]),
            ("--phase Inference", ["--phase", "craft serve"]), ("--save_steps 5", ["--save_steps", "--save_freq"]),
            ("--use_quantization True", ["--use_quantization", "4-bit"]),
            ("--config_file_path openvla/openvla-7b", ["openvla/openvla-7b", "downloads nothing"]),
            ("--vlm_path /nowhere --use_minivlm True", ["--vlm_path", "/nowhere"]),
            ("--use_craft True --craft_retention_weight 2", ["--craft_retention_weight", "--craft_fixed_lambda"]),
            ("--use_craft True --craft_projection_eps 1e-3", ["--craft_projection_eps"]),
            ("--use_craft True --craft_anchor_type both", ["--craft_anchor_type", "aq_only"]),
            ("--use_craft True --craft_retention_budget -1", ["--craft_retention_budget", "-1"]),
            ("--use_craft True --craft_log_freq 3", ["--craft_log_freq", "--wandb_log_freq"]),
            ("--learning_rate 1e-4 -- --lr 1", ["--lr", "--learning_rate"]),
            ("-- --out x", ["--out", "--run_root_dir"]),
            ("-- --no-such", ["--no-such"]), ("--config_path /nowhere.yaml", ["/nowhere.yaml"]),
            ("--resume True --resume_step 5", ["no run of craft"]),
            ("--resume True --resume_step 5 --resum_vla_path /nowhere/a--5_chkpt", ["/nowhere/a", "no run"]),
        ]

        @Test(arguments: refusals.indices) func saysWhyNot(_ index: Int) throws {
            let (flags, says) = Self.refusals[index]
            let folder = try TemporaryFolder()
            let result = try CraftCommand.run(
                ["finetune"] + Self.shipped + flags.split(separator: " ").map(String.init), in: folder.url)
            #expect(result.status == 2, "\(flags): \(result.output)")
            #expect(result.standardOutput.isEmpty, "\(flags): \(result.standardOutput)")
            for word in says { #expect(result.standardError.contains(word), "\(flags): \(result.standardError)") }
            #expect(try CraftCommand.files(in: folder.url.path).isEmpty)
        }

        @Test func aPrismaticModelIsToldHowToBecomeAFolder() throws {
            let folder = try TemporaryFolder()
            try FileManager.default.createDirectory(
                atPath: folder.path("prism/checkpoints"), withIntermediateDirectories: true)
            for file in ["prism/config.json", "prism/checkpoints/step-020792.pt"] {
                try Data("{}".utf8).write(to: URL(fileURLWithPath: folder.path(file)))
            }
            let model = ["--use_minivlm", "True", "--vlm_path", folder.path("prism")]
            CraftCommand.expectRefusal(
                try CraftCommand.run(["finetune"] + Self.shipped + model), "--vlm_path", "Prismatic",
                "scripts/convert_checkpoint.py \(folder.path("prism/checkpoints/step-020792.pt"))")
            try FileManager.default.createDirectory(
                atPath: folder.path("tuned/lora_adapter"), withIntermediateDirectories: true)
            try FileManager.default.copyItem(
                atPath: CraftCommand.assets + "/small-vlm/config.json", toPath: folder.path("tuned/config.json"))
            CraftCommand.expectRefusal(
                try CraftCommand.run(["finetune", "--config_file_path", folder.path("tuned")]), "adapter",
                "craft model merge")
        }

        // MARK: - Runs

        /// The metrics of each step, without the times.
        static func losses(_ run: String) throws -> [String] {
            try String(contentsOfFile: run + "/metrics.jsonl", encoding: .utf8).split(separator: "\n").map { line in
                String(line.replacing(/"(time|ms)":[^,}]*/, with: ""))
            }
        }

        static let small = [
            "--batch_size", "2", "--wandb_log_freq", "1", "--use_craft", "True", "--craft_log_freq", "1",
            "--run_id_note",
            "it's one", "--console_log_freq", "2",
        ]
        static let name = "runs/small-vlm+libero_spatial_no_noops+b2+lr-0.0005--image_aug--it's one"

        @Test func thePrintedLineTrainsTheSame() throws {
            let (one, two) = (try TemporaryFolder(), try TemporaryFolder())
            let result = try CraftCommand.run(
                ["finetune"] + Self.shipped + Self.small + ["--max_steps", "3"], in: one.url)
            #expect(result.status == 0, "\(result.output)")
            let line = try #require(result.standardOutput.split(separator: "\n").first)
            #expect(line.hasPrefix("craft train "))
            let again = try Command.run(
                ["bash", "-c", "PATH=\"$1:$PATH\"; \(line)", "bash", BuildFolder.url.path], in: two.url,
                environment: CraftCommand.environment)
            #expect(again.status == 0, "\(again.output)")
            let losses = try Self.losses(one.path(Self.name))
            #expect(losses.count == 3 && losses.allSatisfy { $0.contains("CRaFT/Retention Loss") })
            #expect(try Self.losses(two.path(Self.name)) == losses)
            let model = "/checkpoints/step-000003/model.safetensors"
            #expect(
                try Data(contentsOf: URL(fileURLWithPath: one.path(Self.name) + model))
                    == Data(contentsOf: URL(fileURLWithPath: two.path(Self.name) + model)))
            // The checkpoint has the original's name, and is a model folder under it.
            let info = try CraftCommand.run(["model", "info", one.path(Self.name) + "--3_chkpt"])
            #expect(info.status == 0, "\(info.output)")
            let progress = try String(contentsOfFile: one.path(Self.name) + "/train_progress.log", encoding: .utf8)
            #expect(progress.contains("step 2/3") && !progress.contains("step 1/3"), "\(progress)")
            // So has what wandb sync takes.
            let sync = try #require(
                result.standardOutput.split(separator: "\n").first { $0.hasPrefix("wandb sync ") })
            #expect(sync.contains("/wandb/offline-run-"))
            // The same command again, as after a baseline or Ctrl-C: the earlier run is kept under another name.
            let rerun = try CraftCommand.run(
                ["finetune"] + Self.shipped + Self.small + ["--max_steps", "2", "--save_freq", "1"], in: one.url)
            #expect(rerun.status == 0, "\(rerun.output)")
            #expect(rerun.standardError.contains("there is a run of this name already"))
            #expect(try Self.losses(one.path(Self.name)).count == 2)
            #expect(try Self.losses(one.path(Self.name + ".earlier-1")) == losses)
            let names = try FileManager.default.contentsOfDirectory(atPath: one.url.appendingPathComponent("runs").path)
            let last = FinetuneRunNames.last(Self.name)
            #expect(
                names.filter { $0.hasSuffix("_chkpt") }.sorted()
                    == ["\(last)--1_chkpt", "\(last)--2_chkpt", "\(last).earlier-1--3_chkpt"].sorted(), "\(names)")
            for name in names {
                #expect(CraftCommand.exists(one.path("runs/" + name)), "\(name) leads nowhere")
            }
        }

        private enum FinetuneRunNames {
            static func last(_ path: String) -> String { URL(fileURLWithPath: path).lastPathComponent }
        }

        @Test func resumingGivesTheRunThatWasNeverStopped() throws {
            let (one, two) = (try TemporaryFolder(), try TemporaryFolder())
            let straight = ["finetune"] + Self.shipped + Self.small + ["--max_steps", "4", "--save_freq", "1"]
            #expect(try CraftCommand.run(straight, in: one.url).status == 0)
            let first = ["finetune"] + Self.shipped + Self.small + ["--max_steps", "3", "--save_freq", "1"]
            #expect(try CraftCommand.run(first, in: two.url).status == 0)
            let checkpoint = Self.name + "--2_chkpt"
            let resume = ["finetune", "--resume", "True", "--resume_step", "2", "--max_steps", "4"]
            var result = try CraftCommand.run(
                resume + ["--resum_vla_path", checkpoint, "--config_file_path", checkpoint, "--use_craft", "True"],
                in: two.url)
            #expect(result.status == 0, "\(result.output)")
            #expect(
                result.standardOutput.contains(
                    "craft train --resume '\(Self.name.replacing("'", with: "'\\''"))' --resume-step 2 --steps 4"))
            #expect(try Self.losses(one.path(Self.name)) == Self.losses(two.path(Self.name)))
            #expect(result.standardError.contains("set aside") && result.standardError.contains("steps 3"))
            #expect(CraftCommand.exists(two.path(Self.name) + "/checkpoints/step-000003.set-aside"))
            // The run is found by the other flags as well, and goes on with its own settings only.
            result = try CraftCommand.run(
                resume + Self.shipped + Self.small + [
                    "--learning_rate", "0.001", "--run_id_override", String(Self.name.dropFirst(5)),
                ],
                in: two.url)
            CraftCommand.expectRefusal(result, "--learning_rate is 0.001", "0.0005")
            result = try CraftCommand.run(resume + Self.shipped + Self.small + ["--print-only"], in: two.url)
            #expect(result.status == 0, "\(result.output)")
            for (more, words) in [
                (["--resume_step", "9", "--max_steps", "12"], ["step-000009", "steps 1, 2, 3, 4"]),
                (["--max_steps", "2"], ["--max_steps"]), (["--resum_vla_path", Self.name + "--1_chkpt"], ["step 1"]),
                (["--craft_retention_budget", "0.2"], ["--craft_retention_budget is 0.2", "0.1"]),
            ] {
                let result = try CraftCommand.run(resume + Self.shipped + Self.small + more, in: two.url)
                #expect(result.status == 2, "\(more)")
                for word in words { #expect(result.standardError.contains(word), "\(more): \(result.standardError)") }
            }
        }

        @Test func checkpointsAreMerged() throws {
            let folder = try TemporaryFolder()
            let result = try CraftCommand.run(
                ["finetune"] + Self.shipped + [
                    "--batch_size", "2", "--max_steps", "2", "--use_lora", "True", "--lora_rank", "4",
                    "--merge_lora_during_training", "True", "--save_freq", "1", "--save_latest_checkpoint_only", "True",
                    "--run_id_override", "run",
                ], in: folder.url)
            #expect(result.status == 0, "\(result.output)")
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: folder.path("runs/run/checkpoints")) == [
                    "step-000002"
                ])
            let merged = folder.path("runs/run--2_chkpt")
            #expect(try CraftCommand.files(in: merged).contains("model.safetensors"))
            #expect(
                !CraftCommand.exists(merged + "/lora_adapter") && !CraftCommand.exists(folder.path("runs/run--1_chkpt"))
            )
        }
    }
}
