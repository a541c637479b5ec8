internal import Foundation

extension SafetensorsWriter {
    /// Writes `model.safetensors`, or, when the tensors take more than `shardBytes`, numbered shards with the index that
    /// transformers reads.
    ///
    /// - `shardBytes`: largest size of a shard's data; a tensor larger than that has a shard of its own.
    package static func writeModel(
        _ tensors: [Tensor], to folder: String, shardBytes: Int, stem: String = "model"
    ) throws {
        let metadata = ["format": "pt"]
        var shards: [[Tensor]] = [[]]
        var size = 0
        var total = 0
        for tensor in tensors {
            let bytes = tensor.byteCount
            if size > 0, size + bytes > shardBytes {
                shards.append([])
                size = 0
            }
            shards[shards.count - 1].append(tensor)
            size += bytes
            total += bytes
        }
        if shards.count == 1 {
            return try write(shards[0], metadata: metadata, to: "\(folder)/\(stem).safetensors")
        }
        var map: [String: String] = [:]
        for (index, shard) in shards.enumerated() {
            let name = "\(stem)-\(padded(index + 1))-of-\(padded(shards.count)).safetensors"
            try write(shard, metadata: metadata, to: "\(folder)/\(name)")
            for tensor in shard { map[tensor.name] = name }
        }
        let index: [String: Any] = ["metadata": ["total_size": total], "weight_map": map]
        let data = try JSONSerialization.data(withJSONObject: index, options: [.prettyPrinted, .sortedKeys])
        try AtomicFile.write([UInt8](data) + [10], to: "\(folder)/\(stem).safetensors.index.json")
    }

    private static func padded(_ number: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    }
}
