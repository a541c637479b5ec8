internal import Formats
internal import Foundation

/// Writes a model whose weights are a blend of others': between a base and its fine-tuned forms, or a mean of several.
///
/// Tensors are read and written in pieces, so that memory does not grow with the models.
package struct ModelBlend {
    package enum Method: String, Sendable, CaseIterable {
        /// Between the base and one tuned model: (1 - α) θ_0 + α θ_1 (WiSE-FT, Wortsman et al. 2022).
        case wise
        /// The mean of all models, by weight (model soups, Wortsman et al. 2022).
        case soup
        /// θ_0 + α Σ w_i (θ_i - θ_0) (Ilharco et al. 2023).
        case taskArithmetic = "task-arithmetic"
        /// Trimmed task vectors, elected signs, disjoint mean (Yadav et al. 2023).
        case ties
    }

    package struct Options: Sendable {
        package var method = Method.wise
        /// α where ``alphas`` has none.
        package var alpha = 1.0
        /// α by parameter group.
        package var alphas: [String: Double] = [:]
        /// The group of a tensor by its name.
        package var group: @Sendable (String) -> String? = { _ in nil }
        /// By model: all of them in a soup, else the tuned ones; empty is 1 for each. A soup's are divided by their sum.
        package var weights: [Double] = []
        /// TIES: share of each tensor's task vector that stays, at least one element.
        package var density = 0.2
        /// Type of the backbone's floats; nil keeps those of the first tuned model.
        package var storage: ModelFolder.Storage?
        /// Largest size of a file of weights, in bytes.
        package var shardBytes = 5_000_000_000

        package init() {}
    }

    package struct Report: Sendable {
        package var tensors = 0
        /// Tensors that the base lacks: the tuned model's, or the mean of several.
        package var withoutBase = 0
        package var notes: [String] = []
    }

    private let base: BlendSource
    private let tuned: [BlendSource]
    private let options: Options

    /// - Parameter models: the base and the tuned ones; in a soup all are alike.
    package init(_ models: [ModelFolder], options: Options) throws {
        let sources = try models.map(BlendSource.init)
        guard let first = sources.first, sources.count > 1 else {
            throw ModelError(.unsuitable, "a blend takes at least two models: BASE TUNED")
        }
        guard options.method != .wise || sources.count == 2 else {
            throw ModelError(
                .unsuitable,
                "--method wise is between BASE and one TUNED model, \(sources.count - 1) are given; soup, task-arithmetic and "
                    + "ties take several")
        }
        let tuned = Array(sources.dropFirst())
        let weighted = options.method == .soup ? sources.count : tuned.count
        guard options.weights.isEmpty || options.weights.count == weighted else {
            throw ModelError(
                .unsuitable,
                "--weights has \(options.weights.count) numbers; expected \(weighted), one for each model"
                    + (options.method == .soup ? "" : " after BASE"))
        }
        (base, self.tuned, self.options) = (first, tuned, options)
        for other in tuned.dropFirst() {
            try tuned[0].check(against: other, isBase: false)
            try other.check(against: tuned[0], isBase: false)
        }
        try base.check(against: tuned[0], isBase: options.method != .soup)
        if options.method == .soup { try tuned[0].check(against: base, isBase: false) }
        for name in tuned[0].names where base.find(name) == nil { try checkAbsent(name) }
    }

    /// Writes to `path`, which must not exist: it appears when everything is written.
    package func write(to path: String) throws -> Report {
        let manager = FileManager.default
        guard !manager.fileExists(atPath: path) else {
            throw ModelError(.exists, "\(path) exists already; choose a folder that does not")
        }
        let partial = path + ".partial"
        try? manager.removeItem(atPath: partial)
        try manager.createDirectory(atPath: partial, withIntermediateDirectories: true)
        do {
            let report = try writeFiles(to: partial)
            try manager.moveItem(atPath: partial, toPath: path)
            return report
        } catch {
            try? manager.removeItem(atPath: partial)
            throw error
        }
    }

    private func writeFiles(to path: String) throws -> Report {
        var report = Report()
        let first = tuned[0]
        var parts: [ModelPart: [SafetensorsWriter.Tensor]] = [:]
        var backbone: [SafetensorsWriter.Tensor] = []
        for name in first.names {
            let part = first.folder.layout[name]?.part ?? .languageModel
            let stored = part.isBackbone ? name : String(name.dropFirst(part.rawValue.count + 1))
            guard let tensor = try tensor(name, as: part.isBackbone ? options.storage : nil, named: stored) else {
                continue
            }
            if part.isBackbone { backbone.append(tensor) } else { parts[part, default: []].append(tensor) }
            report.tensors += 1
            if base.find(name) == nil { report.withoutBase += 1 }
        }
        try SafetensorsWriter.writeModel(backbone, to: path, shardBytes: options.shardBytes)
        for (part, tensors) in parts.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            try SafetensorsWriter.write(
                tensors, metadata: ["format": "pt"], to: "\(path)/\(part.rawValue)--checkpoint.safetensors")
        }
        try AtomicFile.write(first.folder.config.source(storedAs: options.storage), to: path + "/config.json")
        try ModelFolder.copyCompanions(from: [first.folder.path, base.folder.path], to: path)
        report.notes = statisticsNotes()
        return report
    }

    /// Models that were tuned on other data: one set of statistics cannot be right for all of them.
    private func statisticsNotes() -> [String] {
        func statistics(_ source: BlendSource) -> Data? {
            FileManager.default.contents(atPath: source.folder.path + "/dataset_statistics.json")
        }
        let all = options.method == .soup ? [base] + tuned : tuned
        return all.filter { $0.folder.path != tuned[0].folder.path && statistics($0) != statistics(tuned[0]) }.map {
            "dataset_statistics.json is that of \(tuned[0].folder.path); \($0.folder.path) was trained with another, by which "
                + "its actions were normalised"
        }
    }

    // MARK: - Tensors

    private func tensor(
        _ name: String, as storage: ModelFolder.Storage?, named stored: String
    ) throws -> SafetensorsWriter.Tensor? {
        let others = tuned.compactMap { $0.find(name).map(BlendTensor.init) }
        guard let first = others.first else { return nil }
        let start = base.find(name).map(BlendTensor.init)
        guard let kept = first.entry.dtype.floatStorage else {
            // Whole numbers have no mean.
            for other in others + [start].compactMap(\.self) {
                let isEqual = first.file.withBytes(first.entry) { mine in
                    other.file.withBytes(other.entry) { mine.elementsEqual($0) }
                }
                guard isEqual, other.entry.dtype == first.entry.dtype else {
                    throw FileError(
                        path: other.file.path, .unsupported,
                        "tensor '\(other.entry.name)' of type \(other.entry.dtype.rawValue) is another than in "
                            + "\(first.file.path), and only floating-point numbers can be blended")
                }
            }
            return .init(stored, copying: first.entry, of: first.file)
        }
        let storage = storage ?? kept
        var arithmetic: BlendArithmetic?
        let job = BlendJob(base: start ?? first, others: others, storage: storage)
        return .init(stored, shape: first.entry.shape, as: storage) { range, buffer throws(FileError) in
            var sum: BlendArithmetic
            // TIES reads both tensors to find what to trim, so not before the tensor's turn has come.
            if let arithmetic { sum = arithmetic } else { sum = try self.arithmetic(name, base: start, others) }
            try job.fill(range, with: &sum, into: buffer)
            arithmetic = sum
        }
    }

    private func alpha(of name: String) -> Double {
        options.group(name).flatMap { options.alphas[$0] } ?? options.alpha
    }

    private func arithmetic(
        _ name: String, base: BlendTensor?, _ others: [BlendTensor]
    ) throws(FileError) -> BlendArithmetic {
        let count = options.method == .soup ? tuned.count + 1 : tuned.count
        let weights = options.weights.isEmpty ? Array(repeating: 1, count: count) : options.weights
        let alpha = alpha(of: name)
        guard let base, options.method != .soup else {
            let total = weights.reduce(0, +)
            return .mean(weights: weights.map { $0 / total })
        }
        switch options.method {
        case .wise: return .mean(weights: [1 - alpha, alpha])
        case .ties:
            let kept = Self.kept(of: base.entry.count, density: options.density)
            var trims: [Trim] = []
            for other in others { trims.append(try BlendJob.trim(other, from: base, keeping: kept)) }
            return .ties(weights: weights, alpha: alpha, trims: trims)
        case .soup, .taskArithmetic: return .taskArithmetic(scales: weights.map { alpha * $0 })
        }
    }

    /// Elements of a tensor that TIES keeps: rounded up, so that a gate of one value is not lost.
    static func kept(of count: Int, density: Double) -> Int {
        min(count, max(1, Int((density * Double(count) - 1e-9).rounded(.up))))
    }

    /// Refuses a tensor that the base lacks where that would need one, and an α that cannot act on it.
    private func checkAbsent(_ name: String) throws {
        let part = options.group(name)
        let missing = "\(base.folder.path): has no '\(name)'"
        guard tuned.count == 1 || options.weights.allSatisfy({ $0 > 0 }) else {
            throw ModelError(
                .unsuitable,
                "\(missing) to add to or take from; without it the tuned models' are averaged, which needs --weights above 0"
            )
        }
        guard let part else { throw ModelError(.missing, "\(missing), which \(tuned[0].folder.path) has") }
        if let alpha = options.alphas[part], alpha != 1 {
            throw ModelError(
                .unsuitable,
                "\(missing) to blend with, so \(part) stays as it was tuned; leave \(part)=\(alpha) out of --alpha or write "
                    + "\(part)=1")
        }
        if let other = base.names.first(where: { options.group($0) == part }) {
            throw ModelError(.mismatched, "\(missing), though it has '\(other)'; is it the model that was fine-tuned?")
        }
    }
}

extension SafetensorsType {
    /// What floating-point numbers of this type are written as; nil for other types.
    fileprivate var floatStorage: ModelFolder.Storage? {
        switch self {
        case .f32, .f64: .f32
        case .bf16: .bf16
        case .f16: .f16
        default: nil
        }
    }
}
