internal import Formats
import Foundation

/// The leaves of `features.json`, by the slash path that keys them in a record (`steps/observation/image`).
///
/// Read in every form that tfds has written: the protobuf's JSON of today, `{"type", "content"}` of before 4.6, and the two mixed.
struct FeatureSchema {
    struct Leaf: Equatable {
        enum Kind: Equatable {
            /// A negative dimension is unknown.
            case tensor(dtype: String, shape: [Int])
            /// `encoding` is empty where the file does not say.
            case image(dtype: String, shape: [Int], encoding: String)
            case text
            /// A feature that is stored in a way of its own, by its name; nothing that training uses.
            case other(String)
        }

        var kind: Kind
        /// `Sequence`s around it, that of the steps not counted. Their lengths may differ from step to step.
        var sequences = 0
        /// How a tensor's values are packed; empty for one value of a list each.
        var packing = ""

        var summary: String {
            let inner =
                switch kind {
                case .tensor(let dtype, let shape):
                    "\(dtype)\(shape)" + (packing.isEmpty ? "" : " packed as \(packing)")
                case .image(let dtype, let shape, let encoding):
                    "\(encoding.isEmpty ? "" : "\(encoding) ")image \(dtype)\(shape)"
                case .text: "text"
                case .other(let name): name
                }
            return sequences == 0 ? inner : "a sequence of \(inner)"
        }
    }

    static let stepPrefix = "steps/"

    let path: String
    private(set) var leaves: [String: Leaf] = [:]

    init(contentsOf path: String) throws(FileError) {
        self.path = path
        let bytes = try RandomAccessFile.contents(of: path)
        guard let tree = try? JSONTree(parsing: bytes), case .object = tree else {
            throw FileError(
                path: path,
                "is not a TFDS features.json: \(PythonJSON.fault(in: Data(bytes)) ?? "it is no JSON object")")
        }
        try collect(JSONNode(file: path, place: "", tree: tree), at: "", sequences: 0)
        if leaves.isEmpty { throw FileError(path: path, "is not a TFDS features.json: no feature is in it") }
    }

    // MARK: - Reading

    /// The forms of a node: which feature it is, and its description.
    private func form(of node: JSONNode) throws(FileError) -> (name: String, content: JSONNode)? {
        let forms = [
            "featuresDict", "sequence", "dataset", "tensor", "image", "text", "classLabel", "boundingBox", "video",
            "audio",
            "translation", "jsonFeature", "labeledImage", "optional",
        ]
        for name in forms {
            if let content = node.member(name) { return (name, content) }
        }
        guard let type = try node.member("type")?.string() else { return nil }
        guard let content = node.member("content") else { return (Self.form(ofClass: type), node) }
        guard case .string(let text) = content.tree else { return (Self.form(ofClass: type), content) }
        do throws(JSONTree.Failure) {
            let tree = try JSONTree(parsing: text)
            return (Self.form(ofClass: type), JSONNode(file: content.file, place: content.place, tree: tree))
        } catch {
            throw content.failure("is a text that is not JSON: \(error.description)")
        }
    }

    /// `tensorflow_datasets.core.features.image_feature.Image` as today's form calls it.
    private static func form(ofClass type: String) -> String {
        switch type.split(separator: ".").last ?? "" {
        case "FeaturesDict": "featuresDict"
        case "Sequence", "Dataset": "sequence"
        case "Tensor", "Scalar": "tensor"
        case "Image": "image"
        case "Text": "text"
        case "ClassLabel": "classLabel"
        case "BBoxFeature": "boundingBox"
        case let name: String(name)
        }
    }

    /// - Parameter sequences: around the node; that of `steps` counts.
    private mutating func collect(_ node: JSONNode, at key: String, sequences: Int) throws(FileError) {
        guard let (name, content) = try form(of: node) else {
            if !key.isEmpty { leaves[key] = Leaf(kind: .other(try pythonName(of: node)), sequences: sequences) }
            return
        }
        // The steps are a sequence of their own, whose length all step features share.
        let inner = key.hasPrefix(Self.stepPrefix) ? sequences - 1 : sequences
        func leaf(_ kind: Leaf.Kind, packing: String = "") -> Leaf {
            Leaf(kind: kind, sequences: max(0, inner), packing: packing)
        }
        switch name {
        case "featuresDict":
            // The older form lists features without a "features" around them.
            let features = content.member("features") ?? content
            for (child, tree) in try features.members() {
                let part = String(decoding: child, as: UTF8.self)
                guard case .object = tree else { continue }
                try collect(
                    JSONNode(file: path, place: "\(features.place).\(part)", tree: tree),
                    at: key.isEmpty ? part : "\(key)/\(part)", sequences: sequences)
            }
        case "sequence", "dataset":
            let length = try content.member("length").map { (node) throws(FileError) in try Self.integer(node) } ?? -1
            let feature = try content.required("feature")
            // One of a known length is stored as one more dimension.
            if length > 0, key.hasPrefix(Self.stepPrefix), let widened = try widened(feature, by: length) {
                leaves[key] = Leaf(kind: widened.kind, sequences: max(0, inner), packing: widened.packing)
            } else {
                try collect(feature, at: key, sequences: sequences + 1)
            }
        case "tensor":
            leaves[key] = leaf(
                .tensor(dtype: try dtype(content), shape: try shape(content)), packing: try packing(content))
        case "image":
            let encoding = try text(content, "encodingFormat", "encoding_format")
            let dtype = try dtype(content)
            leaves[key] = leaf(
                .image(dtype: dtype.isEmpty ? "uint8" : dtype, shape: try shape(content), encoding: encoding))
        case "text": leaves[key] = leaf(.text)
        case "classLabel": leaves[key] = leaf(.tensor(dtype: "int64", shape: []))
        case "boundingBox": leaves[key] = leaf(.tensor(dtype: "float32", shape: [4]))
        default: leaves[key] = leaf(.other(name))
        }
    }

