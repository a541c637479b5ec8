internal import Formats
internal import Foundation

/// The keys of a `config.json` that craft knows. A key that it does not know could change what the model computes, so one with a
/// value is refused by name.
enum ConfigKeys {
    /// - Parameter object: the file, as Foundation reads it.
    static func check(_ object: [String: Any], path: String) throws(ModelError) {
        func fail(_ sentence: String) -> ModelError { ModelError(.unsupported, "\(path): \(sentence)") }
        // Of another kind of decoder nothing is known; ``ModelConfig/Decoder`` says that.
        if let text = object["text_config"] as? [String: Any],
            (text["model_type"] as? String).map({ DecoderFamily.of(modelType: $0) != nil }) ?? true
        {
            for (key, value) in text.sorted(by: { $0.key < $1.key }) where !isVoid(value) && !isKnown(text: key) {
                throw fail(
                    "text_config.\(key) is \(shown(value)): craft does not know this key, and it may change what the model "
                        + "computes. Remove it if transformers' \(text["model_type"] as? String ?? "model") does not read it"
                )
            }
            for key in ["rope_scaling", "rope_parameters"] {
                guard let rope = text[key] as? [String: Any] else { continue }
                try check(rope, known: ropes, at: "text_config.\(key)", path: path)
            }
            if let rate = text["attention_dropout"] as? Double, rate != 0 {
                throw fail("text_config.attention_dropout is \(rate); craft trains without dropout, so it takes 0")
            }
            if let factor = text["partial_rotary_factor"] as? Double, factor != 1 {
                throw fail(
                    "text_config.partial_rotary_factor is \(factor); craft turns all dimensions of a head, so it takes 1"
                )
            }
        }
        if let small = object["craft_small"] as? [String: Any] {
            try check(small, known: craftSmall, at: "craft_small", path: path)
            for (index, tower) in (small["towers"] as? [[String: Any]] ?? []).enumerated() {
                try check(tower, known: towers, at: "craft_small.towers[\(index)]", path: path)
            }
            if let policy = small["policy"] as? [String: Any] {
                try check(policy, known: policies, at: "craft_small.policy", path: path)
            }
        }
        if let kind = object["arch_specifier"] as? String, !kind.isEmpty, !kind.hasSuffix("gelu-mlp") {
            throw fail("arch_specifier is \(kind); craft's projectors are gelu-mlp and fused-gelu-mlp")
        }
        if let activation = object["projector_hidden_act"] as? String, activation != "gelu" {
            throw fail("projector_hidden_act is \(activation); expected gelu")
        }
        if let bias = object["multimodal_projector_bias"] as? Bool, !bias {
            throw fail("multimodal_projector_bias is false; craft's projectors have biases")
        }
        for key in ["quantization_config", "vision_config", "use_film"] {
            if let value = object[key], !isVoid(value) {
                throw fail("\(key) is \(shown(value)): craft does not compute with it, so it must not be there")
            }
        }
    }

    private static func check(
        _ object: [String: Any], known: Set<String>, at place: String, path: String
    ) throws(ModelError) {
        for (key, value) in object.sorted(by: { $0.key < $1.key }) where !isVoid(value) && !known.contains(key) {
            throw ModelError(.unsupported, "\(path): \(place).\(key) is \(shown(value)): craft does not know this key")
        }
    }

    /// What the file is, where it is none of ours: "a Qwen2.5-VL model", for messages.
    static func foreignName(_ object: [String: Any]) -> String? {
        guard object["craft_small"] == nil, object["timm_model_ids"] == nil else { return nil }
        // Training scripts that write a file of this name without either kind of type.
        if let model = object["model"] as? [String: Any] {
            if model["observation_tokenizers"] != nil { return "Octo" }
            if model["model_id"] != nil {
                return "a Prismatic training run (scripts/convert_checkpoint.py converts its checkpoint)"
            }
        }
        if let vla = object["vla"] as? [String: Any], vla["base_vlm"] != nil {
            return "a training run of OpenVLA's own format (scripts/convert_checkpoint.py converts its checkpoint)"
        }
        // LeRobot's policies have a type, transformers' models a model_type.
        let type = object["model_type"] as? String ?? object["type"] as? String
        let known = [
            "qwen2_vl": "Qwen2-VL", "qwen2_5_vl": "Qwen2.5-VL", "qwen3_vl": "Qwen3-VL", "smolvlm": "SmolVLM",
            "idefics3": "Idefics 3",
            "internvl_chat": "InternVL", "internvl": "InternVL", "paligemma": "PaliGemma", "florence2": "Florence-2",
            "mllama": "Llama 3.2 Vision", "smolvla": "SmolVLA (LeRobot)", "pi0": "pi0 (LeRobot)",
            "pi05": "pi0.5 (LeRobot)",
            "pi0fast": "pi0-FAST (LeRobot)", "act": "ACT (LeRobot)", "gr00t_n1": "GR00T N1", "gr00t_n1_5": "GR00T N1.5",
            "gr00t_n1d6": "GR00T N1.6", "xvla": "X-VLA",
            "eagle_2_5_vl": "Eagle 2.5", "llava": "LLaVA", "llava_next": "LLaVA-NeXT", "phi3_v": "Phi-3 Vision",
            "spatialvla": "SpatialVLA",
            "llama": "Llama (text alone)", "qwen2": "Qwen2 (text alone)", "qwen3": "Qwen3 (text alone)",
            "mistral": "Mistral (text alone)", "gemma": "Gemma (text alone)", "gemma2": "Gemma 2 (text alone)",
        ]
        let architecture = (object["architectures"] as? [String])?.first
        guard let type, type != "openvla", type != "prismatic" else {
            return architecture.flatMap { $0.hasPrefix("OpenVLA") || $0.hasPrefix("Prismatic") ? nil : $0 }
        }
        return known[type] ?? (architecture.map { "\(type) (\($0))" } ?? type)
    }

