/// The weights of an ONNX model: float32 initialisers and the nodes that use them, from which an initialiser without a
/// name of its own gets one. The graph is not run, and nothing but data is read.
package struct ONNXFile {
    package struct Node {
        package var name = ""
        package var operation = ""
        package var inputs: [String] = []
    }

    package struct Initialiser {
        package var shape: [Int] = []
        fileprivate var isFloat = false
        fileprivate var data: Range<Int>?

        package var count: Int { shape.reduce(1, *) }
    }

    package let path: String
    package private(set) var nodes: [Node] = []
    package private(set) var initialisers: [String: Initialiser] = [:]
    private let bytes: [UInt8]

    package init(path: String) throws(FileError) {
        self.path = path
        let bytes = try RandomAccessFile.contents(of: path)
        self.bytes = bytes
        var (nodes, initialisers): ([Node], [String: Initialiser]) = ([], [:])
        let problem = bytes.withUnsafeBytes { buffer -> ProtobufCursor.Malformed? in
            do throws(ProtobufCursor.Malformed) {
                // ModelProto.graph = 7; GraphProto.node = 1, .initializer = 5.
                try Self.fields(buffer, 0..<buffer.count) { (number, range) throws(ProtobufCursor.Malformed) in
                    guard number == 7 else { return }
                    try Self.fields(buffer, range) { (number, range) throws(ProtobufCursor.Malformed) in
                        if number == 1 { nodes.append(try Self.node(buffer, range)) }
                        if number == 5 {
                            let (name, tensor) = try Self.tensor(buffer, range)
                            initialisers[name] = tensor
                        }
                    }
                }
                return nil
            } catch { return error }
        }
        if let problem {
            throw FileError(path: path, "is not an ONNX model: \(problem.problem), at byte \(problem.offset)")
        }
        guard !initialisers.isEmpty else {
            throw FileError(path: path, "is not an ONNX model: it has no initialisers")
        }
        (self.nodes, self.initialisers) = (nodes, initialisers)
    }

    /// The values of an initialiser, row major.
    package func floats(_ name: String) throws(FileError) -> [Float] {
        guard let tensor = initialisers[name] else {
            throw FileError(path: path, .mismatched, "has no initialiser '\(name)'")
        }
        guard tensor.isFloat, let data = tensor.data, data.count == 4 * tensor.count else {
            throw FileError(
                path: path, .mismatched,
                "initialiser '\(name)' of shape \(tensor.shape): expected float32 values stored in the file"
            )
        }
        return bytes.withUnsafeBytes { buffer in
            (0..<tensor.count).map {
                Float(
                    bitPattern: UInt32(
                        littleEndian: buffer.loadUnaligned(
                            fromByteOffset: data.lowerBound + 4 * $0, as: UInt32.self)))
            }
        }
    }

    /// NodeProto: input = 1, name = 3, op_type = 4.
    private static func node(
        _ buffer: UnsafeRawBufferPointer, _ range: Range<Int>
    ) throws(ProtobufCursor.Malformed) -> Node {
        var node = Node()
        try fields(buffer, range) { (number, range) in
            let text = { String(decoding: buffer[range], as: UTF8.self) }
            if number == 1 { node.inputs.append(text()) }
            if number == 3 { node.name = text() }
            if number == 4 { node.operation = text() }
        }
        return node
    }

    /// TensorProto: dims = 1, data_type = 2 (1 is float32), name = 8, raw_data = 9.
    private static func tensor(
        _ buffer: UnsafeRawBufferPointer, _ range: Range<Int>
    ) throws(ProtobufCursor.Malformed) -> (name: String, tensor: Initialiser) {
        var name = ""
        var tensor = Initialiser()
        var cursor = ProtobufCursor(buffer, range)
        while let (number, type) = try cursor.field() {
            switch (number, type) {
            case (1, .varint):
                let extent = try cursor.varint()
                guard extent <= 1 << 32 else {
                    throw .init(offset: cursor.position, problem: "a tensor has a dimension of \(extent)")
                }
                tensor.shape.append(Int(extent))
            case (1, .delimited):
                var packed = ProtobufCursor(buffer, try cursor.delimited())
                while !packed.isAtEnd { tensor.shape.append(Int(clamping: try packed.varint())) }
            case (2, .varint): tensor.isFloat = try cursor.varint() == 1
            case (8, .delimited): name = String(decoding: buffer[try cursor.delimited()], as: UTF8.self)
            case (9, .delimited): tensor.data = try cursor.delimited()
            default: try cursor.skip(type)
            }
        }
        var product = 1
        for extent in tensor.shape {
            let (next, overflow) = product.multipliedReportingOverflow(by: extent)
            guard !overflow, next <= 1 << 40 else {
                throw .init(offset: range.lowerBound, problem: "tensor '\(name)' has the shape \(tensor.shape)")
            }
            product = next
        }
        return (name, tensor)
    }

    /// Calls `body` with the number and the bytes of every delimited field of a message.
    private static func fields(
        _ buffer: UnsafeRawBufferPointer, _ range: Range<Int>,
        _ body: (UInt64, Range<Int>) throws(ProtobufCursor.Malformed) -> Void
    ) throws(ProtobufCursor.Malformed) {
        var cursor = ProtobufCursor(buffer, range)
        while let (number, type) = try cursor.field() {
            if type == .delimited { try body(number, cursor.delimited()) } else { try cursor.skip(type) }
        }
    }
}
