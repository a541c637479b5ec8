import Formats
import Foundation
import Models
import Tensors
import TestSupport
import Testing

/// Layouts that hold the same weights, and files that do not hold what they should.
@Suite struct ModelFolderTests {
    @Test func shardsHoldWhatOneFileHolds() throws {
        let fixture = try ModelFixture("two-towers-qwen2-pro")
        let folder = try ModelFolder(path: fixture.path)
        var options = ModelExporter.Options()
        options.shardBytes = 8000
        let out = fixture.path + "-sharded"
        _ = try ModelExporter(folder, options: options, parallel: .init(threads: 1)).write(to: out)
        defer { try? FileManager.default.removeItem(atPath: out) }
        let names = try FileManager.default.contentsOfDirectory(atPath: out)
        #expect(names.contains("model.safetensors.index.json") && !names.contains("model.safetensors"))
        #expect(names.filter { $0.hasPrefix("model-0") }.count > 2)
        let sharded = try ModelFolder(path: out)
        let (one, two) = (try #require(folder.backbone), try #require(sharded.backbone))
        #expect(Set(one.names) == Set(two.names))
        for name in one.names {
            #expect(try one.file(of: name)?.floats(name) == two.file(of: name)?.floats(name), "\(name)")
        }
        #expect(ModelInfo(sharded).unexpected == [] && ModelInfo(sharded).missing == [])

        let shard = try #require(names.filter { $0.hasPrefix("model-0") }.min())
        try FileManager.default.removeItem(atPath: out + "/" + shard)
        let error = #expect(throws: FileError.self) { try ModelFolder(path: out) }
        #expect(error?.description.contains(shard) == true)
        try FileManager.default.removeItem(atPath: out + "/model.safetensors.index.json")
        let missing = #expect(throws: FileError.self) { try ModelFolder(path: out) }
        #expect(missing?.description.contains("index") == true)
    }

    /// The actions for one batch, whose arm states are `proprio`.
    private func actions(_ folder: ModelFolder, proprio: Float) throws -> [Float] {
        let config = folder.config
        let model = VLAModel(config: config, fineTuning: .frozen)
        #expect(try folder.load(into: model) == [])
        let tape = Tape(parameters: model.parameters, parallel: Parallel(threads: 1))
        tape.reset(weights: model.parameters.currentWeights(), recording: false)
        let pixels = config.cameras * config.imageSize * config.imageSize * 3
        let output = model.forward(
            ModelInput(
                images: .rgb((0..<pixels).map { UInt8(truncatingIfNeeded: $0 &* 97) }), cameras: config.cameras,
                prompts: [[1, 2, 3]],
                action: .init(proprio: Array(repeating: proprio, count: config.proprioDim))), on: tape)
        let predicted = try #require(output.predictedActions)
        return (0..<predicted.count).map { predicted.values[$0] }
    }

    @Test func withoutProprioceptionTheArmsStateChangesNothing() throws {
        let fixture = try ModelFixture("two-towers-qwen2-pro")
        var choices = ModelFolder.Choices()
        #expect(
            try actions(ModelFolder(path: fixture.path), proprio: 0)
                != actions(ModelFolder(path: fixture.path), proprio: 1))
        choices.usesProprio = false
        let folder = try ModelFolder(path: fixture.path, choices: choices)
        #expect(try actions(folder, proprio: 0) == actions(folder, proprio: 1))
        // What is saved says so itself.
        let model = VLAModel(config: folder.config, fineTuning: .full)
        _ = try folder.load(into: model)
        let out = fixture.path + "-blind"
        defer { try? FileManager.default.removeItem(atPath: out) }
        try ModelFolder.save(model, to: out, source: folder)
        let saved = try ModelFolder(path: out)
        #expect(!saved.config.usesProprio)
        #expect(try actions(saved, proprio: 1) == actions(folder, proprio: 0))
    }

