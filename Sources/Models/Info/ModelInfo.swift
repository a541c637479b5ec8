internal import Formats

/// What a model folder holds, compared with what its configuration calls for.
package struct ModelInfo: Sendable, Codable {
    package struct Part: Sendable, Codable {
        package var name: String
        /// The file, or the index of several.
        package var file: String?
        /// Stored tensors and values.
        package var tensors: Int
        package var parameters: Int
        /// Types of the stored tensors.
        package var dtypes: [String]
    }

    package var path: String
    package var architecture: [String]
    package var parts: [Part]
    /// Tensors that the model computes with and no file has.
    package var missing: [String]
    /// Tensors of the released layout that no file has and nothing computes with.
    package var missingUnused: [String]
    /// Stored tensors that the architecture does not know.
    package var unexpected: [String]
    /// Stored tensors of another shape than the configuration calls for, in words.
    package var mismatched: [String]
    package var notes: [String]

    package init(_ folder: ModelFolder) {
        path = folder.path
        architecture = folder.config.summary
        parts = []
        notes = []
        (missing, missingUnused, unexpected, mismatched) = ([], [], [], [])
        let stored = folder.storedFiles
        for part in ModelPart.allCases {
            addPart(part, of: folder, stored: stored)
        }
        if let adapter = folder.adapter {
            let entries = adapter.file.names.compactMap { adapter.file.entry($0) }
            parts.append(
                Part(
                    name: "lora_adapter", file: adapter.file.path, tensors: entries.count,
                    parameters: entries.reduce(0) { $0 + $1.count }, dtypes: Set(entries.map(\.dtype.rawValue)).sorted()
                ))
            notes.append(
                "The adapter (r \(adapter.settings.rank), alpha \(Self.number(adapter.settings.alpha)), "
                    + "\(adapter.settings.modules?.count ?? 0) modules) is applied on top of "
                    + "\(folder.backbone?.path ?? "a base model that is not there"). If those weights have been merged "
                    + "already, move lora_adapter away.")
        }
        for file in stored.backbone {
            unexpected += file.names.filter { folder.layout[$0] == nil && $0 != ModelPart.outputHead + ".weight" }
        }
        for (file, part) in [(folder.actionHead, ModelPart.actionHead), (folder.proprioProjector, .proprioProjector)] {
            guard let file else { continue }
            unexpected += file.names.map { part.scope + ($0.removingPrefix(ModelFolder.wrapper) ?? $0) }
                .filter { folder.layout[$0] == nil }
        }
    }

    private mutating func addPart(_ part: ModelPart, of folder: ModelFolder, stored: StoredFiles) {
        let entries = folder.layout.entries(of: part)
        guard !entries.isEmpty else { return }
        let file = stored.path(of: part)
        if file == nil, !part.isBackbone {
            let what = part == .actionHead ? "action head" : "proprioception projector"
            notes.append("There is no \(what); fine-tuning starts with a fresh one.")
            return parts.append(Part(name: part.rawValue, file: nil, tensors: 0, parameters: 0, dtypes: []))
        }
        var found: [SafetensorsFile.Entry] = []
        for entry in entries {
            guard let (file, name) = folder.location(of: entry.name), let have = file.entry(name) else {
                if entry.isUsed { missing.append(entry.name) } else { missingUnused.append(entry.name) }
                continue
            }
            found.append(have)
            let isResampled =
                VisionTower.isPositions(entry.name) && PositionGrid(have.shape, to: entry.shape) != nil
            if have.shape != entry.shape, !isResampled {
                mismatched.append(
                    "\(file.path): tensor '\(name)': the configuration calls for the shape \(entry.shape), found "
                        + "\(have.shape)")
            }
            if have.shape != entry.shape, isResampled {
                notes.append("\(entry.name) is resampled from \(have.shape[1]) positions to \(entry.shape[1]).")
            }
        }
        parts.append(
            Part(
                name: part.rawValue, file: file, tensors: found.count, parameters: found.reduce(0) { $0 + $1.count },
                dtypes: Set(found.map(\.dtype.rawValue)).sorted()))
    }

    static func number(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 1e15 ? String(Int(value)) : String(value)
    }

    /// For the terminal.
    package var lines: [String] {
        var lines = [path] + architecture.map { "  " + $0 } + [""]
        lines.append(ModelCounts.line("part", "tensors", "parameters") + "  dtype")
        for part in parts {
            lines.append(
                ModelCounts.line(part.name, String(part.tensors), String(part.parameters)) + "  "
                    + (part.tensors == 0 ? "not there" : part.dtypes.joined(separator: ", ")))
        }
        let backbone = parts.filter { ModelPart(rawValue: $0.name)?.isBackbone == true }
        lines.append(
            ModelCounts.line(
                "vision-language model", String(backbone.reduce(0) { $0 + $1.tensors }),
                String(backbone.reduce(0) { $0 + $1.parameters })))
        lines.append("")
        lines += Self.list("missing", missing, why: "")
        lines += Self.list("missing, but on no path to the actions", missingUnused, why: "")
        lines += Self.list("unexpected", unexpected, why: "")
        lines += mismatched
        if missing.isEmpty, unexpected.isEmpty, mismatched.isEmpty {
            lines.append("Nothing that the model computes with is missing, and nothing is unexpected.")
        }
        return lines + notes
    }

    private static func list(_ title: String, _ names: [String], why: String) -> [String] {
        guard !names.isEmpty else { return [] }
        let shown = names.prefix(8).map { "    \($0)" }
        let rest = names.count > shown.count ? ["    and \(names.count - shown.count) more"] : []
        return ["\(title): \(names.count) tensor\(names.count == 1 ? "" : "s")"] + shown + rest
    }
}

