import Foundation

/// The leaves of `features.json`, by the slash path that keys them in a record (`steps/observation/image`).
struct FeatureSchema {
    enum Leaf: Equatable {
        /// A negative dimension is unknown.
        case tensor(dtype: String, shape: [Int])
        case image(dtype: String, shape: [Int], encoding: String)
        case text

        var summary: String {
            switch self {
            case .tensor(let dtype, let shape): "\(dtype)\(shape)"
            case .image(let dtype, let shape, let encoding): "\(encoding) image \(dtype)\(shape)"
            case .text: "text"
            }
        }
    }

    let path: String
    private(set) var leaves: [String: Leaf] = [:]

    /// A class because the type contains itself.
    private final class Node: Decodable {
        struct Children: Decodable { var features: [String: Node] }
        struct Sequence: Decodable { var feature: Node }
        struct Shape: Decodable { var dimensions: [String]? }
        struct Tensor: Decodable { var shape: Shape?, dtype: String? }
        struct Image: Decodable { var shape: Shape?, dtype: String?, encodingFormat: String? }
        struct Text: Decodable {}

        var featuresDict: Children?
        var sequence: Sequence?
        var tensor: Tensor?
        var image: Image?
        var text: Text?
    }

    init(contentsOf path: String) throws(DataError) {
        self.path = path
        collect(try decodeJSON(Node.self, contentsOf: path, or: "is not a TFDS features.json"), at: "")
    }

    private mutating func collect(_ node: Node, at key: String) {
        for (name, child) in node.featuresDict?.features ?? [:] {
            collect(child, at: key.isEmpty ? name : "\(key)/\(name)")
        }
        if let sequence = node.sequence { collect(sequence.feature, at: key) }
        if let tensor = node.tensor {
            leaves[key] = .tensor(dtype: tensor.dtype ?? "", shape: Self.dimensions(tensor.shape))
        }
        if let image = node.image {
            leaves[key] = .image(
                dtype: image.dtype ?? "uint8", shape: Self.dimensions(image.shape), encoding: image.encodingFormat ?? ""
            )
        }
        if node.text != nil { leaves[key] = .text }
    }

    private static func dimensions(_ shape: Node.Shape?) -> [Int] {
        (shape?.dimensions ?? []).map { Int($0) ?? -1 }
    }

    /// Checks that `key` is there and is `leaf`.
    func require(_ key: String, _ leaf: Leaf) throws(DataError) {
        guard let found = leaves[key] else {
            throw DataError(
                "\(path): has no feature '\(key)' (expected \(leaf.summary)). Found: "
                    + "\(leaves.keys.sorted().joined(separator: ", ")). Use a data set in the LIBERO RLDS schema.")
        }
        guard found == leaf else {
            throw DataError(
                "\(path): feature '\(key)' is \(found.summary), expected \(leaf.summary). "
                    + "Use a data set in the LIBERO RLDS schema.")
        }
    }

    /// The image features under `steps/observation`, by name.
    func cameras() throws(DataError) -> [Camera] {
        let prefix = "steps/observation/"
        var cameras: [Camera] = []
        for (key, leaf) in leaves.sorted(by: { $0.key < $1.key }) where key.hasPrefix(prefix) {
            guard case .image(let dtype, let shape, let encoding) = leaf else { continue }
            guard dtype == "uint8", shape.count == 3, shape[2] == 3, (1...16_384).contains(shape[0]),
                (1...16_384).contains(shape[1]), ["jpeg", "png"].contains(encoding)
            else {
                throw DataError(
                    "\(path): feature '\(key)' is \(leaf.summary), expected a jpeg or png image uint8[height, width, 3]."
                )
            }
            cameras.append(Camera(name: String(key.dropFirst(prefix.count)), height: shape[0], width: shape[1]))
        }
        guard !cameras.isEmpty else {
            throw DataError(
                "\(path): has no image feature under steps/observation; a policy needs at least one camera.")
        }
        return cameras
    }
}