    /// Null, false, zero and what is empty say that something is not there.
    private static func isVoid(_ value: Any) -> Bool {
        switch value {
        case is NSNull: true
        case let text as String: text.isEmpty
        case let number as NSNumber: number.doubleValue == 0
        case let list as [Any]: list.isEmpty
        case let object as [String: Any]: object.isEmpty
        default: false
        }
    }

    private static func shown(_ value: Any) -> String {
        switch value {
        case is [String: Any]: "an object"
        case is [Any]: "a list"
        default: "\(value)"
        }
    }

    // MARK: - Known

    private static func isKnown(text key: String) -> Bool {
        computing.contains(key) || irrelevant.contains(key) || key.hasPrefix("_")
    }

    /// Keys of Llama, Qwen2 and Mistral that are understood; ``ModelConfig/Decoder`` has what follows from them.
    private static let computing: Set<String> = [
        "model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
        "intermediate_size", "vocab_size", "hidden_act", "rms_norm_eps", "initializer_range", "rope_theta",
        "rope_scaling",
        "rope_parameters", "tie_word_embeddings", "attention_bias", "mlp_bias", "sliding_window", "use_sliding_window",
        "max_window_layers", "layer_types", "max_position_embeddings", "attention_dropout", "partial_rotary_factor",
    ]

    /// Keys that change nothing in a forward pass: names, special tokens, how weights are stored, how text is generated.
    private static let irrelevant: Set<String> = [
        "architectures", "auto_map", "torch_dtype", "dtype", "transformers_version", "use_cache", "pretraining_tp",
        "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "unk_token_id", "cls_token_id", "mask_token_id",
        "decoder_start_token_id", "attn_implementation", "use_flash_attn", "name_or_path", "tokenizer_class", "prefix",
        "finetuning_task", "task_specific_params", "problem_type", "id2label", "label2id", "num_labels", "return_dict",
        "output_hidden_states", "output_attentions", "output_scores", "return_dict_in_generate", "torchscript",
        "use_bfloat16",
        "tf_legacy_loss", "pruned_heads", "chunk_size_feed_forward", "is_encoder_decoder", "is_decoder",
        "add_cross_attention",
        "cross_attention_hidden_size", "tie_encoder_decoder", "gradient_checkpointing", "remove_invalid_values",
        "max_length", "min_length", "max_new_tokens", "do_sample", "early_stopping", "num_beams", "num_beam_groups",
        "diversity_penalty", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty",
        "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences",
        "forced_bos_token_id", "forced_eos_token_id", "exponential_decay_length_penalty", "suppress_tokens",
        "begin_suppress_tokens", "model_max_length", "unsloth_version", "unsloth_fixed", "unsloth_optimized",
        // transformers' Llama and Qwen2 do not read these; files of other tools carry them.
        "rope_interleaved", "original_max_position_embeddings",
    ]

    private static let ropes: Set<String> = [
        "type", "rope_type", "rope_theta", "factor", "low_freq_factor", "high_freq_factor",
        "original_max_position_embeddings", "partial_rotary_factor",
    ]

    private static let craftSmall: Set<String> = [
        "version", "image_size", "patch_size", "cameras", "towers", "projector_dims", "num_queries", "action_dim",
        "chunk",
        "proprio_dim", "policy", "prompt_template", "question_template",
    ]

    private static let towers: Set<String> = [
        "kind", "prefix", "dim", "depth", "heads", "mlp", "class_token", "register_tokens", "layer_scale", "attn_pool",
        "output_block", "layer_norm_eps", "class_position", "activation",
    ]

    private static let policies: Set<String> = ["pro", "dim", "heads", "blocks", "layer_norm_eps"]
}
