internal import Formats
internal import Models

/// A fixed batch for ``ModelTrace``, read from a safetensors file and checked against the model.
///
/// B samples, P prompt tokens with padding, C cameras, S pixels a side:
/// `pixel_values` [B, 3 * towers * C, S, S] normalised, camera-major then tower; `input_ids` and `attention_mask` [B, P]
/// integers, padding on the right; `proprio` [B, proprioDim] and `actions` [B, chunk, actionDim] normalised; optionally
/// `policy_noise` [chunk, actionDim * D].
struct TraceInputs {
    let path: String
    let batch: Int
    let pixels: [Float]
    let prompts: [[Int32]]
    let proprio: [Float]
    let actions: [Float]
    let noise: [Float]?

    init(path: String, config: ModelConfig) throws {
        self.path = path
        let file = try SafetensorsFile(path: path)
        let ids = try file.requiredEntry("input_ids")
        guard ids.shape.count == 2, let batch = ids.shape.first, batch > 0, ids.shape[1] > 0 else {
            throw FileError(
                path: path, .mismatched,
                "tensor 'input_ids': expected the shape [samples, prompt tokens], found \(ids.shape)")
        }
        self.batch = batch
        func floats(_ name: String, _ shape: [Int]) throws -> [Float] {
            let entry = try file.requiredEntry(name)
            guard entry.shape == shape else {
                throw FileError(
                    path: path, .mismatched,
                    "tensor '\(name)': config.json and input_ids call for the shape \(shape), found "
                        + "\(entry.shape)")
            }
            guard file.isFinite(entry) else {
                throw FileError(path: path, "tensor '\(name)': expected numbers, found values that are not finite")
            }
            return try file.floats(name)
        }
        let side = config.imageSize
        pixels = try floats("pixel_values", [batch, 3 * config.towers.count * config.cameras, side, side])
        proprio = try floats("proprio", [batch, config.proprioDim])
        actions = try floats("actions", [batch, config.chunk, config.actionDim])
        noise =
            file.entry("policy_noise") == nil
            ? nil : try floats("policy_noise", [config.chunk, config.actionDim * config.policy.dim])
        prompts = try Self.prompts(file, shape: ids.shape, vocabulary: config.decoder.vocabularySize)
    }

    /// The tokens of each sample that its mask keeps.
    private static func prompts(_ file: SafetensorsFile, shape: [Int], vocabulary: Int) throws -> [[Int32]] {
        let mask = try file.requiredEntry("attention_mask")
        guard mask.shape == shape else {
            throw FileError(
                path: file.path, .mismatched,
                "tensor 'attention_mask': expected the shape of input_ids, \(shape), found \(mask.shape)")
        }
        let ids = try file.integers("input_ids")
        let keeps = try file.integers("attention_mask")
        return try (0..<shape[0]).map { sample in
            let row = sample * shape[1]..<(sample + 1) * shape[1]
            let length = keeps[row].prefix { $0 == 1 }.count
            guard length > 0, keeps[row].dropFirst(length).allSatisfy({ $0 == 0 }) else {
                throw FileError(
                    path: file.path,
                    "tensor 'attention_mask', sample \(sample): expected ones, at least one, then zeros (padding on the "
                        + "right), found \(Array(keeps[row]))")
            }
            let tokens = ids[row].prefix(length)
            if let outside = tokens.first(where: { $0 < 0 || $0 >= vocabulary }) {
                throw FileError(
                    path: file.path, .mismatched,
                    "tensor 'input_ids', sample \(sample): token \(outside) is outside the vocabulary of \(vocabulary)")
            }
            return tokens.map(Int32.init)
        }
    }

    /// - `policyInput`: empty for zeros.
    func modelInput(cameras: Int, policyInput: [Float] = []) -> ModelInput {
        ModelInput(
            images: .normalised(pixels), cameras: cameras, prompts: prompts,
            action: .init(proprio: proprio, policyInput: policyInput))
    }
}
