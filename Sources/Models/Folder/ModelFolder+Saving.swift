package import Formats
internal import Foundation
package import Tensors

extension ModelFolder {
    /// Types that weights can be written as.
    package typealias Storage = SafetensorsWriter.Tensor.FloatStorage

    /// Writes a model in the layout that ``ModelFolder`` reads: the whole vision-language model, or, when it was tuned by
    /// adapters, `lora_adapter/` with the action queries in it; head and proprioception projector beside them.
    ///
    /// - `source`: the folder the model came from; what it holds and training does not touch (a tower's last block, an
    ///   untied head, tokeniser files) is carried over.
    /// - `weights`: where the parameters' values are, by id; nil takes the model's own.
    /// - `storage`: type of the backbone's tensors in the file. Adapters, head and projector are float32.
    package static func save(
        _ model: VLAModel, to folder: String, source: ModelFolder?, weights: [WeightValues]? = nil,
        storage: Storage = .f32, withHead: Bool = true
    ) throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let layout = source?.layout ?? CheckpointLayout(model.config)
        let values = StoredValues(
            layout: layout, config: model.config, model: (model, weights ?? model.parameters.currentWeights()),
            source: source)
        if case .lowRank(let settings) = model.fineTuning {
            try saveAdapter(values, settings, base: source?.basePath ?? "", to: folder + "/lora_adapter")
        } else {
            var tensors = layout.entries.filter(\.part.isBackbone).compactMap { values.tensor($0, as: storage) }
            tensors += values.unknownTensors(as: storage)
            try SafetensorsWriter.writeModel(tensors, to: folder, shardBytes: .max)
        }
        if withHead { try saveHead(values, to: folder) }
        try AtomicFile.write([UInt8](model.config.source), to: folder + "/config.json")
        guard let source else { return }
        try copyCompanions(from: [source.path], to: folder)
        // It says the size of the images, which is another now; craft does not read it, and none is better than a wrong one.
        if let original = try? ModelConfig(folder: source.path), original.imageSize != model.config.imageSize {
            try? FileManager.default.removeItem(atPath: folder + "/preprocessor_config.json")
        }
    }

    static func saveHead(_ values: StoredValues, to folder: String, storage: Storage = .f32) throws {
        for part in ModelPart.heads {
            let tensors = values.layout.entries(of: part).compactMap { entry in
                values.tensor(entry, as: storage, named: part.nameInside(entry.name))
            }
            guard !tensors.isEmpty else { continue }
            try SafetensorsWriter.write(
                tensors, metadata: ["format": "pt"], to: "\(folder)/\(part.rawValue)--checkpoint.safetensors")
        }
    }

    /// PEFT's layout. Modules that no gradient reaches are in it too, as PEFT writes them: with what the source has, or
    /// an update of zero. The action queries travel with the adapter, under the name that PEFT loads them by.
    static func saveAdapter(
        _ values: StoredValues, _ settings: AdapterSettings, base: String, to folder: String
    ) throws {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let selected = settings.modules.map(Set.init)
        let modules = values.layout.modules.filter { selected?.contains($0.name) ?? true }
        var tensors: [SafetensorsWriter.Tensor] = []
        for module in modules {
            let (a, b) = module.adapterShapes(rank: settings.rank)
            tensors.append(
                values.tensor(
                    AdapterKey.name(of: module.name, .a), shape: a, orDrawn: .lowRankA(rank: settings.rank)))
            tensors.append(values.tensor(AdapterKey.name(of: module.name, .b), shape: b, orDrawn: .zero))
        }
        if let queries = values.layout[ModelPart.actionQueriesName],
            let tensor = values.tensor(queries, as: .f32, named: AdapterKey.prefix + queries.name)
        {
            tensors.append(tensor)
        }
        try SafetensorsWriter.write(
            tensors, metadata: ["format": "pt"], to: folder + "/adapter_model.safetensors")
        try AtomicFile.write(
            adapterConfiguration(settings, targets: Set(modules.map(\.baseName)).sorted(), base: base),
            to: folder + "/adapter_config.json")
    }

    private static func adapterConfiguration(
        _ settings: AdapterSettings, targets: [String], base: String
    ) throws -> [UInt8] {
        let object: [String: Any] = [
            "peft_type": "LORA", "r": settings.rank, "lora_alpha": settings.alpha, "lora_dropout": 0.0, "bias": "none",
            "fan_in_fan_out": false, "inference_mode": true, "base_model_name_or_path": base,
            "init_lora_weights": "gaussian", "task_type": NSNull(), "target_modules": targets,
        ]
        let data = try JSONSerialization.data(
            withJSONObject: object, options: [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes])
        return [UInt8](data) + [10]
    }

    /// Copies what travels beside the weights, each file from the first folder that has it and only when the target
    /// does not.
    static func copyCompanions(from folders: [String], to target: String) throws {
        for name in companions where !FileManager.default.fileExists(atPath: target + "/" + name) {
            guard
                let data = folders.lazy.compactMap({ FileManager.default.contents(atPath: $0 + "/" + name) }).first
            else { continue }
            try AtomicFile.write([UInt8](data), to: target + "/" + name)
        }
    }

    private static let companions = [
        "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
        "merges.txt", "tokenizer.model", "preprocessor_config.json", "processor_config.json", "generation_config.json",
        "configuration_prismatic.py", "modeling_prismatic.py", "processing_prismatic.py", "dataset_statistics.json",
    ]
}