    private func widened(_ node: JSONNode, by length: Int) throws(FileError) -> Leaf? {
        guard let (name, content) = try form(of: node), name == "tensor" else { return nil }
        let shape = [length] + (try shape(content))
        return Leaf(kind: .tensor(dtype: try dtype(content), shape: shape), packing: try packing(content))
    }

    /// The first of the members that is there; empty when none is.
    private func text(_ node: JSONNode, _ keys: String...) throws(FileError) -> String {
        for key in keys {
            if let member = node.member(key) { return try member.string() }
        }
        return ""
    }

    private func dtype(_ node: JSONNode) throws(FileError) -> String {
        let name = try text(node, "dtype")
        // "tf.float32", and numpy's way to say text.
        let bare = name.hasPrefix("tf.") ? String(name.dropFirst(3)) : name
        return bare == "object" || bare == "str" ? "string" : bare
    }

    private func packing(_ node: JSONNode) throws(FileError) -> String {
        let encoding = try text(node, "encoding").lowercased()
        return encoding == "none" ? "" : encoding
    }

    private func pythonName(of node: JSONNode) throws(FileError) -> String {
        let name = try text(node, "pythonClassName", "python_class_name")
        return name.split(separator: ".").last.map(String.init) ?? "a feature of unknown kind"
    }

    private func shape(_ node: JSONNode) throws(FileError) -> [Int] {
        guard let shape = node.member("shape") else { return [] }
        let dimensions: JSONNode
        if case .array = shape.tree {
            dimensions = shape
        } else {
            guard let listed = shape.member("dimensions") else { return [] }
            dimensions = listed
        }
        var extents: [Int] = []
        for item in try dimensions.elements() { extents.append(try Self.integer(item)) }
        return extents
    }

    /// A number, or the text of one as protobuf's JSON has it; -1 for null and what is no number.
    private static func integer(_ node: JSONNode) throws(FileError) -> Int {
        switch node.tree {
        case .number(let value): Int(exactly: value) ?? -1
        case .string(let text): Int(String(decoding: text, as: UTF8.self)) ?? -1
        default: -1
        }
    }

    // MARK: - What training uses

    /// How many numbers of a step a feature holds, of any type and shape; nil when the file does not settle it.
    ///
    /// - Throws: when the feature is not there, or is no list of numbers.
    func width(of key: String) throws(DataError) -> Int? {
        let leaf = try required(key, expected: "numbers")
        guard case .tensor(let dtype, _) = leaf.kind, dtype != "string", leaf.sequences == 0, leaf.packing.isEmpty
        else {
            throw DataError(
                .malformed,
                "\(path): feature '\(key)' is \(leaf.summary), expected a list of numbers. Write the data set again with a "
                    + "Tensor there.")
        }
        return leaf.width
    }

    /// Checks that a feature is one text a step, as `Text` or as a string tensor, which are stored alike.
    func requireText(_ key: String) throws(DataError) {
        let leaf = try required(key, expected: "text")
        switch leaf.kind {
        case .text where leaf.sequences == 0: return
        case .tensor(dtype: "string", _) where leaf.width == 1 && leaf.sequences == 0 && leaf.packing.isEmpty: return
        default: throw DataError(.malformed, "\(path): feature '\(key)' is \(leaf.summary), expected one text a step.")
        }
    }

    private func required(_ key: String, expected: String) throws(DataError) -> Leaf {
        guard let leaf = leaves[key] else {
            throw DataError(
                .missing,
                "\(path): has no feature '\(key)' (expected \(expected)). Found: "
                    + "\(leaves.keys.sorted().joined(separator: ", ")). Use a data set with LIBERO's names of features."
            )
        }
        return leaf
    }

    static let observationPrefix = "steps/observation/"

    /// The image features under `steps/observation` that a policy can see, by name; depth is none.
    func cameras() throws(DataError) -> [Camera] {
        let cameras = leaves.sorted { $0.key < $1.key }.compactMap { key, leaf -> Camera? in
            guard key.hasPrefix(Self.observationPrefix), leaf.isColourImage, case .image(_, let shape, _) = leaf.kind
            else { return nil }
            func side(_ axis: Int) -> Int? { axis < shape.count && shape[axis] > 0 ? shape[axis] : nil }
            return Camera(name: String(key.dropFirst(Self.observationPrefix.count)), height: side(0), width: side(1))
        }
        guard !cameras.isEmpty else {
            throw DataError(
                .missing,
                "\(path): has no colour image (Image, uint8) under steps/observation; a policy needs at least one camera. "
                    + "Found: \(leaves.sorted { $0.key < $1.key }.map { "\($0.key) (\($0.value.summary))" }.joined(separator: ", "))."
            )
        }
        return cameras
    }
}

extension FeatureSchema.Leaf {
    /// Values of one step; nil when a dimension is unknown.
    var width: Int? {
        guard case .tensor(_, let shape) = kind else { return 1 }
        if !packing.isEmpty { return 1 }
        var width = 1
        for extent in shape {
            guard extent > 0 else { return nil }
            let (product, overflow) = width.multipliedReportingOverflow(by: extent)
            guard !overflow else { return nil }
            width = product
        }
        return width
    }

    /// Whether it is stored as an encoded image of colours (or greys): not depth in 16 bits, nor floats packed into four bytes.
    var isColourImage: Bool {
        guard case .image(let dtype, let shape, _) = kind, sequences == 0 else { return false }
        let channels = shape.last ?? 3
        return dtype == "uint8" || (dtype == "uint16" && channels >= 3)
    }
}
