package import Formats
internal import Foundation
package import Tensors

/// A model on disk: `config.json`, the vision-language model in one or several safetensors files, and, when it has been
/// fine-tuned, the action head, the proprioception projector and a low-rank adapter beside them, in VLA-Adapter's layout
/// and names.
package final class ModelFolder {
    package let path: String
    package let config: ModelConfig
    package let layout: CheckpointLayout
    /// The vision-language model; nil for a folder with a configuration alone. A folder that holds an adapter without
    /// its base has that of the folder which the adapter's configuration names.
    package let backbone: TensorFiles?
    /// `action_head--*checkpoint.safetensors`, when there is one.
    package let actionHead: SafetensorsFile?
    /// `proprio_projector--*checkpoint.safetensors`, when there is one.
    package let proprioProjector: SafetensorsFile?
    /// `lora_adapter/`, when there is one.
    package let adapter: AdapterFile?
    package var adapterSettings: AdapterSettings? { adapter?.settings }

    /// Choices that a released configuration leaves open, or that replace its own.
    package struct Choices: Sendable {
        /// Images per decision, where the configuration does not say.
        package var cameras: Int?
        /// Whether the action head is the Pro one. A folder with an action head keeps that one.
        package var proPolicy: Bool?
        /// Side of the images in pixels; position embeddings are resampled.
        package var imageSize: Int?
        /// Whether the policy sees the proprioception.
        package var usesProprio: Bool?
        /// Numbers of an action and of a state, for a head and a projector that the folder does not have yet.
        package var actionDim: Int?
        package var proprioDim: Int?
        /// Folder of the base model of an adapter.
        package var base: String?
        /// Whether an adapter in the folder takes part.
        package var usesAdapter = true

        package init() {}
    }

    package init(path: String, choices: Choices = Choices()) throws {
        self.path = path
        var isDirectory: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isDirectory), isDirectory.boolValue else {
            throw ModelError(.missing, "\(path): no such model folder; expected a folder with config.json in it")
        }
        actionHead = try Self.component(.actionHead, in: path)
        proprioProjector = try Self.component(.proprioProjector, in: path)
        adapter = choices.usesAdapter ? try AdapterFile.open(in: path + "/lora_adapter") : nil
        var config = try ModelConfig(folder: path)
        // A released configuration is settled below, and a head that is there has the last word.
        let proPolicy = actionHead == nil && config.fixesPolicy ? choices.proPolicy : nil
        config = try config.changed(
            imageSize: choices.imageSize == config.imageSize ? nil : choices.imageSize,
            proPolicy: proPolicy == config.policy.pro ? nil : proPolicy,
            usesProprio: choices.usesProprio == config.usesProprio ? nil : choices.usesProprio,
            actionDim: actionHead != nil || choices.actionDim == config.actionDim ? nil : choices.actionDim,
            proprioDim: proprioProjector != nil || choices.proprioDim == config.proprioDim ? nil : choices.proprioDim,
            path: path + "/config.json")
        config.settle(cameras: choices.cameras, proPolicy: choices.proPolicy, actionHead: actionHead?.names)
        config.settleWidths(actionHead: actionHead, proprioProjector: proprioProjector)
        self.config = config
        layout = CheckpointLayout(config)
        try adapter?.check(against: layout)
        backbone = try Self.backbone(in: path, adapter: adapter, base: choices.base)
    }

    /// The folder that holds the vision-language model.
    var basePath: String {
        guard let backbone else { return path }
        return URL(fileURLWithPath: backbone.path).deletingLastPathComponent().relativePath
    }

    /// Tokeniser beside the weights.
    package var tokenizerPath: String { path + "/tokenizer.json" }

    /// The file and stored name of a parameter, or nil when this folder does not have it.
    package func location(of name: String) -> (file: SafetensorsFile, name: String)? {
        func find(_ file: SafetensorsFile?, _ candidates: [String]) -> (SafetensorsFile, String)? {
            guard let file, let name = candidates.first(where: { file.entry($0) != nil }) else { return nil }
            return (file, name)
        }
        if name.hasPrefix(AdapterKey.prefix) { return find(adapter?.file, [name]) }
        if let part = ModelPart(of: name), !part.isBackbone {
            let inside = part.nameInside(name)
            return find(headFile(of: part), [inside, Self.wrapper + inside])
        }
        return find(adapter?.file, [AdapterKey.prefix + name]) ?? find(backbone?.file(of: name), [name])
    }

    /// Gives a model the stored values: frozen tensors are read in place where their form allows it, trainable ones are
    /// copied. A part whose file is absent is left as it is.
    ///
    /// - Parameter needsBase: whether an adapter without its base model is an error.
    /// - Returns: names that no file has, for the caller to initialise: whole parts, or the action queries, which base
    ///   models lack.
    /// - Throws: when a file that is there lacks one of its tensors or holds another shape.
    package func load(into model: VLAModel, needsBase: Bool = true) throws -> [String] {
        if needsBase, let missingBase { throw ModelError(.missing, missingBase) }
        var absent: [String] = []
        var missing: [String: [String]] = [:]
        for parameter in model.parameters.parameters {
            guard let (file, stored) = location(of: parameter.name) else {
                if let part = partPath(of: parameter.name), parameter.name != ModelPart.actionQueriesName {
                    missing[part, default: []].append(parameter.name)
                } else {
                    absent.append(parameter.name)
                }
                continue
            }
            try load(parameter, from: file, as: stored, into: model.parameters)
        }
        if let (file, names) = missing.min(by: { $0.key < $1.key }) {
            throw ModelError(
                .missing,
                "\(file): \(names.count) tensor\(names.count == 1 ? "" : "s") that \(path)/config.json calls for "
                    + "\(names.count == 1 ? "is" : "are") missing, the first being \(names[0]); "
                    + "is it the file of another model?")
        }
        return absent
    }

    private func load(
        _ parameter: Parameter, from file: SafetensorsFile, as stored: String, into parameters: ParameterSet
    ) throws {
        if !parameter.isTrainable, let values = Self.mappedWeights(of: parameter, in: file, as: stored) {
            return parameters.map(parameter.id, to: values, owner: file)
        }
        try copyValues(of: parameter, from: file, as: stored, into: parameters.values(parameter.id))
    }

    /// A parameter's values where the file has them, when they can be used as they are there.
    package static func mappedWeights(
        of parameter: Parameter, in file: SafetensorsFile, as stored: String
    ) -> WeightValues? {
        guard file.entry(stored)?.shape == parameter.shape, let values = file.mappedWeights(stored) else { return nil }
        // Kernels read small tensors in float32.
        if case .half = values, !parameter.allowsHalf { return nil }
        return values
    }

    /// Copies a parameter's values as float32, [count], position embeddings resampled where the grid is another.
    package func copyValues(
        of parameter: Parameter, from file: SafetensorsFile, as stored: String, into target: UnsafeMutablePointer<Float>
    ) throws {
        let entry = try file.requiredEntry(stored)
        if VisionTower.isPositions(parameter.name), entry.shape != parameter.shape,
            let grid = PositionGrid(entry.shape, to: parameter.shape)
        {
            let values = grid.resampled(try file.floats(stored))
            target.update(from: values, count: values.count)
            return
        }
        guard entry.shape == parameter.shape else {
            throw FileError(
                path: file.path, .mismatched,
                "tensor '\(stored)': \(path)/config.json calls for the shape \(parameter.shape), found \(entry.shape)")
        }
        try file.copyFloats(stored, shape: parameter.shape, into: target, count: parameter.count)
    }

    /// The first stored tensor of a model's that holds NaN or an infinity, as an error; nil when all are numbers. Reads every
    /// weight, so it is for explaining what went wrong.
    package func nonFiniteTensor(of model: VLAModel) -> FileError? {
        for parameter in model.parameters.parameters {
            guard let (file, stored) = location(of: parameter.name), let entry = file.entry(stored),
                !file.isFinite(entry)
            else { continue }
            return FileError(
                path: file.path, .damaged,
                "tensor '\(stored)' holds values that are not finite; expected numbers throughout, so the file is damaged or "
                    + "its training diverged")
        }
        return nil
    }

    /// The file that should hold a parameter, when it exists.
    private func partPath(of name: String) -> String? {
        if name.hasPrefix(AdapterKey.prefix) { return adapter?.file.path }
        if let part = ModelPart(of: name), !part.isBackbone { return headFile(of: part)?.path }
        return backbone?.path
    }

    /// The file of a part that has one of its own.
    private func headFile(of part: ModelPart) -> SafetensorsFile? {
        part == .actionHead ? actionHead : proprioProjector
    }

    /// What PyTorch's wrapper for parallel training puts before the names in a head's file.
    static let wrapper = "module."

    // MARK: - Opening

    private static func backbone(in path: String, adapter: AdapterFile?, base: String?) throws -> TensorFiles? {
        if let base {
            guard let files = try TensorFiles.open(in: base) else {
                throw ModelError(
                    .missing, "\(base): no model.safetensors in it; --base takes the folder of the base model")
            }
            return files
        }
        if let files = try TensorFiles.open(in: path) { return files }
        guard let adapter, !adapter.baseModel.isEmpty else { return nil }
        return try TensorFiles.open(in: adapter.baseModel)
    }

    /// Why the weights that an adapter belongs to are not there; nil when they are, or nothing says where they should be.
    package var missingBase: String? {
        guard backbone == nil, let base = adapter?.baseModel, !base.isEmpty else { return nil }
        return "\(path)/lora_adapter belongs to the model in '\(base)', and there is no model.safetensors there"
            + (base.hasPrefix("/") ? "" : " as seen from this folder") + "; name its folder with --base"
    }

    /// The one file whose name has the component and "checkpoint" in it.
    private static func component(_ part: ModelPart, in folder: String) throws -> SafetensorsFile? {
        let name = part.rawValue
        let all = try FileManager.default.contentsOfDirectory(atPath: folder).filter {
            $0.contains(name) && $0.contains("checkpoint")
        }.sorted()
        let files = all.filter { $0.hasSuffix(".safetensors") }
        if files.isEmpty, let torch = all.first(where: { $0.hasSuffix(".pt") }) {
            throw FileError(
                path: folder + "/" + torch, .unsupported,
                "is a PyTorch file; turn it into safetensors with scripts/convert_checkpoint.py")
        }
        guard files.count < 2 else {
            throw ModelError(
                .ambiguous,
                "\(folder): \(files.count) files could be the \(name) (\(files.joined(separator: ", "))); leave one")
        }
        return try files.first.map { try SafetensorsFile(path: folder + "/" + $0) }
    }
}

