internal import Data
internal import Formats
internal import Foundation
internal import Models

/// A DINOv2 vision transformer out of an ONNX export of transformers' `Dinov2Model`.
///
/// The exporter transposes the weights of linear layers and takes their names away; they are found by the nodes that use
/// them. The position of the class token, which DINOv2 adds to it, becomes part of the token itself; those of the patches
/// are resampled to the grid that is asked for, as transformers does.
struct PretrainedTower {
    let parts: [String: AssembledModel.Part]
    /// The entry of `craft_small.towers`.
    let configuration: [String: Any]
    let dim: Int
    let patchSize: Int

    private static let scope = "vision_backbone.featurizer."
    /// Width of a head in every DINOv2.
    private static let headDim = 64

    init(path: String, imageSize: Int) throws {
        let file = try ONNXFile(path: path)
        let names = Names(file)
        let patches = try names.initialiser(named: "embeddings.patch_embeddings.projection.weight")
        guard patches.shape.count == 4, patches.shape[1] == 3, patches.shape[2] == patches.shape[3],
            patches.shape[0] % Self.headDim == 0, patches.shape[2] > 0, imageSize % patches.shape[2] == 0
        else {
            throw FileError(
                path: path,
                "the patch embedding has the shape \(patches.shape); expected [width, 3, patch, patch] with a width in "
                    + "heads of 64 and a patch that divides the image's \(imageSize) pixels")
        }
        let (d, patch) = (patches.shape[0], patches.shape[2])
        let depth = names.depth
        guard depth >= 2 else { throw FileError(path: path, "has \(depth) encoder layers; expected at least 2") }
        let mlp = try names.initialiser(named: "encoder.layer.0.mlp.fc1.bias").count
        (dim, patchSize) = (d, patch)

        var parts: [String: AssembledModel.Part] = [:]
        func add(_ name: String, _ shape: [Int], _ make: @escaping () throws -> [Float]) {
            parts[Self.scope + name] = .init(shape: shape) { () throws(FileError) in
                do { return try make() } catch let error as FileError { throw error } catch {
                    throw FileError(path: path, String(describing: error))
                }
            }
        }
        func plain(_ name: String, _ stored: String, _ shape: [Int]) {
            add(name, shape) { try names.floats(named: stored) }
        }
        let grid = imageSize / patch
        let (classPosition, positions) = try names.positions(width: d)
        add("cls_token", [1, 1, d]) {
            zip(try names.floats(named: "embeddings.cls_token"), try file.floats(classPosition)).map { $0 + $1 }
        }
        add("pos_embed", [1, grid * grid, d]) {
            let stored = file.initialisers[positions]?.shape ?? []
            let values = try file.floats(positions)
            if stored == [1, grid * grid, d] { return values }
            guard let resampling = PositionGrid(stored, to: [1, grid * grid, d]) else {
                throw FileError(path: path, "the positions have the shape \(stored); expected a square grid")
            }
            return resampling.resampled(values, as: .transformers)
        }
        plain("patch_embed.proj.weight", "embeddings.patch_embeddings.projection.weight", patches.shape)
        plain("patch_embed.proj.bias", "embeddings.patch_embeddings.projection.bias", [d])
        for index in 0..<depth {
            let (block, layer) = ("blocks.\(index).", "encoder.layer.\(index).")
            for norm in ["norm1", "norm2"] {
                plain(block + norm + ".weight", layer + norm + ".weight", [d])
                plain(block + norm + ".bias", layer + norm + ".bias", [d])
            }
            let attention = ["query", "key", "value"].map { layer + "attention.attention." + $0 }
            add(block + "attn.qkv.weight", [3 * d, d]) {
                try attention.flatMap { try names.matrix(of: $0, inputs: d, outputs: d) }
            }
            add(block + "attn.qkv.bias", [3 * d]) { try attention.flatMap { try names.floats(named: $0 + ".bias") } }
            func linear(_ name: String, _ stored: String, inputs: Int, outputs: Int) {
                add(block + name + ".weight", [outputs, inputs]) {
                    try names.matrix(of: layer + stored, inputs: inputs, outputs: outputs)
                }
                plain(block + name + ".bias", layer + stored + ".bias", [outputs])
            }
            linear("attn.proj", "attention.output.dense", inputs: d, outputs: d)
            linear("mlp.fc1", "mlp.fc1", inputs: d, outputs: mlp)
            linear("mlp.fc2", "mlp.fc2", inputs: mlp, outputs: d)
            plain(block + "ls1.scale_factor", layer + "layer_scale1.lambda1", [d])
            plain(block + "ls2.scale_factor", layer + "layer_scale2.lambda1", [d])
        }
        plain("norm.weight", "layernorm.weight", [d])
        plain("norm.bias", "layernorm.bias", [d])
        self.parts = parts
        configuration = [
            "kind": "dinov2", "prefix": "featurizer", "dim": d, "depth": depth, "heads": d / Self.headDim, "mlp": mlp,
            "class_token": true, "register_tokens": 0, "layer_scale": true, "attn_pool": false,
            "output_block": depth - 2, "layer_norm_eps": 1e-6,
        ]
    }

    /// Looks up weights by the names of transformers' modules, whatever prefix the exporter put in front.
    private struct Names {
        private let file: ONNXFile
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

        func initialiser(named name: String) throws -> ONNXFile.Initialiser {
            guard let found = file.initialisers[prefix + name] else {
                throw FileError(
                    path: file.path, "has no initialiser '\(prefix + name)'; is it transformers' Dinov2Model?")
            }
            return found
        }

        func floats(named name: String) throws -> [Float] {
            _ = try initialiser(named: name)
            return try file.floats(prefix + name)
        }

        /// The weight [outputs, inputs] of a linear layer, stored as [inputs, outputs] under a number.
        func matrix(of module: String, inputs rows: Int, outputs: Int) throws -> [Float] {
            let node =
                "/"
                + (prefix + module).replacingOccurrences(of: ".", with: "/")
                .replacingOccurrences(of: "layer/", with: "layer.") + "/MatMul"
            guard let name = inputs[node]?.first, file.initialisers[name]?.shape == [rows, outputs] else {
                throw FileError(
                    path: file.path,
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
        func positions(width: Int) throws -> (classToken: String, patches: String) {
            let scope = "/" + prefix.replacingOccurrences(of: ".", with: "/") + "embeddings/"
            let taken = inputs.filter { $0.key.hasPrefix(scope) }.flatMap(\.value).filter { !$0.hasPrefix(prefix) }
            func find(_ condition: (Int) -> Bool) throws -> String {
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