    /// A folder written anew for larger images holds position embeddings of that size, whoever reads them.
    @Test func positionsAreWrittenInTheSizeOfTheConfiguration() throws {
        let fixture = try ModelFixture("two-towers-qwen2-pro")
        var choices = ModelFolder.Choices()
        let size = try ModelFolder(path: fixture.path).config.imageSize
        choices.imageSize = 2 * size
        let folder = try ModelFolder(path: fixture.path, choices: choices)
        let out = fixture.path + "-larger"
        defer { try? FileManager.default.removeItem(atPath: out) }
        _ = try ModelExporter(folder, options: .init(), parallel: .init(threads: 1)).write(to: out)
        let written = try ModelFolder(path: out)
        #expect(written.config.imageSize == 2 * size)
        let name = "vision_backbone.featurizer.pos_embed"
        let entry = try #require(written.backbone?.file(of: name)?.entry(name))
        #expect(entry.shape[1] == written.config.patchesPerImage)
        #expect(try actions(written, proprio: 1) == actions(folder, proprio: 1))
    }

    @Test(arguments: ["bf16", "f16"]) func halfPrecisionIsReadInPlace(_ name: String) throws {
        let storage = try #require(ModelFolder.Storage(rawValue: name))
        let fixture = try ModelFixture("two-towers-qwen2-base-lora")
        try fixture.rewrite("model.safetensors") { file, entry in
            .init(entry.name, copying: entry, of: file, as: storage)
        }
        let folder = try ModelFolder(path: fixture.path)
        let model = VLAModel(
            config: folder.config, fineTuning: .lowRank(try #require(folder.adapterSettings)))
        #expect(try folder.load(into: model) == [])
        var inPlace = 0
        for parameter in model.parameters.parameters where !parameter.isTrainable {
            if case .half = model.parameters.weight(parameter.id) { inPlace += 1 }
        }
        #expect(inPlace > 20)
        let values = try fixture.values()
        let backbone = try #require(folder.backbone)
        for (name, value) in values where backbone.entry(name) != nil && name != "action_queries.weight" {
            #expect(try backbone.file(of: name)?.floats(name) == value, "\(name)")
        }
    }

    @Test func prefixedHeadsAreTheSame() throws {
        let fixture = try ModelFixture("one-tower-qwen2-base")
        let plain = try fixture.values()
        try fixture.rewrite("action_head--checkpoint.safetensors") { file, entry in
            .init("module." + entry.name, copying: entry, of: file)
        }
        #expect(try fixture.values() == plain)
    }

    /// timm's `resample_abs_pos_embed` on sin(0.7 i).
    @Test(
        arguments: [
            (5, 3, [0.618096, 0.800528, 0.045762, -0.426008, -0.67787, -0.244071, 0.691127, 0.304016]),
            (2, 4, [-0.133575, 0.706066, 0.214635, 0.792922, 0.905112, 0.965152, 1.253322, 1.052007]),
            (7, 4, [0.008331, 0.107473, 0.099169, 0.010071, -0.141903, -0.101371, 0.115455, 0.156994]),
        ] as [(Int, Int, [Double])])
    func positionGridsAreResampledAsInTimm(_ from: Int, _ to: Int, _ expected: [Double]) throws {
        let grid = try #require(PositionGrid([1, from * from, 2], to: [1, to * to, 2]))
        let got = grid.resampled((0..<from * from * 2).map { Float(sin(0.7 * Double($0))) })
        #expect(got.count == to * to * 2)
        for (a, b) in zip(got, expected) { #expect(abs(Double(a) - b) < 2e-6) }
        #expect(PositionGrid([1, 5, 2], to: [1, 4, 2]) == nil)
        #expect(PositionGrid([1, 4, 3], to: [1, 9, 2]) == nil)
    }

    /// timm's `resample_abs_pos_embed` with a prefix token, whose position stays as it is.
    @Test func aPositionOfTheClassTokenIsKept() throws {
        let grid = try #require(PositionGrid([1, 26, 2], to: [1, 10, 2]))
        let got = grid.resampled((0..<52).map { Float(sin(0.7 * Double($0))) })
        #expect(got.count == 20)
        for (a, b) in zip(got, [0.0, 0.644218, 0.606459, 0.127163, -0.69742, -0.640824, 0.304518, 0.709888]) {
            #expect(abs(Double(a) - b) < 2e-6)
        }
    }

    /// torch's bicubic interpolation without antialiasing, which transformers uses, on sin(0.7 i).
    @Test(
        arguments: [
            (5, 3, [0.482138, 0.820157, 0.143105, -0.511963, -0.664798, -0.166685, 0.840325, 0.492186]),
            (2, 4, [-0.163648, 0.7166, 0.240314, 0.819101, 0.905663, 0.987927, 1.309625, 1.090428]),
            (7, 4, [-0.078212, 0.088929, 0.229844, 0.07252, -0.278963, -0.230498, 0.181624, 0.243674]),
        ] as [(Int, Int, [Double])])
    func positionGridsAreResampledAsInTransformers(_ from: Int, _ to: Int, _ expected: [Double]) throws {
        let grid = try #require(PositionGrid([1, from * from, 2], to: [1, to * to, 2]))
        let got = grid.resampled((0..<from * from * 2).map { Float(sin(0.7 * Double($0))) }, as: .transformers)
        for (a, b) in zip(got, expected) { #expect(abs(Double(a) - b) < 2e-6) }
    }

    @Test func aLargerGridLoads() throws {
        let fixture = try ModelFixture("one-tower-qwen2-base")
        try fixture.rewrite("model.safetensors") { file, entry in
            guard entry.name.hasSuffix("pos_embed") else { return .init(entry.name, copying: entry, of: file) }
            return .init(
                entry.name, shape: [1, 25, entry.shape[2]], floats: .init(repeating: 0.5, count: 25 * entry.shape[2]))
        }
        let positions = try #require(try fixture.values()["vision_backbone.featurizer.pos_embed"])
        #expect(positions.allSatisfy { abs($0 - 0.5) < 1e-6 })
    }

    // MARK: - Wrong files

    private static let fused = "two-towers-qwen2-base-lora"
    private static let embedding = "language_model.model.embed_tokens.weight"

    @Test func aMissingTensorIsNamed() throws {
        let fixture = try ModelFixture(Self.fused)
        try fixture.rewrite("model.safetensors") { file, entry in
            entry.name == Self.embedding ? nil : .init(entry.name, copying: entry, of: file)
        }
        let complaint = fixture.complaint()
        for word in ["model.safetensors", Self.embedding, "missing"] {
            #expect(complaint.contains(word), "\(complaint)")
        }
        let info = ModelInfo(try ModelFolder(path: fixture.path))
        #expect(info.missing == [Self.embedding])
    }

    @Test func aWrongShapeIsNamed() throws {
        let fixture = try ModelFixture(Self.fused)
        try fixture.rewrite("action_head--checkpoint.safetensors") { file, entry in
            entry.name.hasSuffix("model.fc2.bias")
                ? .init(entry.name, shape: [8], floats: .init(repeating: 0, count: 8))
                : .init(entry.name, copying: entry, of: file)
        }
        let complaint = fixture.complaint()
        for word in ["action_head--checkpoint.safetensors", "model.fc2.bias", "[7]", "[8]"] {
            #expect(complaint.contains(word), "\(complaint)")
        }
    }

    @Test func aWrongTypeIsNamed() throws {
        let fixture = try ModelFixture(Self.fused)
        try fixture.rewrite("model.safetensors") { file, entry in
            entry.name == Self.embedding
                ? .init(entry.name, shape: entry.shape, integers: .init(repeating: 0, count: entry.count))
                : .init(entry.name, copying: entry, of: file)
        }
        let complaint = fixture.complaint()
        for word in ["model.safetensors", Self.embedding, "floating point", "I64"] {
            #expect(complaint.contains(word), "\(complaint)")
        }
    }

    @Test func aTruncatedFileIsNamed() throws {
        let fixture = try ModelFixture(Self.fused)
        let path = fixture.file("proprio_projector--checkpoint.safetensors")
        let data = try Data(contentsOf: URL(fileURLWithPath: path))
        for count in [0, 7, 20, data.count / 2, data.count - 1] {
            try data.prefix(count).write(to: URL(fileURLWithPath: path))
            #expect(fixture.complaint().contains(path), "\(count) bytes: \(fixture.complaint())")
        }
    }

    @Test func headerBombsAreRefused() throws {
        let fixture = try ModelFixture(Self.fused)
        let path = fixture.file("model.safetensors")
        let bombs: [[UInt8]] = [
            Array(repeating: 0xFF, count: 64),
            [0, 0, 0, 0, 0, 1, 0, 0] + Array(#"{"a":{"dtype":"F32","shape":["#.utf8),
            Self.file(#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}"#, data: 4),
            Self.file(#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]}}"#, data: 4),
            Self.file(String(repeating: "[", count: 100_000), data: 0),
        ]
        for bomb in bombs {
            try Data(bomb).write(to: URL(fileURLWithPath: path))
            #expect(fixture.complaint().contains(path), "\(fixture.complaint())")
        }
    }

    private static func file(_ header: String, data: Int) -> [UInt8] {
        withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) } + Array(header.utf8)
            + Array(repeating: 0, count: data)
    }

    @Test func aConfigurationThatContradictsTheTensors() throws {
        let fixture = try ModelFixture(Self.fused)
        try fixture.replace("\"intermediate_size\": 20", with: "\"intermediate_size\": 24")
        let complaint = fixture.complaint()
        // The adapter, which is looked at first, has the same sizes in it.
        for word in ["_proj", "24", "20", fixture.path] { #expect(complaint.contains(word), "\(complaint)") }
    }

    @Test func anAdapterOfAnotherBase() throws {
        let fixture = try ModelFixture(Self.fused)
        try FileManager.default.removeItem(atPath: fixture.file("lora_adapter"))
        try FileManager.default.copyItem(
            atPath: BuildFolder.fixture("vla/one-tower-llama-base-lora/lora_adapter").path,
            toPath: fixture.file("lora_adapter"))
        let complaint = fixture.complaint()
        for word in ["adapter_model.safetensors", "another base"] { #expect(complaint.contains(word), "\(complaint)") }
    }

    @Test(arguments: [
        ("\"use_dora\": false", "\"use_dora\": true", "use_dora"),
        ("\"bias\": \"none\"", "\"bias\": \"all\"", "bias = all"),
        ("\"r\": 2", "\"r\": 0", "r is 0"), ("\"r\": 2", "\"r\": 3", "[3, "),
        ("\"rank_pattern\": {}", "\"rank_pattern\": {\"qkv\": 4}", "rank_pattern"),
        ("\"r\": 2", "\"x\": 2", "has x = 2"), ("\"r\": 2,", "", "r is missing"),
        ("\"lora_alpha\": 4", "\"lora_alpha\": null", "lora_alpha is missing"),
    ])
    func adapterConfigurationsThatAreNotPlainLoRA(_ text: String, _ other: String, _ says: String) throws {
        let fixture = try ModelFixture(Self.fused)
        try fixture.replace(text, with: other, in: "lora_adapter/adapter_config.json")
        let complaint = fixture.complaint()
        #expect(complaint.contains(says) && complaint.contains("lora_adapter/adapter_"), "\(complaint)")
    }

    struct AdapterCase: Decodable {
        var name: String
        var config: String
        /// Of PEFT's merged weights from W + alpha / r B A, relative; nil where PEFT did not make them.
        var deviation: Double?
    }

    /// scripts/reference/adapter_cases.py asked PEFT. What it computes otherwise is refused by the key's name; an adapter that is
    /// plain is read.
    @Test func adaptersAreReadWherePEFTComputesPlainLoRA() throws {
        let data = try Data(contentsOf: BuildFolder.fixture("configs/adapter-cases.json"))
        let cases = try JSONDecoder().decode([AdapterCase].self, from: data)
        #expect(cases.count > 20)
        // Of these only alpha and the like differ from plain ones; the message names the key.
        let cautious: Set = ["lora_ga", "qalora", "bias", "exclude", "layers", "modules to save"]
        for item in cases {
            let folder = try TemporaryFolder()
            let path = folder.path("adapter_config.json")
            try item.config.write(toFile: path, atomically: true, encoding: .utf8)
            let isPlain = item.deviation.map { $0 < 1e-4 } ?? false
            do {
                let found = try AdapterConfiguration(path)
                #expect(isPlain, "\(item.name) is read, but PEFT's weights differ by \(item.deviation ?? .nan)")
                #expect(found.rank == 2 && found.alpha == 6 && found.isRankStabilised == (item.name == "rslora"))
                #expect(
                    found.targets("layers.0.q_proj") && (item.name == "all-linear" || !found.targets("layers.0.o_proj"))
                )
            } catch {
                #expect(!isPlain || cautious.contains(item.name), "\(item.name): \(error)")
            }
        }
    }

    @Test func keysThatAreNotKnownAreRefused() throws {
        let fixture = try ModelFixture(Self.fused)
        try fixture.replace(
            "\"r\": 2", with: "\"next_years_variant\": true, \"r\": 2", in: "lora_adapter/adapter_config.json")
        #expect(fixture.complaint().contains("next_years_variant"), "\(fixture.complaint())")
    }

    /// transformers reads what the shards hold; an index that lists more is out of date.
    @Test func staleIndicesAreRead() throws {
        let fixture = try ModelFixture("one-tower-qwen2-base")
        var options = ModelExporter.Options()
        options.shardBytes = 4000
        let out = fixture.path + "-sharded"
        _ = try ModelExporter(try ModelFolder(path: fixture.path), options: options, parallel: Parallel(threads: 1))
            .write(to: out)
        let index = out + "/model.safetensors.index.json"
        let text = try String(contentsOfFile: index, encoding: .utf8)
        let first = try #require(try TensorFiles.open(in: out)?.names.first)
        let changed = text.replacingOccurrences(
            of: "\"weight_map\" : {", with: "\"weight_map\" : {\"gone.inv_freq\": \"model-00001-of-00002.safetensors\","
        )
        .replacingOccurrences(of: "\"\(first)\"", with: "\"no.\(first)\"")
        #expect(changed != text)
        let shards = try #require(try TensorFiles.open(in: out)?.files.count)
        try changed.replacingOccurrences(of: "of-00002", with: String(format: "of-%05d", shards)).write(
            toFile: index, atomically: true, encoding: .utf8)
        let files = try #require(try TensorFiles.open(in: out))
        #expect(files.entry("gone.inv_freq") == nil && files.entry(first) != nil)
    }

    @Test func anAdapterWithoutItsWeights() throws {
        let fixture = try ModelFixture(Self.fused)
        try FileManager.default.removeItem(atPath: fixture.file("lora_adapter/adapter_model.safetensors"))
        let complaint = fixture.complaint()
        for word in ["adapter_model.safetensors", "missing"] { #expect(complaint.contains(word), "\(complaint)") }
    }

    @Test func modulesThatTheAdapterDoesNotTarget() throws {
        let fixture = try ModelFixture(Self.fused)
        try fixture.replace("\"q_proj\"", with: "\"x_proj\"", in: "lora_adapter/adapter_config.json")
        let complaint = fixture.complaint()
        for word in ["q_proj", "target_modules"] { #expect(complaint.contains(word), "\(complaint)") }
    }

    @Test func valuesThatAreNotFiniteAreFound() throws {
        let fixture = try ModelFixture("one-tower-qwen2-base")
        try fixture.rewrite("model.safetensors") { file, entry in
            .init(entry.name, shape: entry.shape, floats: try file.floats(entry.name), as: .bf16)
        }
        // Such a file is not written, so it is made.
        let path = fixture.file("model.safetensors")
        let place = try SafetensorsFile(path: path).requiredEntry(Self.embedding).byteRange.lowerBound
        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        bytes.replaceSubrange(place + 6..<place + 8, with: [0xc0, 0x7f])
        try bytes.write(to: URL(fileURLWithPath: path))
        let folder = try ModelFolder(path: fixture.path)
        let complaint = folder.nonFiniteTensor(of: VLAModel(config: folder.config, fineTuning: .full))?.description
        #expect(complaint?.contains("model.safetensors: tensor '\(Self.embedding)'") == true)
    }

    @Test func halfAnAdapterModule() throws {
        let fixture = try ModelFixture(Self.fused)
        try fixture.rewrite("lora_adapter/adapter_model.safetensors") { file, entry in
            entry.name.hasSuffix("layers.0.self_attn.q_proj.lora_B.weight")
                ? nil : .init(entry.name, copying: entry, of: file)
        }
        let complaint = fixture.complaint()
        for word in ["q_proj", "lora_A", "lora_B"] { #expect(complaint.contains(word), "\(complaint)") }
    }

    @Test func pyTorchFilesAreExplained() throws {
        let fixture = try ModelFixture("one-tower-qwen2-base")
        try FileManager.default.moveItem(
            atPath: fixture.file("action_head--checkpoint.safetensors"),
            toPath: fixture.file("action_head--7_checkpoint.pt"))
        let complaint = fixture.complaint()
        for word in ["action_head--7_checkpoint.pt", "convert_checkpoint.py"] {
            #expect(complaint.contains(word), "\(complaint)")
        }
    }
}
