import Foundation
package import Models
import Processes

/// The model folder that an original command means, and what speaks against it.
package struct FinetuneModel {
    package private(set) var path = ""
    /// The flag that names it; nil when none does.
    package private(set) var flag: String?
    package private(set) var config: ModelConfig?
    package private(set) var notes: [String] = []
    package private(set) var problems: [String] = []
    private let arguments: FinetuneArguments

    /// Whether the action head in the folder, which the run starts from, is the Pro one; nil when it holds none.
    package var actionHeadIsPro: Bool? {
        guard let folder = try? ModelFolder(path: path), folder.actionHead != nil else { return nil }
        return folder.config.policy.pro
    }

    package init(_ arguments: FinetuneArguments) {
        self.arguments = arguments
        find()
    }

    private mutating func find() {
        let flag: String
        if arguments.isGiven("vla_path") {
            flag = "vla_path"
            notes.append(
                "craft trains VLA-Adapter's policy, not OpenVLA-OFT's head on the last hidden states; the decoder is causal "
                    + "unless the model's config.json has \"craft_causal\": false")
        } else if arguments.truth("use_minivlm"), arguments.isGiven("vlm_path") {
            flag = "vlm_path"
        } else if arguments.isGiven("config_file_path") {
            flag = "config_file_path"
        } else if arguments.isGiven("vlm_path") {
            problems.append(
                "--vlm_path is read with --use_minivlm True only; give that too, or the model as --config_file_path")
            return
        } else {
            notes.append("no model is given: the small one that ships with craft, \(Installation.model)")
            path = Installation.model
            config = try? ModelConfig(folder: path)
            return
        }
        self.flag = flag
        path = FinetuneRunName.trimmed(arguments.text(flag) ?? "")
        let names = try? FileManager.default.contentsOfDirectory(atPath: path)
        guard let names else {
            problems.append(
                "--\(flag): there is no folder \(path); craft downloads nothing. From the Hugging Face Hub: hf download "
                    + " \(ShellText.quoted(path)) --local-dir FOLDER")
            return
        }
        if let problem = Self.missing(in: path, names, configuration: arguments.givenText("config_file_path")) {
            problems.append("--\(flag): \(problem)")
            return
        }
        do {
            let config = try ModelConfig(folder: path)
            checkPrompt(config, path)
            if names.contains("lora_adapter") {
                problems.append(
                    "--\(flag): \(path) holds an adapter, which the original leaves unread; fold it into the weights first: "
                        + ShellText.command(["craft", "model", "merge", path, "--out"])
                        + " NEW, or, if they have it in "
                        + "them already, move lora_adapter away")
            }
            if flag == "vlm_path" { compare(config, path) }
            self.config = config
        } catch {
            problems.append("\(error)")
        }
    }

    /// What a folder lacks to start from, and how to get it; nil when it looks whole.
    private static func missing(in path: String, _ names: [String], configuration: String?) -> String? {
        let hasWeights = names.contains { $0.hasSuffix(".safetensors") }
        if hasWeights || (names.contains("config.json") && !names.contains("checkpoints")) {
            guard !names.contains("config.json") else { return nil }
            let from = configuration.map { " (\($0) has them, it seems)" } ?? ""
            return "\(path) has no config.json; put it and tokenizer.json beside the weights\(from)"
        }
        // A Prismatic model: config.json of another kind, and checkpoints/*.pt.
        let files = (try? FileManager.default.contentsOfDirectory(atPath: path + "/checkpoints")) ?? []
        guard let file = files.filter({ $0.hasSuffix(".pt") }).max() else {
            return "\(path) is not a model folder: it has neither config.json nor safetensors"
        }
        let convert = ["python3", "scripts/convert_checkpoint.py", "\(path)/checkpoints/\(file)", "NEW"]
        return
            "\(path) is a Prismatic model in PyTorch's format; \(ShellText.command(convert)) makes safetensors of it. "
            + "Put config.json and tokenizer.json of \(configuration ?? "--config_file_path") beside them, then give NEW"
    }

    /// The configuration of `config_file_path` must be that of the weights.
    private mutating func compare(_ config: ModelConfig, _ path: String) {
        guard let other = arguments.givenText("config_file_path").map(FinetuneRunName.trimmed), other != path else {
            return
        }
        do {
            guard try ModelConfig(folder: other).summary != config.summary else { return }
            problems.append(
                "--config_file_path \(other) describes another model than the config.json of --vlm_path \(path); craft takes "
                    + "both from one folder, so leave --config_file_path out or make them agree")
        } catch { problems.append("--config_file_path: \(error)") }
    }

    private mutating func checkPrompt(_ config: ModelConfig, _ path: String) {
        let isChat = config.promptTemplate == ModelConfig.chatPrompt
        let isPlain = config.promptTemplate == ModelConfig.plainPrompt
        guard arguments.isGiven("use_minivlm") || arguments.isOFT else {
            if isChat { notes.append("the model has the chat prompt, that of --use_minivlm True, which craft uses") }
            return
        }
        if arguments.truth("use_minivlm"), isPlain {
            problems.append(
                "--use_minivlm True asks for the chat prompt, but \(path)/config.json has OpenVLA's decoder")
        } else if !arguments.truth("use_minivlm"), isChat {
            problems.append(
                "the prompt would be OpenVLA's (--use_minivlm False), but \(path)/config.json has a Qwen decoder, whose "
                    + "prompt is the chat one; give --use_minivlm True")
        }
    }
}
