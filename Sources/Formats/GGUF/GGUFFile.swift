internal import Kernels

/// A GGUF file (version 2 or 3) of a language model, mapped read-only: metadata and tensors, dequantised when asked for.
///
/// Quantised types that small released models use: Q4_0, Q4_1, Q8_0 and Q6_K, beside F32, F16 and BF16.
///
/// - Throws (all members): ``FileError`` naming the file, the key or tensor, what was expected and what was found.
package final class GGUFFile {
    /// A value of the metadata.
    package enum Value: Sendable {
        case integer(Int)
        case number(Double)
        case bool(Bool)
        case text(String)
        case texts([String])
        case integers([Int])
        /// An array whose elements nothing here needs.
        case other
    }

    package struct Entry: Sendable {
        package let name: String
        /// Row-major shape, outermost first (the file stores the reverse).
        package let shape: [Int]
        let type: GGUFType
        let byteRange: Range<Int>

        package var count: Int { shape.reduce(1, *) }
    }

    package let path: String
    package private(set) var metadata: [String: Value] = [:]
    package private(set) var entries: [String: Entry] = [:]
    private let file: MappedFile
    private var bytes: UnsafeRawBufferPointer { file.bytes }

    package init(path: String) throws(FileError) {
        self.path = path
        file = try MappedFile(path: path)
        do throws(GGUFCursor.Problem) {
            try read()
        } catch {
            throw FileError(path: path, "is not a GGUF file that craft reads: \(error.sentence)")
        }
    }

    private func read() throws(GGUFCursor.Problem) {
        var cursor = GGUFCursor(bytes)
        guard try cursor.integer(UInt32.self) == 0x4655_4747 else {
            throw .init("it does not begin with GGUF")
        }
        let version = try cursor.integer(UInt32.self)
        guard version == 2 || version == 3 else { throw .init("its version is \(version); expected 2 or 3") }
        let tensorCount = try cursor.count(of: "tensors", limit: 1 << 20)
        for _ in 0..<(try cursor.count(of: "metadata entries", limit: 1 << 20)) {
            let key = try cursor.string()
            metadata[key] = try cursor.value(cursor.integer(UInt32.self))
        }
        var headers: [(name: String, shape: [Int], type: GGUFType, offset: Int)] = []
        for _ in 0..<tensorCount { headers.append(try cursor.tensor()) }
        let alignment = integer("general.alignment") ?? 32
        guard alignment > 0, alignment <= 1 << 20 else { throw .init("general.alignment is \(alignment)") }
        let start = (cursor.position + alignment - 1) / alignment * alignment
        for header in headers {
            let (size, overflow) = header.type.bytes(of: header.shape)
            let end = start.addingReportingOverflow(header.offset)
            guard !overflow, !end.overflow, size <= bytes.count, end.partialValue <= bytes.count - size else {
                throw .init(
                    "tensor '\(header.name)' of shape \(header.shape) lies outside the file of \(bytes.count) bytes; it was "
                        + "probably cut short")
            }
            entries[header.name] = Entry(
                name: header.name, shape: header.shape, type: header.type,
                byteRange: end.partialValue..<end.partialValue + size)
        }
    }

    package func integer(_ key: String) -> Int? {
        if case .integer(let value) = metadata[key] { return value }
        return nil
    }

    package func number(_ key: String) -> Double? {
        switch metadata[key] {
        case .number(let value): return value
        case .integer(let value): return Double(value)
        default: return nil
        }
    }

    package func text(_ key: String) -> String? {
        if case .text(let value) = metadata[key] { return value }
        return nil
    }

    package func texts(_ key: String) -> [String]? {
        if case .texts(let value) = metadata[key] { return value }
        return nil
    }

    package func integers(_ key: String) -> [Int]? {
        if case .integers(let value) = metadata[key] { return value }
        return nil
    }

    /// All values of a tensor, row-major, as float32.
    package func floats(_ name: String, shape: [Int]) throws(FileError) -> [Float] {
        guard let entry = entries[name] else { throw FileError(path: path, .mismatched, "has no tensor '\(name)'") }
        guard entry.shape == shape else {
            throw FileError(path: path, .mismatched, "tensor '\(name)': expected shape \(shape), found \(entry.shape)")
        }
        return [Float](unsafeUninitializedCapacity: entry.count) { buffer, count in
            if let target = buffer.baseAddress, let source = bytes.baseAddress {
                entry.type.dequantise(source + entry.byteRange.lowerBound, entry.count, into: target)
            }
            count = entry.count
        }
    }
}

