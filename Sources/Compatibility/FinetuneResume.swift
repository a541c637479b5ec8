import Formats
import Foundation
import Models
import Processes
import Training

/// Names as the original scripts give them.
package enum FinetuneRunName {
    package static func trimmed(_ path: String) -> String {
        var path = path
        while path.hasSuffix("/"), path.count > 1 { path.removeLast() }
        return path
    }

    /// The run's folder: `--run_root_dir` and the run's name.
    package static func folder(_ arguments: FinetuneArguments, model: String) -> String {
        let root = trimmed(arguments.text("run_root_dir") ?? "runs")
        return root + "/" + (arguments.text("run_id_override") ?? name(arguments, model: model))
    }

    /// `<model>+<data set>+b<batch>+lr-<rate>[+frozen...][+lora-r<rank>...][--image_aug][--<note>]`.
    private static func name(_ arguments: FinetuneArguments, model: String) -> String {
        let source = arguments.givenText("config_file_path").map(trimmed) ?? model
        let data =
            arguments.givenText("dataset_name")
            ?? arguments.givenText("data_root_dir").map { last(trimmed($0)) } ?? Installation.dataset
        let batch = (arguments.whole("batch_size") ?? 1)
            .multipliedReportingOverflow(by: arguments.whole("grad_accumulation_steps") ?? 1).partialValue
        var name = "\(last(source))+\(data)+b\(batch)+lr-\(arguments.value("learning_rate"))"
        let dropout = "+dropout-\(arguments.value("lora_dropout"))"
        if arguments.truth("use_fz") { name += "+frozen" + dropout }
        if arguments.truth("use_lora") { name += "+lora-r\(arguments.value("lora_rank"))" + dropout }
        if arguments.truth("image_aug") { name += "--image_aug" }
        if let note = arguments.text("run_id_note") { name += "--" + note }
        return name
    }

    package static func last(_ path: String) -> String { URL(fileURLWithPath: path).lastPathComponent }

    /// `RUN--10000_chkpt` as run and step; nil for another path.
    package static func checkpoint(_ path: String) -> (run: String, step: Int)? {
        guard let match = trimmed(path).wholeMatch(of: /(.+)--([0-9]+)_chkpt/), let step = Int(match.2) else {
            return nil
        }
        return (String(match.1), step)
    }
}

