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

        @Test func theFlagsArePrintedAsATable() throws {
            let table = try CraftCommand.run(["finetune", "--flags"])
            #expect(table.status == 0 && table.standardOutput.hasPrefix("|"), "\(table.output)")
            #expect(table.standardOutput.contains("| `--use_craft` |"))
        }

        /// The line goes to standard output, notes and refusals to standard error.
        @Test func theLineAloneIsPrinted() throws {
            let (text, notes) = try Self.line(Self.shipped + ["--batch_size", "4", "--", "--seed", "7"])
            #expect(text.hasPrefix("craft train ") && text.contains("--batch-size 4 ") && text.contains("--seed 7"))
            #expect(notes.contains("note: "))
        }

        @Test(arguments: [
            (["--learning_rate", "-1"], "--lr"), (["--", "--no-such"], "--no-such"), (["--use_film", "True"], "FiLM"),
            (["--seed", "7"], "-- --seed"), (["--resume", "True", "--resume_step", "5"], "no run of craft"),
        ])
        func whatCannotRunIsRefused(_ flags: [String], _ words: String) throws {
            let folder = try TemporaryFolder()
            let result = try CraftCommand.run(["finetune"] + Self.shipped + flags, in: folder.url)
            CraftCommand.expectRefusal(result, words)
            #expect(try CraftCommand.files(in: folder.url.path).isEmpty)
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
