import Formats
import Foundation
import Models
import Tensors
import TestSupport
import Testing

@Suite struct ModelConfigTests {
    static func config(_ name: String) throws -> ModelConfig {
        try ModelConfig(file: BuildFolder.fixture("configs/\(name).json").path)
    }

    /// The counts that VLA-Adapter's released model has.
    @Test func countsOfTheReleasedModel() throws {
        let counts = ModelCounts(try Self.config("vla-adapter"), rank: 64)
        #expect(counts.backbone == .init(tensors: 982, parameters: 1_252_553_792))
        #expect(counts.parts["vision_backbone.featurizer"] == .init(tensors: 343, parameters: 303_230_976))
        #expect(
            counts.parts["vision_backbone.fused_featurizer"]
                == .init(tensors: 342, parameters: 412_442_352 + 15_238_352))
        #expect(counts.parts["projector"] == .init(tensors: 6, parameters: 27_552_000))
        #expect(counts.parts["language_model"] == .init(tensors: 290, parameters: 494_032_768))
        #expect(counts.parts["action_queries"] == .init(tensors: 1, parameters: 57344))
        #expect(counts.basePolicy == .init(tensors: 320, parameters: 102_129_695))
        #expect(counts.proPolicy == .init(tensors: 560, parameters: 217_864_223))
        #expect(counts.proprioProjector.parameters == 811_776)
        #expect(counts.adapter.parameters == 103_794_176)
        #expect(counts.trainableBase == 206_792_991)
        #expect(counts.trainablePro == 322_527_519)
        #expect(ModelCounts(try Self.config("vla-adapter"), rank: 32).adapter.parameters == 51_897_088)
    }

    @Test func whatReleasedConfigurationsImply() throws {
        let config = try Self.config("vla-adapter")
        #expect(config.towers.map(\.outputBlock) == [22, 25])
        #expect(config.patchesPerImage == 256 && config.cameras == 2 && !config.fixesCameras)
        #expect(config.projectorDims == [2176, 8704, 896, 896])
        #expect(config.queries == 64 && config.policy.blocks == 24 && config.policy.heads == 8 && config.policy.pro)
        #expect(config.decoder.hasAttentionBias && !config.decoder.hasOutputBias && config.decoder.isCausal)
        #expect(config.promptTemplate.hasPrefix("<|im_start|>system\nYou are Qwen"))
    }

    /// `text_config` of openvla-7b gives two sizes; the others are transformers' defaults for Llama.
    @Test func openVLA() throws {
        let config = try Self.config("openvla-7b")
        #expect(
            config.decoder.hiddenSize == 4096 && config.decoder.layers == 32 && config.decoder.vocabularySize == 32064)
        #expect(config.decoder.intermediateSize == 11008 && config.decoder.keyValueHeads == 32)
        #expect(!config.decoder.hasAttentionBias && !config.decoder.tiesWordEmbeddings)
        #expect(config.cameras == 1)
        #expect(config.promptTemplate == "In: What action should the robot take to {instruction}?\nOut:")
        #expect(ModelCounts(config, rank: 32).backbone.parameters - 262_144 == 7_541_237_184)
    }

    /// One tower: two projector layers; without registers the class token has a position.
    @Test(arguments: [
        ("vit_large_patch14_dinov2.lvd142m", [1, 257, 1024], [1024, 896, 896]),
        ("vit_large_patch14_reg4_dinov2.lvd142m", [1, 256, 1024], [1024, 896, 896]),
        ("vit_so400m_patch14_siglip_224", [1, 256, 1152], [1152, 896, 896]),
    ])
    func singleTowers(_ tower: String, _ positions: [Int], _ projector: [Int]) throws {
        let folder = try TemporaryFolder()
        let source = try String(contentsOf: BuildFolder.fixture("configs/vla-adapter.json"), encoding: .utf8)
        var object = try #require(
            JSONSerialization.jsonObject(with: Data(source.utf8)) as? [String: Any])
        object["timm_model_ids"] = [tower]
        object["image_sizes"] = [224]
        object["use_fused_vision_backbone"] = false
        try JSONSerialization.data(withJSONObject: object).write(to: folder.url.appendingPathComponent("config.json"))
        let config = try ModelConfig(folder: folder.url.path)
        #expect(config.projectorDims == projector)
        #expect(CheckpointLayout(config)["vision_backbone.featurizer.pos_embed"]?.shape == positions)
    }

    @Test func layoutAgreesWithTheModel() throws {
        for name in try FileManager.default.contentsOfDirectory(atPath: BuildFolder.fixture("vla").path) {
            let folder = try ModelFolder(path: BuildFolder.fixture("vla/\(name)").path)
            let model = VLAModel(config: folder.config, fineTuning: .full)
            for parameter in model.parameters.parameters {
                let entry = try #require(folder.layout[parameter.name], "\(name): \(parameter.name)")
                #expect(entry.shape == parameter.shape && entry.isUsed, "\(name): \(parameter.name)")
            }
            #expect(folder.layout.entries.filter(\.isUsed).count == model.parameters.parameters.count, "\(name)")
            let info = ModelInfo(folder)
            #expect(info.missing + info.missingUnused + info.unexpected + info.mismatched == [], "\(name)")
        }
    }

    /// PyTorch's order of a module's `state_dict`, whatever the order in which parameters are numbered.
    @Test func filesListTensorsAsReleasedOnesDo() throws {
        func inside(_ scope: String, of fixture: String) throws -> [String] {
            let folder = try ModelFolder(path: BuildFolder.fixture("vla/\(fixture)").path)
            var modules: [String] = []
            for name in folder.layout.entries.map(\.name) where name.hasPrefix(scope) {
                let module = name.dropFirst(scope.count).split(separator: ".").dropLast().joined(separator: ".")
                let last = module.isEmpty ? String(name.dropFirst(scope.count)) : module
                if modules.last != last { modules.append(last) }
            }
            return modules
        }
        let attention = ["q_proj", "k_proj", "v_proj", "o_proj"].map { "self_attn." + $0 }
        let rest = ["mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", "input_layernorm", "post_attention_layernorm"]
        let layer = "language_model.model.layers.1."
        #expect(try inside(layer, of: "one-tower-qwen2-base") == attention + rest)
        #expect(
            try inside(layer, of: "one-tower-qwen3-base")
                == attention + ["self_attn.q_norm", "self_attn.k_norm"] + rest)
        let block = "action_head.model.mlp_resnet_blocks.0."
        let start = ["gating_factor", "ffn.0", "ffn.1", "q_proj"]
        #expect(try inside(block, of: "one-tower-qwen2-base") == start + ["k_proj", "v_proj", "o_proj"])
        #expect(
            try inside(block, of: "one-tower-qwen2-pro")
                == start + ["k_self", "v_self", "k_adapter", "v_adapter", "k_task", "v_task", "o_proj", "film_gen.0"])
        let llama = try ModelFolder(path: BuildFolder.fixture("vla/one-tower-llama-base").path).layout
        let names = llama.entries(of: .languageModel).map(\.name)
        #expect(names.first == "language_model.model.embed_tokens.weight")
        #expect(names.suffix(2) == ["language_model.model.norm.weight", "language_model.lm_head.weight"])
        #expect(llama.modules.last?.name == "language_model.lm_head")
    }

    static let contradictions: [(text: String, other: String, says: [String])] = [
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 2000000000", ["num_hidden_layers", "2000000000"]),
        ("\"hidden_size\": 12", "\"hidden_size\": -12", ["hidden_size", "-12"]),
        ("\"hidden_size\": 12", "\"hidden_size\": \"12\"", ["text_config.hidden_size", "a whole number"]),
        ("\"model_type\": \"llama\"", "\"model_type\": \"gpt2\"", ["gpt2", "qwen2, qwen3, llama or mistral"]),
        ("\"hidden_act\": \"silu\"", "\"hidden_act\": \"gelu\"", ["hidden_act", "gelu", "silu"]),
        ("\"mlp_bias\": false", "\"mlp_bias\": true", ["mlp_bias"]),
        (
            "\"attention_bias\": false", "\"rope_scaling\": {\"rope_type\": \"llama3\"}",
            ["rope_scaling.low_freq_factor is missing"]
        ),
        ("\"projector_dims\": [\n      9,", "\"projector_dims\": [\n      10,", ["projector_dims", "9"]),
        ("\"output_block\": 1", "\"output_block\": 3", ["output_block 3"]),
        ("\"patch_size\": 4", "\"patch_size\": 9", ["image_size 8", "patch_size 9"]),
        ("\"cameras\": 3", "\"cameras\": 0", ["cameras", "0"]),
        ("\"prefix\": \"featurizer\"", "\"prefix\": \"tower\"", ["tower", "featurizer"]),
        ("\"craft_small\"", "\"craft_tiny\"", ["timm_model_ids", "craft_small"]),
        ("\"text_config\": {", "\"text_config\": [", ["config.json", "JSON"]),
        ("\"rope_theta\": 10000.0", "\"rope_theta\": 0", ["rope_theta", "above 0"]),
        ("\"register_tokens\": 0", "\"register_tokens\": 1000000", ["register_tokens", "1000000"]),
    ]

    @Test(arguments: contradictions.indices) func badConfigurations(_ index: Int) throws {
        let (text, other, says) = Self.contradictions[index]
        let fixture = try ModelFixture("one-tower-llama-base")
        try fixture.replace(text, with: other)
        let complaint = fixture.complaint()
        for word in says + [fixture.path] { #expect(complaint.contains(word), "\(complaint)") }
    }

    @Test func unknownTowersAreListed() throws {
        let folder = try TemporaryFolder()
        let text = try String(
            contentsOfFile: BuildFolder.fixture("configs/vla-adapter.json").path, encoding: .utf8)
        let cases: [(old: String, new: String, code: ModelErrorCode, says: [String])] = [
            (
                "vit_so400m_patch14_siglip_224", "vit_giant_patch14_clip", .unsupported,
                ["vit_giant_patch14_clip", "siglip_224"]
            ),
            ("\"image_sizes\": [224, 224]", "\"image_sizes\": [224, 384]", .invalid, ["224", "384", "grid"]),
            (
                "\"use_fused_vision_backbone\": true", "\"use_fused_vision_backbone\": false", .invalid,
                ["use_fused_vision_backbone"]
            ),
        ]
        for (old, new, code, says) in cases {
            try text.replacingOccurrences(of: old, with: new)
                .write(toFile: folder.path("config.json"), atomically: true, encoding: .utf8)
            let error = #expect(throws: ModelError.self) { try ModelConfig(file: folder.path("config.json")) }
            #expect(error?.code == code)
            for word in says { #expect(error?.description.contains(word) == true, "\(error?.description ?? "")") }
        }
    }
}