/// Where the values of a checkpoint's tensors come from: the model, else the folder it came from.
struct StoredValues {
    let layout: CheckpointLayout
    let config: ModelConfig
    /// With where its parameters' values are, by id.
    let model: (VLAModel, weights: [WeightValues])?
    let source: ModelFolder?

    /// The tensor as it is to be written; nil when neither has it. A layer of the head that nothing uses is drawn.
    func tensor(
        _ entry: CheckpointLayout.Entry, as storage: SafetensorsWriter.Tensor.FloatStorage?, named name: String? = nil
    ) -> SafetensorsWriter.Tensor? {
        let name = name ?? entry.name
        if let (model, weights) = model, let id = model.parameters.id(of: entry.name),
            case .float32(let values) = weights[id]
        {
            return .init(name, shape: entry.shape, pointer: values, as: storage ?? .f32)
        }
        if let (file, stored) = source?.location(of: entry.name), let found = file.entry(stored) {
            // Images of another size than the source's: what is written goes with the configuration beside it.
            if VisionTower.isPositions(entry.name), found.shape != entry.shape,
                let grid = PositionGrid(found.shape, to: entry.shape)
            {
                return .init(name, shape: entry.shape, as: storage ?? .f32) { () throws(FileError) in
                    grid.resampled(try file.floats(stored))
                }
            }
            return .init(name, copying: found, of: file, as: storage)
        }
        if model != nil, !entry.part.isBackbone, !entry.isUsed {
            return drawn(entry, named: name, as: storage ?? .f32, seed: 0)
        }
        return nil
    }

    /// A tensor of an adapter.
    func tensor(_ name: String, shape: [Int], orDrawn fresh: FreshValues) -> SafetensorsWriter.Tensor {
        if let (model, weights) = model, let id = model.parameters.id(of: name),
            case .float32(let values) = weights[id]
        {
            return .init(name, shape: shape, pointer: values)
        }
        if let file = source?.adapter?.file, let entry = file.entry(name), entry.shape == shape {
            return .init(name, copying: entry, of: file, as: .f32)
        }
        return drawn(
            .init(name: name, shape: shape, part: .languageModel, isUsed: false, fresh: fresh), as: .f32, seed: 0)
    }

    /// A tensor with fresh values.
    func drawn(
        _ entry: CheckpointLayout.Entry, named name: String? = nil, as storage: SafetensorsWriter.Tensor.FloatStorage,
        seed: UInt64
    ) -> SafetensorsWriter.Tensor {
        .init(name ?? entry.name, shape: entry.shape, as: storage) { () throws(FileError) in
            [Float](unsafeUninitializedCapacity: entry.count) { buffer, count in
                if let base = buffer.baseAddress {
                    Initialiser(seed: seed).fill(entry.name, count: entry.count, with: entry.fresh, base)
                }
                count = entry.count
            }
        }
    }

    /// Tensors of the source's backbone that the layout does not know.
    func unknownTensors(as storage: SafetensorsWriter.Tensor.FloatStorage?) -> [SafetensorsWriter.Tensor] {
        guard let backbone = source?.backbone else { return [] }
        return backbone.names.compactMap { name in
            guard layout[name] == nil, let file = backbone.file(of: name), let entry = file.entry(name) else {
                return nil
            }
            return .init(name, copying: entry, of: file, as: storage)
        }
    }
}
