internal import Formats
internal import Models
internal import Tensors

/// Weights with some tensors taken from a file: the initial ones, from which anchor features are computed.
struct TraceAnchor {
    /// Values of every parameter, by id.
    let table: [WeightValues]
    private let buffers: [FloatBuffer]

    init(path: String, model: VLAModel, folder: ModelFolder) throws {
        let file = try SafetensorsFile(path: path)
        var table = model.parameters.currentWeights()
        var buffers: [FloatBuffer] = []
        for name in file.names {
            guard let id = model.parameters.id(of: name) else {
                // A tower's last block, an untied head: stored beside the model, on no path to its features.
                if folder.location(of: name) != nil { continue }
                throw FileError(
                    path: path, .mismatched,
                    "tensor '\(name)' is not one of the model in \(folder.path); an anchor holds trainable tensors of the "
                        + "vision-language model under the names of model.safetensors, or of the adapter")
            }
            guard !model.isHeadParameter(name) else {
                throw FileError(
                    path: path,
                    "tensor '\(name)' belongs to the policy, which anchor features do not depend on; leave it out")
            }
            let parameter = model.parameters[id]
            let buffer = FloatBuffer(count: parameter.count)
            try file.copyFloats(name, shape: parameter.shape, into: buffer.base, count: buffer.count)
            buffers.append(buffer)
            table[id] = .float32(buffer.base)
        }
        self.table = table
        self.buffers = buffers
    }
}
