internal import Foundation
internal import Tensors

/// A model on disk: `config.json`, `model.safetensors`, and, when the model has been fine-tuned, the action head, the
/// proprioception projector and a low-rank adapter beside them, in VLA-Adapter's layout and names.
public final class ModelFolder {
    public let path: String
    public let config: ModelConfig
    /// The vision-language model; nil for a folder with a configuration alone.
    public let backbone: SafetensorsFile?
    /// `action_head--*checkpoint.safetensors`, when there is one.
    public let actionHead: SafetensorsFile?
    /// `proprio_projector--*checkpoint.safetensors`, when there is one.
    public let proprioProjector: SafetensorsFile?
    /// `lora_adapter/adapter_model.safetensors`, when there is one.
    public let adapter: SafetensorsFile?
    /// Rank and alpha of the adapter.
    public let adapterSettings: AdapterSettings?

    public init(path: String) throws {
        self.path = path
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory), isDirectory.boolValue else {
            throw ModelError("\(path): no such model folder; --model takes a folder with config.json in it")
        }
        config = try ModelConfig(folder: path)
        backbone = try Self.open(path + "/model.safetensors")
        actionHead = try Self.component("action_head", in: path)
        proprioProjector = try Self.component("proprio_projector", in: path)
        adapter = try Self.open(path + "/lora_adapter/adapter_model.safetensors")
        adapterSettings =
            adapter == nil ? nil : try Self.readAdapterSettings(path + "/lora_adapter/adapter_config.json")
    }

    /// Tokeniser beside the weights.
    public var tokenizerPath: String { path + "/tokenizer.json" }

    /// The file and stored name of a parameter, or nil when this folder does not have it.
    public func location(of name: String) -> (file: SafetensorsFile, name: String)? {
        func find(_ file: SafetensorsFile?, _ candidates: [String]) -> (SafetensorsFile, String)? {
            guard let file, let name = candidates.first(where: { file.entry($0) != nil }) else { return nil }
            return (file, name)
        }
        if let rest = name.removingPrefix("action_head.") { return find(actionHead, [rest, "module." + rest]) }
        if let rest = name.removingPrefix("proprio_projector.") {
            return find(proprioProjector, [rest, "module." + rest])
        }
        if name.hasPrefix(AdapterSettings.prefix) { return find(adapter, [name]) }
        return find(adapter, [AdapterSettings.prefix + name]) ?? find(backbone, [name])
    }

    /// Copies stored values into a model. A part whose file is absent is left as it is.
    ///
    /// - Returns: names that no file has, for the caller to initialise: whole parts, or the action queries, which base
    ///   models lack.
    /// - Throws: when a file that is there lacks one of its tensors or holds another shape.
    public func load(into model: VLAModel) throws -> [String] {
        var absent: [String] = []
        var missing: [String: [String]] = [:]
        for parameter in model.parameters.parameters {
            guard let (file, stored) = location(of: parameter.name) else {
                let part = partFile(of: parameter.name)
                if let part, parameter.name != "action_queries.weight" {
                    missing[part.path, default: []].append(parameter.name)
                } else {
                    absent.append(parameter.name)
                }
                continue
            }
            try file.copyFloats(
                stored, shape: parameter.shape, into: model.parameters.values(parameter.id), count: parameter.count)
        }
        if let (file, names) = missing.min(by: { $0.key < $1.key }) {
            throw ModelError(
                "\(file): \(names.count) tensor\(names.count == 1 ? "" : "s") that \(path)/config.json calls for "
                    + "\(names.count == 1 ? "is" : "are") missing, the first being \(names[0]); "
                    + "is it the file of another model?")
        }
        return absent
    }

    /// The file that should hold a parameter, when it exists.
    private func partFile(of name: String) -> SafetensorsFile? {
        if name.hasPrefix("action_head.") { return actionHead }
        if name.hasPrefix("proprio_projector.") { return proprioProjector }
        if name.hasPrefix(AdapterSettings.prefix) { return adapter }
        return backbone
    }

    private static func open(_ path: String) throws -> SafetensorsFile? {
        FileManager.default.fileExists(atPath: path) ? try SafetensorsFile(path: path) : nil
    }

    /// The one file whose name has the component and "checkpoint" in it.
    private static func component(_ name: String, in folder: String) throws -> SafetensorsFile? {
        let files = try FileManager.default.contentsOfDirectory(atPath: folder).filter {
            $0.contains(name) && $0.contains("checkpoint") && $0.hasSuffix(".safetensors")
        }.sorted()
        guard files.count < 2 else {
            throw ModelError(
                "\(folder): \(files.count) files could be the \(name) (\(files.joined(separator: ", "))); leave one")
        }
        return try files.first.map { try SafetensorsFile(path: folder + "/" + $0) }
    }

    private static func readAdapterSettings(_ path: String) throws -> AdapterSettings {
        struct File: Decodable {
            var r: Int
            var lora_alpha: Double
        }
        guard let data = FileManager.default.contents(atPath: path),
            let file = try? JSONDecoder().decode(File.self, from: data), (1...65_536).contains(file.r)
        else {
            throw ModelError("\(path): expected PEFT's adapter_config.json with r (at least 1) and lora_alpha")
        }
        return AdapterSettings(rank: file.r, alpha: file.lora_alpha)
    }
}