/// `--resume True --resume_step N`: which run goes on, and whether the other flags agree with it.
package struct FinetuneResume {
    package let run: String
    package let step: Int
    package let hasAdapter: Bool
    package let notes: [String]

    package init(_ arguments: FinetuneArguments) throws {
        let sources = ["resum_vla_path", "config_file_path", "vla_path"]
        let source = sources.first { name in
            arguments.givenText(name).map { name == sources[0] || FinetuneRunName.checkpoint($0) != nil } ?? false
        }
        let path = source.flatMap(arguments.text).map(FinetuneRunName.trimmed)
        let named = path.flatMap(FinetuneRunName.checkpoint)
        let model = ["vla_path", "vlm_path"].lazy.compactMap(arguments.givenText).first ?? Installation.model
        run = named?.run ?? path ?? FinetuneRunName.folder(arguments, model: FinetuneRunName.trimmed(model))
        guard FileManager.default.fileExists(atPath: run + "/run.json") else {
            throw CompatibilityError(.noRun, Self.absent(run, path))
        }
        let checkpoints = CheckpointFolders(path: RunDirectory.checkpointsPath(of: run))
        guard let step = arguments.whole("resume_step") else {
            let steps = checkpoints.list().map { String($0.step) }.joined(separator: ", ")
            throw CompatibilityError(
                .conflict,
                "--resume True needs --resume_step N; \(run) has the steps \(steps.isEmpty ? "none" : steps)")
        }
        self.step = step
        if let source, let named, named.step != step {
            throw CompatibilityError(
                .conflict,
                "--resume_step is \(step), but --\(source) names step \(named.step); give the same for both")
        }
        _ = try checkpoints.checkpoint(atStep: step)
        if let steps = arguments.whole("max_steps"), steps <= step {
            throw CompatibilityError(
                .conflict, "--max_steps is \(steps), but the run goes on from step \(step); give more")
        }
        let settings = try RunSettings.read(run + "/config.json")
        hasAdapter = settings.adapter != nil
        let kept = try Self.compare(arguments, settings, run: run, source: path)
        var notes = kept ? ["what is not given stays as in \(run)/config.json"] : []
        if path != nil, arguments.isGiven("run_id_note") {
            notes.append("--run_id_note has no effect: a resumed run keeps its name, as in the original")
        }
        let later = checkpoints.list().map(\.step).filter { $0 > step }.map(String.init)
        if !later.isEmpty {
            notes.append("later checkpoints are renamed, set aside: those of steps \(later.joined(separator: ", "))")
        }
        self.notes = notes
    }

    private static func absent(_ run: String, _ path: String?) -> String {
        let names = path.flatMap { try? FileManager.default.contentsOfDirectory(atPath: $0) } ?? []
        if names.contains(where: { $0.contains("checkpoint") || $0 == "lora_adapter" }) {
            return
                "\(path ?? run) is a checkpoint, but there is no run of craft at \(run) to go on with. Training can start "
                + "anew from such weights: --config_file_path \(path ?? run) without --resume, after "
                + "scripts/convert_checkpoint.py where they are PyTorch files"
        }
        return
            "\(run): no run of craft to resume there; --resum_vla_path names a checkpoint, RUN--10000_chkpt, or a run; "
            + "without it the run's name follows from the other flags as for a new run"
    }

    /// Refuses flags that contradict the run. Returns whether there are settings that no flag speaks of.
    private static func compare(
        _ arguments: FinetuneArguments, _ settings: RunSettings, run: String, source: String?
    ) throws -> Bool {
        var stored = FinetunePlugins.flags(settings.plugins)
        stored["batch_size"] = String(settings.batchSize)
        stored["grad_accumulation_steps"] = String(settings.accumulation)
        stored["learning_rate"] = String(settings.learningRate)
        stored["lr_warmup_steps"] = String(settings.warmupSteps)
        stored["num_steps_before_decay"] =
            settings.schedule == .multistep
            ? String(settings.decayStep) : "the schedule \(settings.schedule.rawValue)"
        stored["image_aug"] = settings.augments ? "True" : "False"
        stored["use_lora"] = settings.adapter == nil ? "False" : "True"
        stored["lora_rank"] = settings.adapter.map { String($0.rank) }
        stored["save_freq"] = String(settings.saveEvery)
        stored["save_latest_checkpoint_only"] = settings.keepCheckpoints == 1 ? "True" : "False"
        stored["wandb_log_freq"] = String(settings.logEvery)
        stored["n_shot_episodes"] = settings.shots.map(String.init) ?? "None"
        stored["num_images_in_input"] = String(settings.cameras.count)
        stored["use_pro_version"] = settings.proPolicy.map { $0 ? "True" : "False" }
        stored["use_proprio"] = settings.usesProprio == false ? "False" : "True"
        stored["data_root_dir"] = settings.data
        stored["dataset_name"] = settings.dataset.isEmpty ? nil : settings.dataset
        stored["run_root_dir"] = URL(fileURLWithPath: run).deletingLastPathComponent().path
        stored["run_id_override"] = FinetuneRunName.last(run)
        for name in ["config_file_path", "vlm_path", "vla_path"] { stored[name] = settings.model }

        let contradictions = stored.sorted { $0.key < $1.key }.compactMap { name, text -> String? in
            guard let flag = FinetuneFlags.byName[name], arguments.isGiven(name),
                flag.needs.map(arguments.truth) ?? true
            else { return nil }
            // A configuration of its own beside vlm_path says nothing about the weights.
            if name == "config_file_path", arguments.truth("use_minivlm"), arguments.isGiven("vlm_path") { return nil }
            let given = arguments.value(name)
            if isSame(given, text, flag) || given.description == source { return nil }
            return "--\(name) is \(given), but the run has \(text)"
        }
        guard contradictions.isEmpty else {
            throw CompatibilityError(
                .arguments,
                contradictions.joined(separator: "\n")
                    + "\n\(run) goes on with the settings it began with; leave those flags "
                    + "out, or start a new run without --resume")
        }
        return stored.keys.contains { !arguments.isGiven($0) }
    }

    private static func isSame(_ given: FinetuneValue, _ text: String, _ flag: FinetuneFlag) -> Bool {
        switch given {
        case .text(let value):
            let value = flag.name == "dataset_name" ? FinetuneFlags.dataset(value) : value
            let isPath = ["run_root_dir", "data_root_dir", "config_file_path", "vlm_path", "vla_path"].contains(
                flag.name)
            guard isPath else { return value == text }
            return URL(fileURLWithPath: value).standardizedFileURL.path
                == URL(fileURLWithPath: text).standardizedFileURL.path
        case .number(let value) where flag.name == "lr_warmup_steps": return Double(text) == value.rounded(.down)
        default: return (try? flag.parse(text)) == given
        }
    }
}
