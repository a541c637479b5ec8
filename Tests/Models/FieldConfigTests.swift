import Formats
import Foundation
import Models
import Tensors
import TestSupport
import Testing

/// Configurations as the field writes them.
@Suite struct FieldConfigTests {
    struct Case: Decodable {
        struct Resolved: Decodable {
            var inverseFrequencies: [Double]
            var q: [Int]
            var k: [Int]
            var qBias: Bool
            var oBias: Bool
            var windows: [Int?]
            var tied: Bool
        }
        var name: String
        /// Nil where transformers refuses it.
        var resolved: Resolved?
    }

    private func config(_ folder: TemporaryFolder, _ change: (inout [String: Any]) -> Void) throws -> ModelConfig {
        let source = try Data(contentsOf: BuildFolder.fixture("configs/vla-adapter.json"))
        var object = try #require(JSONSerialization.jsonObject(with: source) as? [String: Any])
        change(&object)
        try JSONSerialization.data(withJSONObject: object).write(to: folder.url.appendingPathComponent("config.json"))
        return try ModelConfig(folder: folder.url.path)
    }

    private func complaint(_ change: (inout [String: Any]) -> Void) throws -> String {
        let folder = try TemporaryFolder()
        do {
            _ = try config(folder, change)
            return "no error"
        } catch { return "\(error)" }
    }

