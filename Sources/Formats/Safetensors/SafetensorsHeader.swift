/// Element types of the safetensors format.
package enum SafetensorsType: Sendable, Hashable {
    case f64, f32, f16, bf16, f8e5m2, f8e4m3, i64, i32, i16, i8, u64, u32, u16, u8, bool
    /// A type that craft does not compute with, by the file's name for it: F8_E8M0, F4, C64, and what comes later. Such tensors
    /// are carried along byte by byte.
    case other(String)

    private static let names: [(type: SafetensorsType, name: String, size: Int)] = [
        (.f64, "F64", 8), (.f32, "F32", 4), (.f16, "F16", 2), (.bf16, "BF16", 2), (.f8e5m2, "F8_E5M2", 1),
        (.f8e4m3, "F8_E4M3", 1), (.i64, "I64", 8), (.i32, "I32", 4), (.i16, "I16", 2), (.i8, "I8", 1), (.u64, "U64", 8),
        (.u32, "U32", 4), (.u16, "U16", 2), (.u8, "U8", 1), (.bool, "BOOL", 1),
    ]

    package init(name: String) { self = Self.names.first { $0.name == name }?.type ?? .other(name) }

    /// As in a file.
    package var rawValue: String {
        if case .other(let name) = self { return name }
        return Self.names.first { $0.type == self }?.name ?? ""
    }

    /// Bytes of one element; nil for types that craft does not know.
    package var size: Int? { Self.names.first { $0.type == self }?.size }
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
    typealias Problem = JSONScanner.Failure

    /// - Parameters:
    ///   - json: the header's bytes.
    ///   - dataSize: bytes that follow the header in the file.
    init(json: UnsafeRawBufferPointer, dataSize: Int) throws(Problem) {
        var scanner = JSONScanner(json)
        var names: Set<String> = []
        try scanner.object { (scanner, key) throws(Problem) in
            let key = try Self.text(key)
            guard names.insert(key).inserted else { throw Problem("it names '\(key)' twice") }
            if key == "__metadata__" {
                // The format's library writes an object and reads null too.
                if scanner.skip(word: "null") { return }
                try scanner.object { (scanner, key) throws(Problem) in
                    let key = try Self.text(key)
                    guard self.metadata[key] == nil else { throw Problem("its metadata names '\(key)' twice") }
                    self.metadata[key] = try Self.text(scanner.string())
                }
            } else {
                self.tensors.append(try Self.tensor(named: key, &scanner))
            }
        }
        try scanner.end()
        try checkLayout(dataSize: dataSize)
    }

    /// A string that is valid Unicode.
    private static func text(_ bytes: [UInt8]) throws(Problem) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw Problem("it has a string that is not UTF-8: \(String(decoding: bytes, as: UTF8.self))")
        }
        return text
    }

    /// `[ 1, 2, ... ]`, none negative.
    private static func integers(_ scanner: inout JSONScanner) throws(Problem) -> [Int] {
        var values: [Int] = []
        try scanner.array { (scanner) throws(Problem) in values.append(try scanner.wholeNumber()) }
        return values
    }

    private static func tensor(named name: String, _ scanner: inout JSONScanner) throws(Problem) -> Tensor {
        var typeName: String?
        var shape: [Int]?
        var offsets: [Int]?
        try scanner.object { (scanner, key) throws(Problem) in
            let key = try text(key)
            switch key {
            case "dtype" where typeName == nil: typeName = try text(scanner.string())
            case "shape" where shape == nil: shape = try integers(&scanner)
            case "data_offsets" where offsets == nil: offsets = try integers(&scanner)
            case "dtype", "shape", "data_offsets": throw Problem("tensor '\(name)' has '\(key)' twice")
            default: throw Problem("tensor '\(name)' has an unknown field '\(key)'")
            }
        }
        guard let typeName, let shape, let offsets else {
            throw Problem("tensor '\(name)' must have 'dtype', 'shape' and 'data_offsets'")
        }
        let dtype = SafetensorsType(name: typeName)
        guard offsets.count == 2, offsets[0] <= offsets[1] else {
            throw Problem("tensor '\(name)' has data_offsets \(offsets); expected [begin, end] with begin <= end")
        }
        guard let size = dtype.size else {
            return Tensor(name: name, dtype: dtype, shape: shape, offsets: offsets[0]..<offsets[1])
        }
        var bytes = size
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
