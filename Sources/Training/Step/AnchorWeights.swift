package import Formats
internal import Kernels
package import Models
package import Tensors

/// The initial weights, from which anchor features are computed, without a second model in memory where that can be
/// avoided.
///
/// Three sources that must agree: low-rank updates switched off with the initial queries (no memory), tensors mapped
/// read-only from the model's files, in the files' precision (no resident copy), and a copy made at the start (works
/// always).
package final class AnchorWeights {
    /// Where anchor features come from.
    package enum Source: String, Sendable, Codable, CaseIterable {
        /// Adapters off; only valid when the adapter starts at zero.
        case adaptersOff
        /// The model's files, mapped.
        case mapped
        /// A copy in memory.
        case copy
    }

    package let source: Source
    /// Values of every parameter under the initial weights, by id.
    package private(set) var table: [WeightValues]
    /// Whether low-rank updates take part in the anchor's forward pass.
    package var usesAdapters: Bool { source != .adaptersOff }
    /// Bytes that had to be copied.
    package private(set) var residentBytes: Int
    private var copies: [FloatBuffer]
    private let files: [SafetensorsFile]
    /// Whether nothing has been read, to plan memory with.
    private let isUnread: Bool

    /// Stands for anchor weights that have not been read, to plan memory with.
    init(unread model: VLAModel, source: Source, folder: ModelFolder) {
        self.source = source
        table = model.parameters.currentWeights()
        (copies, files, isUnread) = ([], [], true)
        residentBytes = model.backboneParameters.reduce(0) { total, id in
            let parameter = model.parameters[id]
            let counts = parameter.isTrainable && (source != .adaptersOff || id == model.actionQueries)
            guard counts else { return total }
            if source == .mapped, let stored = folder.location(of: parameter.name),
                case .half = ModelFolder.mappedWeights(of: parameter, in: stored.file, as: stored.name)
            {
                return total + 2 * parameter.count
            }
            return total + 4 * parameter.count
        }
    }

    /// - `folder`: the model's files. `initial`: tensors that the folder lacks (freshly drawn ones), as saved at the
    ///   start of the run. What neither has is copied from `model`, which must then hold the initial weights.
    /// - `isResuming`: the model has been trained already, so nothing may come from it.
    package init(
        model: VLAModel, source: Source, folder: ModelFolder?, initial: SafetensorsFile?, isResuming: Bool = false
    ) throws {
        self.source = source
        var table = model.parameters.currentWeights()
        var copies: [FloatBuffer] = []
        var files: [SafetensorsFile] = []
        for id in model.backboneParameters {
            let parameter = model.parameters[id]
            guard parameter.isTrainable else { continue }
            if source == .adaptersOff && id != model.actionQueries { continue }
            let stored: (file: SafetensorsFile, name: String)? =
                initial?.entry(parameter.name) != nil
                ? initial.map { ($0, parameter.name) } : folder?.location(of: parameter.name)
            if source == .mapped, let stored,
                let mapped = ModelFolder.mappedWeights(of: parameter, in: stored.file, as: stored.name)
            {
                files.append(stored.file)
                table[id] = mapped
                continue
            }
            let copy = FloatBuffer(count: parameter.count)
            if let stored, let folder {
                try folder.copyValues(of: parameter, from: stored.file, as: stored.name, into: copy.base)
            } else if let stored {
                try stored.file.copyFloats(
                    stored.name, shape: parameter.shape, into: copy.base, count: parameter.count)
            } else if isResuming {
                throw ModelError(
                    .missing,
                    "the initial value of \(parameter.name), which anchor features need, is neither in the model folder "
                        + "nor in the run's initial.safetensors")
            } else {
                copy.copy(from: model.parameters.values(id))
            }
            copies.append(copy)
            table[id] = .float32(copy.base)
        }
        self.table = table
        self.copies = copies
        self.files = files
        isUnread = false
        residentBytes = copies.reduce(0) { $0 + $1.count * MemoryLayout<Float>.stride }
    }

    /// Copies the action head and the proprioception projector too, which features do without and actions need. `model`
    /// must hold the initial weights, as it does before a checkpoint is restored.
    func keepHead(of model: VLAModel) {
        for parameter in model.parameters.parameters
        where parameter.isTrainable && model.isHeadParameter(parameter.name) {
            residentBytes += parameter.count * MemoryLayout<Float>.stride
            if isUnread { continue }
            let copy = FloatBuffer(count: parameter.count)
            copy.copy(from: model.parameters.values(parameter.id))
            copies.append(copy)
            table[parameter.id] = .float32(copy.base)
        }
    }
}

extension AnchorWeights.Source {
    /// What a choice means for a run.
    ///
    /// - `adapter`: adapters that the run makes. `trained`: whether the model came with one.
    init(_ choice: RunSettings.AnchorChoice, adapter: AdapterSettings?, trained: Bool) {
        switch choice {
        case .adaptersOff: self = .adaptersOff
        case .mapped: self = .mapped
        case .copy: self = .copy
        // An adapter that has been trained before is part of the initial weights and cannot be switched off.
        case .automatic: self = adapter != nil && !trained ? .adaptersOff : .mapped
        }
    }
}