/// The files behind the parts of a folder.
struct StoredFiles {
    let backbone: [SafetensorsFile]
    private let folder: ModelFolder

    init(_ folder: ModelFolder) {
        self.folder = folder
        backbone = folder.backbone?.files ?? []
    }

    func path(of part: ModelPart) -> String? {
        switch part {
        case .actionHead: folder.actionHead?.path
        case .proprioProjector: folder.proprioProjector?.path
        default: folder.backbone?.path
        }
    }
}

extension ModelFolder {
    var storedFiles: StoredFiles { StoredFiles(self) }
}

extension ModelConfig {
    /// The architecture in a few lines.
    package var summary: [String] {
        let grid = imageSize / patchSize
        var lines = towers.map { tower in
            "tower \(tower.prefix): \(tower.kind), width \(tower.dim), \(tower.depth) blocks (output of block "
                + "\(tower.outputBlock)), \(tower.heads) heads, MLP \(tower.mlp)"
        }
        lines.append(
            "images \(imageSize) x \(imageSize), patches of \(patchSize): \(grid) x \(grid) each, \(cameras) "
                + "camera\(cameras == 1 ? "" : "s")")
        lines.append("projector \(projectorDims.map(String.init).joined(separator: " -> "))")
        lines.append(
            "decoder \(decoder.modelType), width \(decoder.hiddenSize), \(decoder.layers) layers, \(decoder.heads) heads "
                + "(\(decoder.keyValueHeads) for keys), MLP \(decoder.intermediateSize), vocabulary "
                + "\(decoder.vocabularySize), \(decoder.isCausal ? "causal" : "bidirectional") attention, "
                + "\(decoder.tiesWordEmbeddings ? "tied" : "untied") head")
        lines.append(
            "\(queries) action queries; \(policy.pro ? "Pro" : "base") action head, width \(policy.dim), "
                + "\(policy.blocks) blocks, \(policy.heads) heads; \(chunk) actions of \(actionDim) numbers, "
                + "\(proprioDim) of proprioception\(usesProprio ? "" : ", which it does not see")")
        let prompt = promptTemplate.replacingOccurrences("\n", with: "\\n")
        return lines + ["prompt \(prompt)"]
    }
}

extension String {
    fileprivate func replacingOccurrences(_ text: Character, with other: String) -> String {
        split(separator: text, omittingEmptySubsequences: false).joined(separator: other)
    }
}