    /// scripts/reference/config_cases.py made what transformers resolves. What it computes otherwise is refused, never passed over.
    @Test func decodersAreWhatTransformersBuilds() throws {
        let data = try Data(contentsOf: BuildFolder.fixture("configs/decoder-cases.json"))
        let cases = try JSONDecoder().decode([Case].self, from: data)
        let texts = try #require(try JSONSerialization.jsonObject(with: data) as? [[String: Any]])
        #expect(cases.count > 30)
        var refused: [String] = []
        for (item, object) in zip(cases, texts) {
            let folder = try TemporaryFolder()
            let decoder: ModelConfig.Decoder
            do {
                decoder = try config(folder) { config in
                    config["text_config"] = object["text_config"]
                    let width = (object["text_config"] as? [String: Any])?["hidden_size"] as? Int ?? 0
                    config["craft_small"] = Self.small(width: width)
                }.decoder
            } catch {
                refused.append(item.name)
                continue
            }
            guard let wanted = item.resolved else {
                Issue.record("\(item.name): transformers refuses it")
                continue
            }
            #expect(wanted.windows.allSatisfy { $0 == nil || $0! >= 4096 }, "\(item.name)")
            #expect(decoder.heads * decoder.headDim == wanted.q[0] && decoder.hiddenSize == wanted.q[1], "\(item.name)")
            #expect(decoder.keyValueHeads * decoder.headDim == wanted.k[0], "\(item.name)")
            #expect(decoder.hasAttentionBias == wanted.qBias && decoder.hasOutputBias == wanted.oBias, "\(item.name)")
            #expect(decoder.tiesWordEmbeddings == wanted.tied, "\(item.name)")
            #expect(wanted.inverseFrequencies.count == decoder.headDim / 2, "\(item.name)")
            for (index, frequency) in wanted.inverseFrequencies.enumerated() {
                let plain = pow(decoder.ropeTheta, -2 * Double(index) / Double(decoder.headDim))
                #expect(
                    abs(decoder.ropeScaling.scaled(plain) - frequency) <= 1e-6 * frequency, "\(item.name), \(index)")
            }
        }
        #expect(
            refused == [
                "window, mistral", "window of some layers", "layer_types sliding", "window of some layers, qwen3",
            ],
            "only small windows are refused")
    }

    private static func small(width: Int) -> [String: Any] {
        [
            "image_size": 8, "patch_size": 4, "cameras": 1, "projector_dims": [9, width, width], "num_queries": 3,
            "action_dim": 7, "chunk": 8, "proprio_dim": 8,
            "towers": [
                [
                    "kind": "siglip", "prefix": "featurizer", "dim": 9, "depth": 3, "heads": 3, "mlp": 11,
                    "class_token": false,
                    "register_tokens": 0, "layer_scale": false, "attn_pool": true, "output_block": 1,
                    "layer_norm_eps": 1e-6,
                ] as [String: Any]
            ],
            "policy": ["pro": false, "dim": width, "heads": 2, "blocks": 2, "layer_norm_eps": 1e-5] as [String: Any],
        ]
    }

    @Test(arguments: [
        ("attn_logit_softcapping", 50.0 as Double), ("partial_rotary_factor", 0.5), ("attention_dropout", 0.1),
        ("qk_layernorm", 1), ("final_logit_softcapping", 30), ("some_new_key", 2),
    ])
    func keysThatMayChangeTheArithmeticAreRefusedByName(_ key: String, _ value: Double) throws {
        func text(_ value: Any) throws -> String {
            try complaint { object in
                var text = object["text_config"] as? [String: Any] ?? [:]
                text[key] = value
                object["text_config"] = text
            }
        }
        #expect(
            try text(value).contains("text_config.\(key) is \(value == value.rounded() ? "\(Int(value))" : "\(value)")")
        )
        if key != "attention_dropout", key != "partial_rotary_factor" { #expect(try text(NSNull()) == "no error") }
    }

    /// Rotary settings by kind of layer, and sections of several axes, are none of these decoders'.
    @Test func otherRotarySettingsAreRefused() throws {
        for (key, value) in [("full_attention", ["rope_theta": 5e5] as Any), ("mrope_section", [16, 24] as Any)] {
            let text = try complaint { object in
                var text = object["text_config"] as? [String: Any] ?? [:]
                text["rope_parameters"] = [key: value]
                object["text_config"] = text
            }
            #expect(text.contains("text_config.rope_parameters.\(key)"), "\(text)")
        }
    }

    @Test func keysThatChangeNothingArePassedOver() throws {
        #expect(
            try complaint { object in
                var text = object["text_config"] as? [String: Any] ?? [:]
                text["use_cache"] = true
                text["_attn_implementation_autoset"] = true
                text["torch_dtype"] = "bfloat16"
                text["id2label"] = ["0": "A"]
                text["temperature"] = 0.7
                object["text_config"] = text
                object["a_key_of_another_tool"] = [1, 2]
            } == "no error")
    }

    @Test func activationsOfTowersAreHonoured() throws {
        let folder = try TemporaryFolder()
        let found = try config(folder) { $0["timm_override_act_layers"] = ["quick_gelu", NSNull()] as [Any] }
        #expect(found.towers.map(\.activation) == [.quickGELU, nil])
        #expect(try complaint { $0["timm_override_act_layers"] = ["mish", "mish"] }.contains("names 'mish'"))
    }

    /// timm: 384 pixels give 27 patches of 14.
    @Test func imagesNeedNotBeMultiplesOfPatches() throws {
        let folder = try TemporaryFolder()
        let found = try config(folder) {
            $0["timm_model_ids"] = ["vit_so400m_patch14_siglip_384"]
            $0["image_sizes"] = 384
            $0["use_fused_vision_backbone"] = false
        }
        #expect(found.patchesPerImage == 729)
        #expect(CheckpointLayout(found)["vision_backbone.featurizer.pos_embed"]?.shape == [1, 729, 1152])
    }

    @Test func otherModelsAreNamed() throws {
        func foreign(_ values: [String: Any]) throws -> String {
            try complaint { $0 = values }
        }
        #expect(
            try foreign(["model_type": "qwen2_5_vl", "hidden_size": 8]).contains("is the configuration of Qwen2.5-VL"))
        #expect(
            try foreign(["type": "smolvla", "n_obs_steps": 1]).contains("is the configuration of SmolVLA (LeRobot)"))
        #expect(try foreign(["type": "pi0"]).contains("pi0"))
        #expect(try foreign(["model_type": "gr00t_n1_5", "architectures": ["GR00T_N1_5"]]).contains("GR00T N1.5"))
        #expect(try foreign(["model_type": "internvl_chat"]).contains("InternVL"))
        // transformers gives them a text_config too.
        let text: [String: Any] = ["model_type": "llama"]
        #expect(
            try foreign(["model_type": "llava", "text_config": text, "vision_config": ["hidden_size": 8]])
                .contains("is the configuration of LLaVA"))
        #expect(
            try foreign(["model_type": "qwen3_vl", "text_config": ["model_type": "qwen3_vl_text"]]).contains("Qwen3-VL")
        )
        // The kind of decoder is named, not the first of its keys.
        let phi: [String: Any] = ["model_type": "phi3", "embd_pdrop": 0.1]
        #expect(
            try foreign(["model_type": "openvla", "timm_model_ids": ["a"], "text_config": phi])
                .contains("model_type is phi3"))
        // What training scripts write.
        #expect(try foreign(["model": ["observation_tokenizers": [String: Any]()]]).contains("Octo"))
        #expect(try foreign(["model": ["model_id": "prism"], "run_id": "a"]).contains("convert_checkpoint.py"))
        #expect(try foreign(["vla": ["base_vlm": "prism"]]).contains("convert_checkpoint.py"))
        #expect(
            try foreign(["model_type": "brand_new", "architectures": ["NewModel"]]).contains("brand_new (NewModel)"))
    }

    @Test func pythonsNumbersAreRead() throws {
        let folder = try TemporaryFolder()
        var text = try String(contentsOf: BuildFolder.fixture("configs/vla-adapter.json"), encoding: .utf8)
        text = text.replacingOccurrences(
            of: "\"norm_stats\": {}",
            with: "\"note\": \"NaN and \\\"Infinity\\\" stay\", \"limit\": [-Infinity, Infinity, NaN]")
        try text.write(toFile: folder.path("config.json"), atomically: true, encoding: .utf8)
        #expect(try ModelConfig(folder: folder.url.path).decoder.hiddenSize == 896)
        let broken = text.replacingOccurrences(of: "NaN]", with: "NuN]")
        try broken.write(toFile: folder.path("config.json"), atomically: true, encoding: .utf8)
        let error = #expect(throws: ModelError.self) { try ModelConfig(folder: folder.url.path) }
        #expect(error?.code == .malformed)
        #expect(error?.description.contains("line ") == true, "\(error?.description ?? "")")
    }
}
