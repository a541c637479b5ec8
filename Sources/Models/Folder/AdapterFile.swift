package import Formats
internal import Foundation

/// A low-rank adapter in PEFT's layout: `adapter_config.json` beside `adapter_model.safetensors`.
package final class AdapterFile: Sendable {
    package let file: SafetensorsFile
    package let settings: AdapterSettings
    /// `base_model_name_or_path`: the model that the adapter was trained on; may be empty.
    package let baseModel: String

    /// Opens the adapter in `folder`; nil when there is none.
    package static func open(in folder: String) throws -> AdapterFile? {
        let weights = folder + "/adapter_model.safetensors"
        guard FileManager.default.fileExists(atPath: weights) else {
            if FileManager.default.fileExists(atPath: folder + "/adapter_model.bin") {
                throw FileError(
                    path: folder + "/adapter_model.bin", .unsupported,
                    "is a PyTorch file; turn it into safetensors with scripts/convert_checkpoint.py")
            }
            guard !FileManager.default.fileExists(atPath: folder + "/adapter_config.json") else {
                throw FileError(
                    path: weights, .missing, "is missing, though its adapter_config.json is there; copy both or neither"
                )
            }
            return nil
        }
        return try AdapterFile(weights: weights, config: folder + "/adapter_config.json")
    }

    private init(weights: String, config path: String) throws {
        file = try SafetensorsFile(path: weights)
        let config = try AdapterConfiguration(path)
        baseModel = config.baseModel
        var halves: [String: Set<String>] = [:]
        for name in file.names {
            guard let key = AdapterKey(name) else {
                if name == AdapterKey.prefix + ModelPart.actionQueriesName { continue }
                throw FileError(
                    path: weights,
                    "tensor '\(name)' is not part of a LoRA adapter: expected \(AdapterKey.name(of: "<module>", .a)) or "
                        + "lora_B.weight, or \(AdapterKey.prefix)\(ModelPart.actionQueriesName)")
            }
            halves[key.module, default: []].insert(key.factor.rawValue)
        }
        if let (module, found) = halves.filter({ $0.value.count < 2 }).min(by: { $0.key < $1.key }),
            let half = found.first
        {
            throw FileError(
                path: weights, "has lora_\(half) of '\(module)' alone; expected both lora_A.weight and lora_B.weight")
        }
        if let module = halves.keys.filter({ !config.targets($0) }).min() {
            throw FileError(
                path: weights,
                "adapts '\(module)', which target_modules in adapter_config.json does not list: PEFT would leave that part out; "
                    + "are the two of the same adapter?")
        }
        // With rank stabilisation the scale is alpha / sqrt(r): the same as a larger alpha without it.
        let alpha = config.isRankStabilised ? config.alpha * Double(config.rank).squareRoot() : config.alpha
        settings = AdapterSettings(rank: config.rank, alpha: alpha, modules: halves.keys.sorted())
    }

    /// Checks names and shapes against an architecture.
    ///
    /// - Throws: ``FileError`` naming the first tensor that belongs to another base model.
    func check(against layout: CheckpointLayout) throws {
        let modules = Dictionary(uniqueKeysWithValues: layout.modules.map { ($0.name, $0) })
        for name in file.names {
            guard let key = AdapterKey(name), let entry = file.entry(name) else { continue }
            guard let module = modules[key.module] else {
                throw FileError(
                    path: file.path, .mismatched,
                    "tensor '\(name)' adapts '\(key.module)', which the model does not have; was the adapter trained on "
                        + "another base\(baseModel.isEmpty ? "" : " (its configuration names \(baseModel))")?")
            }
            let (a, b) = module.adapterShapes(rank: settings.rank)
            let expected = key.factor == .a ? a : b
            guard entry.shape == expected else {
                throw FileError(
                    path: file.path, .mismatched,
                    "tensor '\(name)': the model and r = \(settings.rank) call for the shape \(expected), found "
                        + "\(entry.shape); was the adapter trained on another base?")
            }
        }
    }
}

extension String {
    func removingPrefix(_ prefix: String) -> String? {
        hasPrefix(prefix) ? String(dropFirst(prefix.count)) : nil
    }
}
