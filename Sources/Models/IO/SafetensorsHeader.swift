/// Element types of the safetensors format whose elements are whole bytes.
public enum SafetensorsType: String, Sendable, CaseIterable {
    case f64 = "F64"
    case f32 = "F32"
    case f16 = "F16"
    case bf16 = "BF16"
    case f8e5m2 = "F8_E5M2"
    case f8e4m3 = "F8_E4M3"
    case i64 = "I64"
    case i32 = "I32"
    case i16 = "I16"
    case i8 = "I8"
    case u64 = "U64"
    case u32 = "U32"
    case u16 = "U16"
    case u8 = "U8"
    case bool = "BOOL"

    /// Bytes of one element.
    public var size: Int {
        switch self {
        case .f64, .i64, .u64: 8
        case .f32, .i32, .u32: 4
        case .f16, .bf16, .i16, .u16: 2
        case .f8e5m2, .f8e4m3, .i8, .u8, .bool: 1
        }
    }
}

/// The JSON header of a safetensors file, checked against the format's rules.
///
/// A file is `[header length: u64 little endian][header: JSON][data]`. The header maps each tensor's name to its type,
/// shape and byte offsets in the data, and `__metadata__` to a map of strings. As the format demands, the tensors must
/// cover the data without holes or overlaps, and no key may appear twice.
struct SafetensorsHeader {
    struct Tensor {
        var name: String
        var dtype: SafetensorsType
        var shape: [Int]
        /// Offsets from the start of the data, not of the file.
        var offsets: Range<Int>
    }

    /// The limit of the reference implementation; it stops a short file from asking for a huge allocation.
    static let maximumLength = 100_000_000

    private(set) var tensors: [Tensor] = []
    private(set) var metadata: [String: String] = [:]

    /// What is wrong with a header, without the file's name.
    struct Problem: Error {
        var sentence: String
        init(_ sentence: String) { self.sentence = sentence }
    }

    /// - Parameters:
    ///   - json: the header's bytes.
    ///   - dataSize: bytes that follow the header in the file.
    init(json: UnsafeRawBufferPointer, dataSize: Int) throws(Problem) {
        var scanner = HeaderScanner(bytes: json)
        var names: Set<String> = []
        try scanner.object { (scanner, key) throws(Problem) in
            guard names.insert(key).inserted else { throw Problem("the header names '\(key)' twice") }
            if key == "__metadata__" {
                try scanner.object { (scanner, key) throws(Problem) in
                    guard self.metadata[key] == nil else { throw Problem("the metadata names '\(key)' twice") }
                    self.metadata[key] = try scanner.string()
                }
            } else {
                self.tensors.append(try Self.tensor(named: key, &scanner))
            }
        }
        try scanner.end()
        try checkLayout(dataSize: dataSize)
    }

    private static func tensor(named name: String, _ scanner: inout HeaderScanner) throws(Problem) -> Tensor {
        var typeName: String?
        var shape: [Int]?
        var offsets: [Int]?
        try scanner.object { (scanner, key) throws(Problem) in
            switch key {
            case "dtype" where typeName == nil: typeName = try scanner.string()
            case "shape" where shape == nil: shape = try scanner.integers()
            case "data_offsets" where offsets == nil: offsets = try scanner.integers()
            case "dtype", "shape", "data_offsets": throw Problem("tensor '\(name)' has '\(key)' twice")
            default: throw Problem("tensor '\(name)' has an unknown field '\(key)'")
            }
        }
        guard let typeName, let shape, let offsets else {
            throw Problem("tensor '\(name)' must have 'dtype', 'shape' and 'data_offsets'")
        }
        guard let dtype = SafetensorsType(rawValue: typeName) else {
            let known = SafetensorsType.allCases.map(\.rawValue).joined(separator: ", ")
            throw Problem("tensor '\(name)' has type '\(typeName)'; known types are \(known)")
        }
        guard offsets.count == 2, offsets[0] <= offsets[1] else {
            throw Problem("tensor '\(name)' has data_offsets \(offsets); expected [begin, end] with begin <= end")
        }
        var bytes = dtype.size
        for extent in shape {
            let (product, overflow) = bytes.multipliedReportingOverflow(by: extent)
            guard !overflow else { throw Problem("tensor '\(name)' of shape \(shape) is too large for this machine") }
            bytes = product
        }
        guard offsets[1] - offsets[0] == bytes else {
            throw Problem(
                "tensor '\(name)' of type \(typeName) and shape \(shape) needs \(bytes) bytes, "
                    + "but its data_offsets \(offsets) span \(offsets[1] - offsets[0])")
        }
        return Tensor(name: name, dtype: dtype, shape: shape, offsets: offsets[0]..<offsets[1])
    }

    /// Orders the tensors by offset and checks that they tile the data.
    private mutating func checkLayout(dataSize: Int) throws(Problem) {
        tensors.sort {
            ($0.offsets.lowerBound, $0.offsets.upperBound, $0.name)
                < ($1.offsets.lowerBound, $1.offsets.upperBound, $1.name)
        }
        var end = 0
        for tensor in tensors {
            guard tensor.offsets.upperBound <= dataSize else {
                throw Problem(
                    "tensor '\(tensor.name)' ends at byte \(tensor.offsets.upperBound) of the data, "
                        + "but the file has only \(dataSize); it was probably cut short, copy or download it again")
            }
            guard tensor.offsets.lowerBound == end else {
                let what = tensor.offsets.lowerBound < end ? "overlaps the tensor before it" : "leaves a hole before it"
                throw Problem(
                    "tensor '\(tensor.name)' \(what): it begins at byte \(tensor.offsets.lowerBound) of the data, "
                        + "expected \(end)")
            }
            end = tensor.offsets.upperBound
        }
        guard end == dataSize else {
            throw Problem("the tensors end at byte \(end) of the data, but the file has \(dataSize)")
        }
    }
}
