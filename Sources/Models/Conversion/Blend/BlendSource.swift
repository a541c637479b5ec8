internal import Formats
internal import Foundation
internal import Kernels

/// One of the models of a blend: its tensors by their names in the whole model.
struct BlendSource {
    let folder: ModelFolder
    /// Those of the vision-language model as its files have them, then those of head and proprioception projector.
    let names: [String]

    init(_ folder: ModelFolder) throws {
        guard folder.adapter == nil else {
            throw ModelError(
                .unsuitable,
                "\(folder.path)/lora_adapter: a blend takes whole models; fold the adapter in first: craft model merge "
                    + "\(folder.path) --out DIR")
        }
        guard let backbone = folder.backbone else {
            throw ModelError(.missing, "\(folder.path)/model.safetensors: no such file; a blend takes whole models")
        }
        self.folder = folder
        let heads = folder.layout.entries.filter { !$0.part.isBackbone && folder.location(of: $0.name) != nil }
        names = backbone.names + heads.map(\.name)
    }

    /// The file and entry of a tensor.
    func find(_ name: String) -> (file: SafetensorsFile, entry: SafetensorsFile.Entry)? {
        guard let (file, stored) = folder.location(of: name) ?? folder.backbone?.file(of: name).map({ ($0, name) })
        else { return nil }
        return file.entry(stored).map { (file, $0) }
    }

    /// Refuses a model that this one cannot be blended with.
    ///
    /// - Parameter isBase: whether this is the base of `other`, which may have another head or none.
    func check(against other: BlendSource, isBase: Bool) throws {
        func comparable(_ config: ModelConfig) -> ModelConfig {
            var config = config
            (config.source, config.fixesCameras, config.fixesPolicy) = (Data(), false, false)
            if isBase {
                (config.policy, config.cameras, config.usesProprio) = (
                    other.folder.config.policy, other.folder.config.cameras, other.folder.config.usesProprio
                )
            }
            return config
        }
        guard comparable(folder.config) == comparable(other.folder.config) else {
            throw ModelError(
                .mismatched,
                "\(folder.path)/config.json and \(other.folder.path)/config.json describe different models; only models of "
                    + "one architecture can be blended")
        }
        for name in names {
            guard let (_, mine) = find(name) else { continue }
            guard let (_, theirs) = other.find(name) else {
                throw ModelError(.mismatched, "\(other.folder.path): has no tensor '\(name)', which \(folder.path) has")
            }
            guard mine.shape == theirs.shape else {
                throw ModelError(
                    .mismatched,
                    "tensor '\(name)' has the shape \(mine.shape) in \(folder.path) and \(theirs.shape) in "
                        + "\(other.folder.path); only models of one architecture can be blended")
            }
        }
    }
}

/// A tensor of one model, read in pieces.
struct BlendTensor {
    let file: SafetensorsFile
    let entry: SafetensorsFile.Entry

    /// Reads elements as float32; refuses what is no number.
    func read(_ range: Range<Int>, into buffer: UnsafeMutablePointer<Float>) throws(FileError) {
        try file.copyFloats(entry, range, into: buffer)
        guard ck_all_finite(buffer, range.count) != 0 else {
            throw FileError(
                path: file.path, .unwritable,
                "tensor '\(entry.name)' holds values that are not finite; a blend with them would spread the damage")
        }
        if range.upperBound == entry.count { file.release(entry) }
    }
}
