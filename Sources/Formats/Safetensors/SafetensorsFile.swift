import Foundation
import Kernels

/// A safetensors file, mapped read-only.
///
/// Opening reads the header alone and checks all of it (see the errors below), so that every later access stays inside
/// the mapping. Tensor data are read from the disk when they are touched, and several files larger than memory may be
/// open at once.
///
/// The file must not be changed in place while it is open (``MappedFile``); replacing it, as ``SafetensorsWriter`` does, is safe.
///
/// - Throws (all members): ``FileError``, which names the file and the tensor, what was expected and what was found.
package final class SafetensorsFile: Sendable {
    /// One tensor of the file.
    package struct Entry: Sendable, Equatable {
        package let name: String
        package let dtype: SafetensorsType
        package let shape: [Int]
        /// Where the data are, in bytes from the start of the file.
        package let byteRange: Range<Int>

        /// Number of elements.
        package var count: Int { dtype.size.map { byteRange.count / $0 } ?? shape.reduce(1, &*) }
    }

    package let path: String
    /// Names of the tensors, in the order of their data.
    package let names: [String]
    /// The header's `__metadata__`; empty when there is none.
    package let metadata: [String: String]

    private let entries: [String: Entry]
    private let file: MappedFile
    private var mapping: UnsafeRawBufferPointer { file.bytes }

    package init(path: String) throws(FileError) {
        self.path = path
        file = try MappedFile(path: path)
        let (header, start) = try Self.header(of: file.bytes, path: path)
        metadata = header.metadata
        names = header.tensors.map(\.name)
        var entries: [String: Entry] = [:]
        entries.reserveCapacity(names.count)
        for tensor in header.tensors {
            entries[tensor.name] = Entry(
                name: tensor.name, dtype: tensor.dtype, shape: tensor.shape,
                byteRange: start + tensor.offsets.lowerBound..<start + tensor.offsets.upperBound)
        }
        self.entries = entries
    }

    // MARK: - Looking up

    package func entry(_ name: String) -> Entry? { entries[name] }

    /// The entry of a tensor that must be there.
    package func requiredEntry(_ name: String) throws(FileError) -> Entry {
        if let entry = entries[name] { return entry }
        throw FileError(path: path, .mismatched, "has no tensor '\(name)'\(suggestion(for: name))")
    }

    /// Names that end alike usually tell what went wrong: a prefix too many, or the wrong file.
    private func suggestion(for name: String) -> String {
        let last = name.split(separator: ".").suffix(2).joined(separator: ".")
        let similar = names.filter { $0.hasSuffix(last) }.prefix(3).map { "'\($0)'" }
        let hint = similar.isEmpty ? "" : ", for example \(similar.joined(separator: ", "))"
        return "; it holds \(names.count) tensors\(hint)"
    }

    // MARK: - Floating point

    /// All elements of an F32, F16, BF16 or F64 tensor, row-major, as float32.
    package func floats(_ name: String) throws(FileError) -> [Float] {
        let entry = try requiredEntry(name)
        try checkFloating(entry)
        return [Float](unsafeUninitializedCapacity: entry.count) { buffer, initialized in
            if let base = buffer.baseAddress { convert(entry, into: base) }
            initialized = entry.count
        }
    }

    /// Converts a tensor to float32 and stores it at `destination`, which has room for `count` elements.
    ///
    /// - Parameter shape: when given, the tensor must have exactly this shape; otherwise only `count` is compared.
    package func copyFloats(
        _ name: String, shape: [Int]? = nil, into destination: UnsafeMutablePointer<Float>, count: Int
    ) throws(FileError) {
        let entry = try requiredEntry(name)
        try checkFloating(entry)
        if let shape, shape != entry.shape {
            throw FileError(path: path, .mismatched, "tensor '\(name)': expected shape \(shape), found \(entry.shape)")
        }
        guard entry.count == count else {
            throw FileError(
                path: path, .mismatched,
                "tensor '\(name)': expected \(count) elements, found \(entry.count) (shape \(entry.shape))")
        }
        convert(entry, into: destination)
        release(entry)
    }

    /// Converts some of the elements of a floating-point tensor to float32 and stores them at `destination`.
    package func copyFloats(
        _ entry: Entry, _ range: Range<Int>, into destination: UnsafeMutablePointer<Float>
    ) throws(FileError) {
        try checkFloating(entry)
        convert(entry, range, into: destination)
    }

    /// Whether every element of a floating-point tensor is a number; true for other types.
    package func isFinite(_ entry: Entry) -> Bool {
        guard let source = pointer(to: entry) else { return true }
        defer { release(entry) }
        /// Whether any element has all bits of the exponent set.
        func finds<Bits: FixedWidthInteger & BitwiseCopyable>(_ exponent: Bits) -> Bool {
            let size = MemoryLayout<Bits>.size
            return (0..<entry.count).contains {
                source.loadUnaligned(fromByteOffset: $0 * size, as: Bits.self) & exponent == exponent
            }
        }
        return switch entry.dtype {
        case .f64: !finds(UInt64(0x7FF0_0000_0000_0000))
        case .f32: !finds(UInt32(0x7F80_0000))
        case .bf16: !finds(UInt16(0x7F80))
        case .f16: !finds(UInt16(0x7C00))
        default: true
        }
    }

    /// Gives the pages of a large tensor back to the system: they are read again when they are touched again.
    package func release(_ entry: Entry) {
        let page = 4096
        guard entry.byteRange.count > 16 * page, let base = mapping.baseAddress else { return }
        let start = (Int(bitPattern: base) + entry.byteRange.lowerBound + page - 1) & ~(page - 1)
        let end = (Int(bitPattern: base) + entry.byteRange.upperBound) & ~(page - 1)
        madvise(UnsafeMutableRawPointer(bitPattern: start), end - start, MADV_DONTNEED)
    }

    /// The elements in place, or nil when the tensor is not there, is not F32 or is not aligned to 4 bytes.
    ///
    /// The pointer is valid while the file object lives.
    package func mappedFloats(_ name: String) -> UnsafePointer<Float>? {
        guard let entry = entries[name], entry.dtype == .f32, let start = pointer(to: entry),
            Int(bitPattern: start) % MemoryLayout<Float>.alignment == 0
        else { return nil }
        return start.assumingMemoryBound(to: Float.self)
    }

    /// Where a tensor's bytes are mapped, valid while the file object lives.
    package func mappedBytes(_ entry: Entry) -> UnsafeRawPointer? { pointer(to: entry) }

    // MARK: - Integers

    /// All elements of an integer or boolean tensor, row-major.
    package func integers(_ name: String) throws(FileError) -> [Int64] {
        let entry = try requiredEntry(name)
        switch entry.dtype {
        case .i64: return elements(entry, Int64.self) { $0 }
        case .i32: return elements(entry, Int32.self) { Int64($0) }
        case .i16: return elements(entry, Int16.self) { Int64($0) }
        case .i8: return elements(entry, Int8.self) { Int64($0) }
        case .u32: return elements(entry, UInt32.self) { Int64($0) }
        case .u16: return elements(entry, UInt16.self) { Int64($0) }
        case .u8: return elements(entry, UInt8.self) { Int64($0) }
        case .bool: return elements(entry, UInt8.self) { $0 == 0 ? 0 : 1 }
        case .u64, .f64, .f32, .f16, .bf16, .f8e5m2, .f8e4m3, .other:
            throw FileError(
                path: path, .mismatched,
                "tensor '\(name)': expected integers of at most 64 bits with a sign, found \(entry.dtype.rawValue)")
        }
    }

    /// The bytes of a tensor as they are in the file, valid only during the call.
    package func withBytes<Result>(_ entry: Entry, _ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result
    {
        try body(UnsafeRawBufferPointer(rebasing: mapping[entry.byteRange]))
    }

    // MARK: - Conversion

    private func checkFloating(_ entry: Entry) throws(FileError) {
        switch entry.dtype {
        case .f32, .f16, .bf16, .f64: return
        default:
            throw FileError(
                path: path, .mismatched,
                "tensor '\(entry.name)': expected floating point (F32, F16, BF16 or F64), "
                    + "found \(entry.dtype.rawValue)")
        }
    }

    /// - Parameter range: of elements; nil is all of them.
    private func convert(
        _ entry: Entry, _ range: Range<Int>? = nil, into destination: UnsafeMutablePointer<Float>
    ) {
        let range = range ?? 0..<entry.count
        guard let start = pointer(to: entry), let size = entry.dtype.size else { return }
        let source = start + range.lowerBound * size
        switch entry.dtype {
        case .f32: UnsafeMutableRawPointer(destination).copyMemory(from: source, byteCount: 4 * range.count)
        case .bf16: convertHalves(source, range.count, into: destination, ck_bf16_to_f32)
        case .f16: convertHalves(source, range.count, into: destination, ck_f16_to_f32)
        default:
            for index in 0..<range.count {
                destination[index] = Float(source.loadUnaligned(fromByteOffset: 8 * index, as: Double.self))
            }
        }
    }

    private func convertHalves(
        _ source: UnsafeRawPointer, _ count: Int, into destination: UnsafeMutablePointer<Float>,
        _ kernel: (UnsafePointer<UInt16>, Int, UnsafeMutablePointer<Float>) -> Void
    ) {
        if Int(bitPattern: source) % 2 == 0 {
            kernel(source.assumingMemoryBound(to: UInt16.self), count, destination)
            return
        }
        // The format does not promise alignment. Such files are rare, so a bounce buffer is good enough.
        withUnsafeTemporaryAllocation(of: UInt16.self, capacity: 4096) { buffer in
            guard let base = buffer.baseAddress else { return }
            var done = 0
            while done < count {
                let step = min(buffer.count, count - done)
                UnsafeMutableRawPointer(base).copyMemory(from: source + 2 * done, byteCount: 2 * step)
                kernel(base, step, destination + done)
                done += step
            }
        }
    }

    private func elements<Element: BitwiseCopyable>(
        _ entry: Entry, _: Element.Type, _ convert: (Element) -> Int64
    ) -> [Int64] {
        guard let source = pointer(to: entry) else { return [] }
        return (0..<entry.count).map {
            convert(source.loadUnaligned(fromByteOffset: $0 * MemoryLayout<Element>.size, as: Element.self))
        }
    }

    private func pointer(to entry: Entry) -> UnsafeRawPointer? {
        mapping.baseAddress.map { $0 + entry.byteRange.lowerBound }
    }

    // MARK: - Opening

    private static func header(
        of mapping: UnsafeRawBufferPointer, path: String
    ) throws(FileError) -> (header: SafetensorsHeader, dataStart: Int) {
        guard mapping.count >= 8 else {
            throw FileError(path: path, .incomplete, "expected a safetensors file, found only \(mapping.count) bytes")
        }
        guard !mapping.starts(with: "version https://git-lfs".utf8) else {
            throw FileError(
                path: path, .incomplete,
                "is a pointer of Git LFS, not the file itself; get it with git lfs pull, or with hf download")
        }
        let length = UInt64(littleEndian: mapping.loadUnaligned(as: UInt64.self))
        guard length <= UInt64(SafetensorsHeader.maximumLength) else {
            throw FileError(
                path: path,
                "is not a safetensors file: its first 8 bytes give a header of \(length) bytes, "
                    + "at most \(SafetensorsHeader.maximumLength) are allowed")
        }
        let dataStart = 8 + Int(length)
        guard dataStart <= mapping.count else {
            throw FileError(
                path: path, .incomplete,
                "ends inside its header: \(length) bytes of header expected, \(mapping.count - 8) found; "
                    + "it was probably cut short, copy or download it again")
        }
        do throws(SafetensorsHeader.Problem) {
            let json = UnsafeRawBufferPointer(rebasing: mapping[8..<dataStart])
            return (try SafetensorsHeader(json: json, dataSize: mapping.count - dataStart), dataStart)
        } catch {
            throw FileError(path: path, "is not a valid safetensors file, by its header: \(error.description)")
        }
    }
}