extension ModelFolder {
    /// Writes a model in the layout that ``ModelFolder`` reads.
    ///
    /// - `source`: the folder the model came from; tensors it holds that take no part in training (a tower's last block,
    ///   an untied head) are carried over, and so is its tokeniser.
    /// - `storage`: type of the backbone's tensors in the file.
    public static func save(
        _ model: VLAModel, to folder: String, source: ModelFolder?,
        storage: SafetensorsWriter.Tensor.FloatStorage = .f32,
        withHead: Bool = true
    ) throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        var parts: [String: [SafetensorsWriter.Tensor]] = [:]
        let adapters: AdapterSettings? = if case .lowRank(let settings) = model.fineTuning { settings } else { nil }
        for parameter in model.parameters.parameters {
            let values = model.parameters.values(parameter.id)
            func add(_ file: String, _ name: String, _ storage: SafetensorsWriter.Tensor.FloatStorage = .f32) {
                parts[file, default: []].append(.init(name, shape: parameter.shape, pointer: values, as: storage))
            }
            if let rest = parameter.name.removingPrefix("action_head.") {
                if withHead { add("action_head--checkpoint.safetensors", rest) }
            } else if let rest = parameter.name.removingPrefix("proprio_projector.") {
                if withHead { add("proprio_projector--checkpoint.safetensors", rest) }
            } else if adapters != nil, parameter.isTrainable {
                let isAdapter = parameter.name.hasPrefix(AdapterSettings.prefix)
                add(
                    "lora_adapter/adapter_model.safetensors",
                    isAdapter ? parameter.name : AdapterSettings.prefix + parameter.name)
            } else if adapters == nil {
                add("model.safetensors", parameter.name, storage)
            }
        }
        if adapters == nil, let backbone = source?.backbone {
            let known = Set(model.parameters.parameters.map(\.name))
            for name in backbone.names where !known.contains(name) {
                guard let entry = backbone.entry(name) else { continue }
                parts["model.safetensors", default: []].append(
                    .init(name, shape: entry.shape, floats: try backbone.floats(name), as: storage))
            }
        }
        if let adapters {
            try FileManager.default.createDirectory(
                atPath: folder + "/lora_adapter", withIntermediateDirectories: true)
            try AtomicFile.write(
                adapterConfiguration(adapters, base: source?.path), to: folder + "/lora_adapter/adapter_config.json")
        }
        for (file, tensors) in parts.sorted(by: { $0.key < $1.key }) {
            try SafetensorsWriter.write(tensors, metadata: ["format": "pt"], to: folder + "/" + file)
        }
        try AtomicFile.write([UInt8](model.config.source), to: folder + "/config.json")
        if let source, let tokenizer = FileManager.default.contents(atPath: source.tokenizerPath) {
            try AtomicFile.write([UInt8](tokenizer), to: folder + "/tokenizer.json")
        }
    }

    /// PEFT's description of an adapter on every linear layer.
    private static func adapterConfiguration(_ settings: AdapterSettings, base: String?) throws -> [UInt8] {
        let object: [String: Any] = [
            "peft_type": "LORA", "r": settings.rank, "lora_alpha": settings.alpha, "lora_dropout": 0.0, "bias": "none",
            "fan_in_fan_out": false, "inference_mode": true, "base_model_name_or_path": base ?? "",
            "target_modules": [
                "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "qkv", "proj", "fc1",
                "fc2", "fc3",
            ],
        ]
        return [UInt8](try JSONSerialization.data(withJSONObject: object, options: [.prettyPrinted, .sortedKeys]))
    }
}

extension String {
    func removingPrefix(_ prefix: String) -> String? {
        hasPrefix(prefix) ? String(dropFirst(prefix.count)) : nil
    }
}
