internal import Formats
internal import Foundation
package import Tensors

/// Writes a model folder anew: in another precision, in shards, with its adapter merged into the weights or beside them.
package struct ModelExporter {
    package struct Options: Sendable {
        /// Type of the backbone's floats; nil keeps each as it is stored, or float32 for merged ones.
        package var storage: ModelFolder.Storage?
        /// Whether the adapter is folded into the weights.
        package var merges = false
        /// Largest size of a file of weights, in bytes.
        package var shardBytes = 5_000_000_000

        package init() {}
    }

    package struct Report: Sendable {
        package var tensors = 0
        /// Modules whose update was merged.
        package var mergedModules = 0
        /// Largest difference of hidden states and actions between the folder that was read, with its adapter, and the
        /// one that was written, relative to the largest value; nil when nothing was merged.
        package var difference: Double?
        package var notes: [String] = []
    }

    private let folder: ModelFolder
    private let options: Options
    private let parallel: Parallel

    package init(_ folder: ModelFolder, options: Options, parallel: Parallel) throws {
        self.folder = folder
        self.options = options
        self.parallel = parallel
        guard folder.backbone != nil || !options.merges else {
            throw ModelError(
                .missing,
                "\(folder.path): no model.safetensors to merge into; give the folder of the base model with --base")
        }
        guard options.merges == false || folder.adapter != nil else {
            throw ModelError(
                .missing, "\(folder.path)/lora_adapter: no adapter to merge; export copies a folder without one")
        }
        if options.merges, folder.location(of: ModelPart.actionQueriesName) == nil {
            throw ModelError(
                .missing,
                "\(folder.path): neither the adapter nor the base holds \(ModelPart.actionQueriesName); merged weights without the "
                    + "trained queries would start from random ones. Add the tensor to the adapter as "
                    + "\(AdapterKey.prefix)\(ModelPart.actionQueriesName)")
        }
    }

    /// Writes to `path`, which must not exist: it appears when everything is written and checked.
    package func write(to path: String) throws -> Report {
        let manager = FileManager.default
        guard !manager.fileExists(atPath: path) else {
            throw ModelError(.exists, "\(path) exists already; choose a folder that does not")
        }
        let partial = path + ".partial"
        try? manager.removeItem(atPath: partial)
        try manager.createDirectory(atPath: partial, withIntermediateDirectories: true)
        do {
            var report = try writeFiles(to: partial)
            if options.merges { report.difference = try checkMerge(at: partial) }
            try manager.moveItem(atPath: partial, toPath: path)
            return report
        } catch {
            try? manager.removeItem(atPath: partial)
            throw error
        }
    }

    private func writeFiles(to path: String) throws -> Report {
        var report = Report()
        let values = StoredValues(layout: folder.layout, config: folder.config, model: nil, source: folder)
        let hasOwnBackbone = try TensorFiles.open(in: folder.path) != nil
        let storage = options.storage ?? (options.merges ? .f32 : nil)
        if hasOwnBackbone || options.merges {
            var tensors: [SafetensorsWriter.Tensor] = []
            for entry in folder.layout.entries where entry.part.isBackbone {
                if options.merges, let merged = merged(entry, as: storage ?? .f32) {
                    tensors.append(merged)
                    report.mergedModules += 1
                } else if options.merges || entry.part != .actionQueries || folder.backbone?.entry(entry.name) != nil,
                    let tensor = values.tensor(entry, as: storage)
                {
                    tensors.append(tensor)
                }
            }
            tensors += values.unknownTensors(as: storage)
            report.tensors = tensors.count
            try SafetensorsWriter.writeModel(tensors, to: path, shardBytes: options.shardBytes)
        }
        if !options.merges, let adapter = folder.adapter {
            try ModelFolder.saveAdapter(
                values, adapter.settings, base: hasOwnBackbone ? "" : adapter.baseModel, to: path + "/lora_adapter")
        }
        if options.merges, let skipped = tiedHeadNote { report.notes.append(skipped) }
        try ModelFolder.saveHead(values, to: path)
        try AtomicFile.write(folder.config.source(storedAs: storage), to: path + "/config.json")
        try ModelFolder.copyCompanions(from: [folder.path, folder.adapter?.baseModel ?? ""], to: path)
        return report
    }

    /// The weight of an adapted module with its update folded in; nil for every other tensor.
    private func merged(
        _ entry: CheckpointLayout.Entry, as storage: ModelFolder.Storage
    ) -> SafetensorsWriter.Tensor? {
        guard let adapter = folder.adapter, entry.name.hasSuffix(".weight") else { return nil }
        let module = String(entry.name.dropLast(".weight".count))
        let (nameA, nameB) = (AdapterKey.name(of: module, .a), AdapterKey.name(of: module, .b))
        guard adapter.file.entry(nameA) != nil,
            let (file, stored) = folder.location(of: entry.name)
        else { return nil }
        let (settings, parallel) = (adapter.settings, parallel)
        let adapterFile = adapter.file
        return .init(entry.name, shape: entry.shape, as: storage) { () throws(FileError) in
            var weight = try file.floats(stored)
            let a = try adapterFile.floats(nameA)
            let b = try adapterFile.floats(nameB)
            guard weight.count == entry.count else {
                throw FileError(
                    path: file.path, .mismatched,
                    "tensor '\(stored)': the configuration calls for the shape \(entry.shape), found \(weight.count) values"
                )
            }
            weight.withUnsafeMutableBufferPointer { weight in
                guard let weight = weight.baseAddress else { return }
                mergeLowRank(
                    into: weight, a: a, b: b, outputs: entry.shape[0], inputs: entry.shape.dropFirst().reduce(1, *),
                    rank: settings.rank, scale: settings.scale, parallel)
            }
            return weight
        }
    }

    /// A head that shares the embeddings cannot take an update of its own.
    private var tiedHeadNote: String? {
        guard folder.config.decoder.tiesWordEmbeddings,
            folder.adapter?.file.entry(AdapterKey.name(of: ModelPart.outputHead, .a)) != nil
        else { return nil }
        return
            "the adapter's update of lm_head is left out: the head is tied to the embeddings, and actions do not use it"
    }

    private func checkMerge(at path: String) throws -> Double {
        let check = MergeCheck(original: folder, merged: path, parallel: parallel)
        let isExact = options.storage == nil || options.storage == .f32
        // bfloat16 keeps 8 bits of a number, float16 eleven.
        let (byDefinition, allowed) = (try check.definitionDifference(folder: folder.path), isExact ? 1e-5 : 0.01)
        guard byDefinition <= allowed else {
            throw ModelError(
                .inexact,
                "the merged weights are not W + alpha / r B A of the adapter: the largest difference is \(byDefinition) of the "
                    + "largest weight of a row, at most \(allowed) is allowed; nothing was written")
        }
        let (difference, tolerance) = (try check.difference(), isExact ? 1e-3 : 0.1)
        guard difference <= tolerance else {
            throw ModelError(
                .inexact,
                "the merged weights give other hidden states than the base with its adapter: the largest difference is "
                    + "\(difference) of the largest value, at most \(tolerance) is allowed; nothing was written")
        }
        return difference
    }
}