/// Reads the little-endian pieces that a GGUF header is made of, never outside the file.
private struct GGUFCursor {
    struct Problem: Error {
        let sentence: String
        init(_ sentence: String) { self.sentence = sentence }
    }

    private let bytes: UnsafeRawBufferPointer
    private(set) var position = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type) throws(Problem) -> T {
        let size = MemoryLayout<T>.size
        guard bytes.count - position >= size else { throw Problem("it ends inside its header, at byte \(position)") }
        defer { position += size }
        return T(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: T.self))
    }

    mutating func count(of what: String, limit: Int) throws(Problem) -> Int {
        let value = try integer(UInt64.self)
        guard value <= UInt64(limit) else { throw Problem("it claims to have \(value) \(what)") }
        return Int(value)
    }

    mutating func string() throws(Problem) -> String {
        let length = try count(of: "bytes in a string", limit: bytes.count)
        guard bytes.count - position >= length else { throw Problem("a string runs past the end of the file") }
        defer { position += length }
        return String(decoding: bytes[position..<position + length], as: UTF8.self)
    }

    mutating func value(_ type: UInt32) throws(Problem) -> GGUFFile.Value {
        switch type {
        case 0: return .integer(Int(try integer(UInt8.self)))
        case 1: return .integer(Int(try integer(Int8.self)))
        case 2: return .integer(Int(try integer(UInt16.self)))
        case 3: return .integer(Int(try integer(Int16.self)))
        case 4: return .integer(Int(try integer(UInt32.self)))
        case 5: return .integer(Int(try integer(Int32.self)))
        case 6: return .number(Double(Float(bitPattern: try integer(UInt32.self))))
        case 7: return .bool(try integer(UInt8.self) != 0)
        case 8: return .text(try string())
        case 9: return try array()
        case 10: return .integer(Int(clamping: try integer(UInt64.self)))
        case 11: return .integer(Int(try integer(Int64.self)))
        case 12: return .number(Double(bitPattern: try integer(UInt64.self)))
        default: throw Problem("a metadata value has the unknown type \(type)")
        }
    }

    private mutating func array() throws(Problem) -> GGUFFile.Value {
        let type = try integer(UInt32.self)
        let length = try count(of: "elements in an array", limit: bytes.count)
        if type == 8 {
            var texts: [String] = []
            for _ in 0..<length { texts.append(try string()) }
            return .texts(texts)
        }
        guard type != 9 else { throw Problem("an array of arrays is in its metadata") }
        var integers: [Int] = []
        for _ in 0..<length {
            if case .integer(let value) = try value(type) { integers.append(value) }
        }
        return integers.count == length ? .integers(integers) : .other
    }

    mutating func tensor() throws(Problem) -> (name: String, shape: [Int], type: GGUFType, offset: Int) {
        let name = try string()
        let dimensions = try integer(UInt32.self)
        guard (1...4).contains(dimensions) else { throw Problem("tensor '\(name)' has \(dimensions) dimensions") }
        var shape: [Int] = []
        for _ in 0..<dimensions { shape.append(try count(of: "rows in tensor '\(name)'", limit: 1 << 40)) }
        let code = try integer(UInt32.self)
        guard let type = GGUFType(rawValue: code) else {
            throw Problem(
                "tensor '\(name)' has the type \(code); craft reads F32, F16, BF16, Q4_0, Q4_1, Q8_0 and Q6_K")
        }
        return (name, shape.reversed(), type, try count(of: "bytes before tensor '\(name)'", limit: 1 << 50))
    }
}
