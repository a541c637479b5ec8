package import Formats
internal import Foundation

/// PEFT's `adapter_config.json` of an adapter whose arithmetic is plain LoRA: W + alpha / r B A.
///
/// Every key is understood, known to change nothing, or refused by name: a key that is passed over could mean other weights.
package struct AdapterConfiguration {
    package let rank: Int
    /// `lora_alpha`.
    package let alpha: Double
    /// Whether the scale is alpha / sqrt(r) instead of alpha / r.
    package let isRankStabilised: Bool
    /// `base_model_name_or_path`; may be empty.
    let baseModel: String
    private let target: Target

    private enum Target {
        case all
        /// Names of modules, or their ends.
        case names([String])
        /// A pattern that the whole name matches, as Python's `re.fullmatch` has it.
        case pattern(Regex<AnyRegexOutput>)
    }

    package init(_ path: String) throws(FileError) {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw FileError(path: path, .missing, "is missing; PEFT writes it beside adapter_model.safetensors")
        }
        func fail(_ sentence: String) -> FileError { FileError(path: path, sentence) }
        guard let object = (try? JSONSerialization.jsonObject(with: PythonJSON.conforming(data))) as? [String: Any]
        else {
            throw fail("is not PEFT's adapter_config.json: \(PythonJSON.fault(in: data) ?? "it is not a JSON object")")
        }
        for (key, value) in object.sorted(by: { $0.key < $1.key }) {
            guard !Self.understood.contains(key), !Self.irrelevant.contains(key), !Self.isVoid(value) else { continue }
            throw fail(
                "has \(key) = \(Self.shown(value)); craft reads plain LoRA adapters of one rank and alpha, and this key "
                    + (Self.refused.contains(key) ? "changes their arithmetic" : "is not known to it"))
        }
        if let kind = object["peft_type"] as? String, kind != "LORA" {
            throw fail("has peft_type \(kind); craft reads plain LoRA adapters")
        }
        if let bias = object["bias"], !Self.isVoid(bias), bias as? String != "none" {
            throw fail("has bias = \(Self.shown(bias)); craft reads LoRA adapters without biases")
        }
        try Self.checkInitialisation(object["init_lora_weights"], fail)
        guard let number = object["r"] as? NSNumber, let rank = Int(exactly: number.doubleValue),
            (1...65_536).contains(rank)
        else { throw fail("r is \(Self.shown(object["r"])); expected a whole number from 1 to 65536") }
        guard let alpha = (object["lora_alpha"] as? NSNumber)?.doubleValue, alpha.isFinite else {
            throw fail("lora_alpha is \(Self.shown(object["lora_alpha"])); expected a number")
        }
        (self.rank, self.alpha) = (rank, alpha)
        isRankStabilised = object["use_rslora"] as? Bool ?? false
        baseModel = object["base_model_name_or_path"] as? String ?? ""
        switch object["target_modules"] {
        case let names as [String]: target = .names(names)
        case let text as String where text != "all-linear":
            guard let pattern = try? Regex(text) else {
                throw fail("target_modules is the pattern '\(text)', which cannot be read; list the modules instead")
            }
            target = .pattern(pattern)
        default: target = .all
        }
    }

    /// Whether PEFT would adapt a module.
    package func targets(_ module: String) -> Bool {
        switch target {
        case .all: true
        case .names(let names): names.contains { module == $0 || module.hasSuffix("." + $0) }
        case .pattern(let pattern): (try? pattern.wholeMatch(in: module)) != nil
        }
    }

    /// First values that leave the base model as it is. With others PEFT takes the adapter's part out of the base, when the adapter
    /// is made and again whenever it is loaded.
    private static func checkInitialisation(_ value: Any?, _ fail: (String) -> FileError) throws(FileError) {
        guard let value, !(value is NSNull), !(value is NSNumber) else { return }
        let name = value as? String ?? shown(value)
        guard !["gaussian", "eva", "orthogonal", "mica", "true", "false"].contains(name.lowercased()) else { return }
        throw fail(
            "has init_lora_weights = \(name): such an adapter belongs to a base from which its first values were taken, and "
                + "craft would add it to the whole one. Convert it to plain LoRA with PEFT (save_pretrained with "
                + "path_initial_model_for_weight_conversion)")
    }

    // MARK: - Keys

    /// Null, false, zero and what is empty say that something is not used.
    private static func isVoid(_ value: Any) -> Bool {
        switch value {
        case is NSNull: true
        case let text as String: text.isEmpty
        case let number as NSNumber: number.doubleValue == 0
        case let list as [Any]: list.isEmpty
        case let object as [String: Any]: object.values.allSatisfy(isVoid)
        default: false
        }
    }

    private static func shown(_ value: Any?) -> String {
        switch value {
        case nil, is NSNull: "missing"
        case is [String: Any]: "an object"
        case is [Any]: "a list"
        case let value?: "\(value)"
        }
    }

    private static let understood: Set<String> = [
        "peft_type", "r", "lora_alpha", "use_rslora", "bias", "init_lora_weights", "target_modules",
        "base_model_name_or_path",
    ]

    /// Keys that matter when an adapter is made or trained, or only together with one that is refused.
    private static let irrelevant: Set<String> = [
        "task_type", "auto_mapping", "peft_version", "revision", "inference_mode", "lora_dropout", "megatron_core",
        "qalora_group_size", "runtime_config", "eva_config",
    ]

    /// Keys that are known to change what is computed.
    private static let refused: Set<String> = [
        "use_dora", "lora_bias", "fan_in_fan_out", "rank_pattern", "alpha_pattern", "modules_to_save",
        "exclude_modules",
        "layers_to_transform", "layers_pattern", "layer_replication", "trainable_token_indices", "target_parameters",
        "megatron_config", "loftq_config", "corda_config", "lora_ga_config", "velora_config", "monteclora_config",
        "kasa_config", "arrow_config", "alora_invocation_tokens", "use_qalora", "use_bdlora", "ensure_weight_tying",
    ]
}