extension ModelConfig {
    /// Fills in what a released configuration leaves open: from the caller, else from the names in an action head's file.
    mutating func settle(cameras: Int?, proPolicy: Bool?, actionHead names: [String]?) {
        if let cameras, !fixesCameras { self.cameras = cameras }
        guard !fixesPolicy else { return }
        if let proPolicy { policy.pro = proPolicy }
        guard let names else { return }
        policy.pro = names.contains { $0.hasSuffix("mlp_resnet_blocks.0.k_self.weight") }
        let blocks = names.filter { $0.hasSuffix(".gating_factor") }.count
        if (1...decoder.layers).contains(blocks) { policy.blocks = blocks }
    }
}

extension ModelConfig {
    /// A released configuration does not say how wide actions and states are; the trained parts do.
    fileprivate mutating func settleWidths(actionHead: SafetensorsFile?, proprioProjector: SafetensorsFile?) {
        guard !fixesPolicy || !fixesCameras else { return }
        func shape(_ file: SafetensorsFile?, _ name: String) -> [Int]? {
            (file?.entry(name) ?? file?.entry(ModelFolder.wrapper + name)).map(\.shape)
        }
        if let output = shape(actionHead, "model.fc2.weight"), output.count == 2 { actionDim = output[0] }
        if let input = shape(proprioProjector, "fc1.weight"), input.count == 2 { proprioDim = input[1] }
    }
}

extension SafetensorsFile {
    /// A tensor in place, in float32 or 16 bits; nil when its form does not allow that.
    func mappedWeights(_ name: String) -> WeightValues? {
        if let floats = mappedFloats(name) { return .float32(floats) }
        guard let entry = entry(name), entry.dtype == .bf16 || entry.dtype == .f16,
            let start = mappedBytes(entry), Int(bitPattern: start) % 2 == 0
        else { return nil }
        return .half(
            HalfValues(start.assumingMemoryBound(to: UInt16.self), entry.dtype == .bf16 ? .bfloat16 : .float16))
    }
}
