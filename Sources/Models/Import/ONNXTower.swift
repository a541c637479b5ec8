package import Formats
internal import Foundation

/// A DINOv2 vision transformer out of an ONNX export of transformers' `Dinov2Model`.
///
/// The exporter transposes the weights of linear layers and takes their names away; they are found by the nodes that use
/// them. The position of the class token, which DINOv2 adds to it, becomes part of the token itself; those of the patches
/// are resampled to the grid that is asked for, as transformers does.
package struct ONNXTower: PretrainedSource {
    /// The entry of `craft_small.towers`.
    package let configuration: [String: Any]
    package let width: Int
    package let patchSize: Int
    private let names: Names
    /// Initialisers of the positions of class token and patches.
    private let positions: (classToken: String, patches: String)

    /// Width of a head in every DINOv2.
    private static let headDim = 64

    package var path: String { names.file.path }

    package init(path: String, imageSize: Int) throws(FileError) {
        names = Names(try ONNXFile(path: path))
        let patches = try names.initialiser(named: "embeddings.patch_embeddings.projection.weight")
        guard patches.shape.count == 4, patches.shape[1] == 3, patches.shape[2] == patches.shape[3],
            patches.shape[0] % Self.headDim == 0, patches.shape[2] > 0, imageSize % patches.shape[2] == 0
        else {
            throw FileError(
                path: path, .mismatched,
                "the patch embedding has the shape \(patches.shape); expected [width, 3, patch, patch] with a width in "
                    + "heads of 64 and a patch that divides the image's \(imageSize) pixels")
        }
        (width, patchSize) = (patches.shape[0], patches.shape[2])
        let depth = names.depth
        guard depth >= 2 else { throw FileError(path: path, "has \(depth) encoder layers; expected at least 2") }
        let mlp = try names.initialiser(named: "encoder.layer.0.mlp.fc1.bias").count
        positions = try names.positions(width: width)
        configuration = [
            "kind": "dinov2", "prefix": ModelPart.featurizer.component, "dim": width, "depth": depth,
            "heads": width / Self.headDim,
            "mlp": mlp, "class_token": true, "register_tokens": 0, "layer_scale": true, "attn_pool": false,
            "output_block": depth - 2, "layer_norm_eps": 1e-6,
        ]
    }

    /// Every tensor that the configuration declares; ``values(of:)`` tells when one is not there.
    package func holds(_ entry: CheckpointLayout.Entry) -> Bool { entry.part == .featurizer }

    /// An export has constants and an unused mask token beside the weights.
    package func unread(_ entries: [CheckpointLayout.Entry]) -> String? { nil }

    package func values(of entry: CheckpointLayout.Entry) throws(FileError) -> [Float] {
        var values: [Float] = []
        switch entry.part.nameInside(entry.name) {
        case "cls_token":
            values = zip(
                try names.floats(named: "embeddings.cls_token"), try names.file.floats(positions.classToken)
            ).map { $0 + $1 }
        case "pos_embed": values = try patchPositions(entry.shape)
        case let name:
            let (modules, kind) = Self.stored(name)
            let isMatrix = kind == "weight" && entry.shape.count == 2
            for module in modules {
                values +=
                    isMatrix
                    ? try names.matrix(of: module, inputs: entry.shape[1], outputs: entry.shape[0] / modules.count)
                    : try names.floats(named: module + "." + kind)
            }
        }
        guard values.count == entry.count else {
            throw FileError(
                path: path, .mismatched,
                "has \(values.count) values for \(entry.name); expected the shape \(entry.shape)")
        }
        return values
    }

    private func patchPositions(_ shape: [Int]) throws(FileError) -> [Float] {
        let stored = names.file.initialisers[positions.patches]?.shape ?? []
        let values = try names.file.floats(positions.patches)
        if stored == shape { return values }
        guard let resampling = PositionGrid(stored, to: shape) else {
            throw FileError(path: path, "the positions have the shape \(stored); expected a square grid")
        }
        return resampling.resampled(values, as: .transformers)
    }

    /// transformers' names of modules, by timm's: within a block, and outside of the blocks.
    private static let blockModules = [
        "norm1": ["norm1"], "norm2": ["norm2"], "attn.proj": ["attention.output.dense"], "mlp.fc1": ["mlp.fc1"],
        "mlp.fc2": ["mlp.fc2"], "ls1": ["layer_scale1"], "ls2": ["layer_scale2"],
        "attn.qkv": ["query", "key", "value"].map { "attention.attention." + $0 },
    ]
    private static let modules = ["patch_embed.proj": "embeddings.patch_embeddings.projection", "norm": "layernorm"]

    /// transformers' modules that make up one of timm's, their rows one below the other, and the name of the tensor in each.
    private static func stored(_ name: String) -> (modules: [String], kind: String) {
        let parts = name.split(separator: ".").map(String.init)
        let kind = parts.last == "scale_factor" ? "lambda1" : parts.last ?? ""
        if parts.count > 3, parts[0] == "blocks" {
            let inside = parts[2..<parts.count - 1].joined(separator: ".")
            return ((blockModules[inside] ?? [inside]).map { "encoder.layer.\(parts[1])." + $0 }, kind)
        }
        let module = parts.dropLast().joined(separator: ".")
        return ([modules[module] ?? module], kind)
    }

    /// Looks up weights by the names of transformers' modules, whatever prefix the exporter put in front.
    private struct Names {
        let file: ONNXFile
        private let prefix: String
        /// Initialisers that a node takes, by the node's name.
        private let inputs: [String: [String]]

        init(_ file: ONNXFile) {
            self.file = file
            let known = "embeddings.cls_token"
            prefix = file.initialisers.keys.first { $0.hasSuffix(known) }.map { String($0.dropLast(known.count)) } ?? ""
            inputs = Dictionary(
                file.nodes.map { node in (node.name, node.inputs.filter { file.initialisers[$0] != nil }) },
                uniquingKeysWith: { $0 + $1 })
        }

        var depth: Int {
            (0..<1024).first { file.initialisers[prefix + "encoder.layer.\($0).norm1.weight"] == nil } ?? 0
        }

        func initialiser(named name: String) throws(FileError) -> ONNXFile.Initialiser {
            guard let found = file.initialisers[prefix + name] else {
                throw FileError(
                    path: file.path, .mismatched,
                    "has no initialiser '\(prefix + name)'; is it transformers' Dinov2Model?")
            }
            return found
        }

        func floats(named name: String) throws(FileError) -> [Float] {
            _ = try initialiser(named: name)
            return try file.floats(prefix + name)
        }

        /// The weight [outputs, inputs] of a linear layer, stored as [inputs, outputs] under a number.
        func matrix(of module: String, inputs rows: Int, outputs: Int) throws(FileError) -> [Float] {
            let node =
                "/"
                + (prefix + module).replacingOccurrences(of: ".", with: "/")
                .replacingOccurrences(of: "layer/", with: "layer.") + "/MatMul"
            guard let name = inputs[node]?.first, file.initialisers[name]?.shape == [rows, outputs] else {
                throw FileError(
                    path: file.path, .mismatched,
                    "the node '\(node)' does not take an initialiser of the shape [\(rows), \(outputs)]")
            }
            let values = try file.floats(name)
            return [Float](unsafeUninitializedCapacity: values.count) { buffer, count in
                for output in 0..<outputs {
                    for row in 0..<rows { buffer[output * rows + row] = values[row * outputs + output] }
                }
                count = values.count
            }
        }

        /// Names of the class token's position [1, 1, D] and the patches' [1, n, D], which nodes of the embeddings take.
        func positions(width: Int) throws(FileError) -> (classToken: String, patches: String) {
            let scope = "/" + prefix.replacingOccurrences(of: ".", with: "/") + "embeddings/"
            let taken = inputs.filter { $0.key.hasPrefix(scope) }.flatMap(\.value).filter { !$0.hasPrefix(prefix) }
            func find(_ condition: (Int) -> Bool) throws(FileError) -> String {
                let found = taken.filter { name in
                    guard let shape = file.initialisers[name]?.shape else { return false }
                    return shape.count == 3 && shape[0] == 1 && shape[2] == width && condition(shape[1])
                }
                guard Set(found).count == 1, let name = found.first else {
                    throw FileError(
                        path: file.path,
                        "expected one position for the class token and a grid of positions, found \(found)")
                }
                return name
            }
            return (try find { $0 == 1 }, try find { $0 > 1 })
        }
    }
}
