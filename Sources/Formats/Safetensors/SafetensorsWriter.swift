import Kernels

/// Writes safetensors files.
///
/// Tensors are streamed from their sources in pieces; nothing is gathered in memory. The data begin at a multiple of 64
/// bytes and tensors of wide elements come first, so each one is aligned to its element when the file is mapped. The
/// same tensors and metadata give the same bytes. The file appears complete or not at all (``AtomicFile``).
package enum SafetensorsWriter {
    /// One tensor to write: a name, a shape, the type it gets in the file, and where its elements are.
    package struct Tensor {
        /// Row-major float32 elements, made when their turn comes.
        package typealias Make = () throws(FileError) -> [Float]

        enum Source {
            case floats([Float])
            case floatMemory(UnsafePointer<Float>)
            case integers([Int64])
            case bytes([UInt8])
            case deferred(Make)
            case pieces((Range<Int>, UnsafeMutablePointer<Float>) throws(FileError) -> Void)
            case stored(SafetensorsFile, SafetensorsFile.Entry)
        }

        package let name: String
        package let shape: [Int]
        package let dtype: SafetensorsType
        let source: Source

        /// Types that float32 elements can be stored as.
        package enum FloatStorage: String, Sendable, CaseIterable {
            /// As they are.
            case f32
            /// Rounded to nearest even.
            case bf16, f16

            var dtype: SafetensorsType {
                switch self {
                case .f32: .f32
                case .bf16: .bf16
                case .f16: .f16
                }
            }
        }

        /// Row-major float32 elements; as many as the shape holds.
        package init(_ name: String, shape: [Int], floats: [Float], as storage: FloatStorage = .f32) {
            (self.name, self.shape, dtype, source) = (name, shape, storage.dtype, .floats(floats))
        }

        /// Row-major float32 elements at `pointer`, which must stay valid and unchanged until the write returns.
        package init(_ name: String, shape: [Int], pointer: UnsafePointer<Float>, as storage: FloatStorage = .f32) {
            (self.name, self.shape, dtype, source) = (name, shape, storage.dtype, .floatMemory(pointer))
        }

        /// Row-major 64-bit integers, stored as I64.
        package init(_ name: String, shape: [Int], integers: [Int64]) {
            (self.name, self.shape, dtype, source) = (name, shape, .i64, .integers(integers))
        }

        /// Row-major float32 elements that are made when their turn to be written comes, and dropped after.
        package init(
            _ name: String, shape: [Int], as storage: FloatStorage, make: @escaping Make
        ) {
            (self.name, self.shape, dtype, source) = (name, shape, storage.dtype, .deferred(make))
        }

        /// Row-major float32 elements that are made a piece at a time, first to last, when their turn to be written comes.
        ///
        /// - Parameter fill: stores the elements of a range at a pointer.
        package init(
            _ name: String, shape: [Int], as storage: FloatStorage,
            fill: @escaping (Range<Int>, UnsafeMutablePointer<Float>) throws(FileError) -> Void
        ) {
            (self.name, self.shape, dtype, source) = (name, shape, storage.dtype, .pieces(fill))
        }

        /// A tensor of another file, byte for byte, or converted when its floats are to be stored as another type.
        package init(
            _ name: String, copying entry: SafetensorsFile.Entry, of file: SafetensorsFile,
            as storage: FloatStorage? = nil
        ) {
            let isFloat = [SafetensorsType.f64, .f32, .bf16, .f16].contains(entry.dtype)
            (self.name, shape) = (name, entry.shape)
            if let storage, isFloat, storage.dtype != entry.dtype {
                dtype = storage.dtype
                source = .deferred { () throws(FileError) in try file.floats(entry.name) }
            } else {
                (dtype, source) = (entry.dtype, .stored(file, entry))
            }
        }

        /// Bytes the tensor takes in the file.
        package var byteCount: Int {
            if case .stored(_, let entry) = source { return entry.byteRange.count }
            return shape.reduce(dtype.size ?? 0, *)
        }

        /// Raw bytes, stored as U8.
        package init(_ name: String, shape: [Int], bytes: [UInt8]) {
            (self.name, self.shape, dtype, source) = (name, shape, .u8, .bytes(bytes))
        }

        /// Elements the source really has; nil when it is bare memory.
        var sourceCount: Int? {
            switch source {
            case .floats(let values): values.count
            case .floatMemory: nil
            case .integers(let values): values.count
            case .bytes(let values): values.count
            // Checked when they are made; an entry of an open file has been checked.
            case .deferred, .pieces, .stored: nil
            }
        }
    }

    /// Writes `tensors` and `metadata` to `path`, replacing what is there.
    ///
    /// - Throws: ``FileError`` when a name repeats, a shape does not match its elements, a number is not finite or too large for its
    ///   type in the file, or the file cannot be written.
    package static func write(
        _ tensors: [Tensor], metadata: [String: String] = [:], to path: String
    ) throws(FileError) {
        // A stable sort: equal sizes keep the caller's order.
        let ordered = tensors.enumerated().sorted {
            ($1.element.dtype.size ?? 0, $0.offset) < ($0.element.dtype.size ?? 0, $1.offset)
        }.map(\.element)
        let header = try header(ordered, metadata: metadata, path: path)

        let file = try AtomicFile(path: path)
        try file.write(withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) })
        try file.write(header)
        for tensor in ordered { try write(tensor, to: file) }
        try file.commit()
    }

    // MARK: - Header

    private static func header(
        _ tensors: [Tensor], metadata: [String: String], path: String
    ) throws(FileError) -> [UInt8] {
        var fields: [String] = []
        if !metadata.isEmpty {
            let pairs = metadata.sorted { $0.key < $1.key }.map {
                "\(JSONText.quoted($0.key)):\(JSONText.quoted($0.value))"
            }
            fields.append("\"__metadata__\":{\(pairs.joined(separator: ","))}")
        }
        var names: Set<String> = ["__metadata__"]
        var end = 0
        for tensor in tensors {
            guard names.insert(tensor.name).inserted else {
                throw FileError(
                    path: path, .unwritable, "cannot be written: two tensors have the name '\(tensor.name)'")
            }
            let bytes = try byteCount(of: tensor, path: path)
            let (next, overflow) = end.addingReportingOverflow(bytes)
            guard !overflow else {
                throw FileError(path: path, .unwritable, "cannot be written: the tensors are too large")
            }
            let shape = tensor.shape.map(String.init).joined(separator: ",")
            fields.append(
                "\(JSONText.quoted(tensor.name)):{\"dtype\":\"\(tensor.dtype.rawValue)\",\"shape\":[\(shape)],"
                    + "\"data_offsets\":[\(end),\(next)]}")
            end = next
        }
        var header = Array("{\(fields.joined(separator: ","))}".utf8)
        let padding = (64 - (8 + header.count) % 64) % 64
        header.append(contentsOf: repeatElement(UInt8(ascii: " "), count: padding))
        guard header.count <= SafetensorsHeader.maximumLength else {
            throw FileError(
                path: path, .unwritable,
                "cannot be written: its header would take \(header.count) bytes, "
                    + "at most \(SafetensorsHeader.maximumLength) are allowed")
        }
        return header
    }

    private static func byteCount(of tensor: Tensor, path: String) throws(FileError) -> Int {
        var count = 1
        var overflow = false
        for extent in tensor.shape {
            guard extent >= 0 else {
                throw FileError(
                    path: path, .unwritable, "cannot be written: tensor '\(tensor.name)' has the shape \(tensor.shape)")
            }
            let product = count.multipliedReportingOverflow(by: extent)
            (count, overflow) = (product.partialValue, overflow || product.overflow)
        }
        if case .stored(_, let entry) = tensor.source { return entry.byteRange.count }
        let bytes = count.multipliedReportingOverflow(by: tensor.dtype.size ?? 0)
        guard !overflow, !bytes.overflow else {
            throw FileError(
                path: path, .unwritable,
                "cannot be written: tensor '\(tensor.name)' of shape \(tensor.shape) is too large")
        }
        if let given = tensor.sourceCount, given != count {
            throw FileError(
                path: path, .unwritable,
                "cannot be written: tensor '\(tensor.name)' of shape \(tensor.shape) needs \(count) elements, "
                    + "\(given) were given")
        }
        return bytes.partialValue
    }

    // MARK: - Data

    private static func write(_ tensor: Tensor, to file: AtomicFile) throws(FileError) {
        let count = tensor.shape.reduce(1, *)
        let result: Result<Void, FileError>
        switch tensor.source {
        case .floats(let values):
            result = values.withUnsafeBufferPointer { buffer in
                guard let base = buffer.baseAddress else { return .success(()) }
                return writeFloats(base, count, of: tensor, to: file)
            }
        case .floatMemory(let pointer): result = writeFloats(pointer, count, of: tensor, to: file)
        case .integers(let values): result = values.withUnsafeBytes { writeBytes($0, to: file) }
        case .bytes(let values): result = values.withUnsafeBytes { writeBytes($0, to: file) }
        case .stored(let source, let entry):
            guard source.isFinite(entry) else {
                throw FileError(
                    path: source.path, .unwritable,
                    "tensor '\(entry.name)' holds values that are not finite; \(file.path) is not written")
            }
            result = source.withBytes(entry) { writeBytes($0, to: file) }
        case .pieces(let fill):
            let piece = 1 << 16
            let buffer = UnsafeMutablePointer<Float>.allocate(capacity: piece)
            defer { buffer.deallocate() }
            for start in stride(from: 0, to: count, by: piece) {
                let range = start..<min(count, start + piece)
                try fill(range, buffer)
                try writeFloats(buffer, range.count, of: tensor, to: file).get()
            }
            return
        case .deferred(let make):
            let values = try make()
            guard values.count == count else {
                throw FileError(
                    path: file.path, .unwritable,
                    "cannot be written: tensor '\(tensor.name)' of shape \(tensor.shape) needs \(count) elements, "
                        + "\(values.count) were given")
            }
            result = values.withUnsafeBufferPointer { buffer in
                guard let base = buffer.baseAddress else { return .success(()) }
                return writeFloats(base, count, of: tensor, to: file)
            }
        }
        try result.get()
    }

    private static func writeFloats(
        _ values: UnsafePointer<Float>, _ count: Int, of tensor: Tensor, to file: AtomicFile
    ) -> Result<Void, FileError> {
        let isFloat32 = tensor.dtype == .f32
        return withUnsafeTemporaryAllocation(of: UInt16.self, capacity: isFloat32 ? 1 : 32_768) { buffer in
            guard let base = buffer.baseAddress else { return .success(()) }
            var done = 0
            while done < count {
                let step = min(32_768, count - done)
                let bytes: UnsafeRawBufferPointer
                switch tensor.dtype {
                case .f32: bytes = UnsafeRawBufferPointer(start: values + done, count: 4 * step)
                case .bf16:
                    ck_f32_to_bf16(values + done, step, base)
                    bytes = UnsafeRawBufferPointer(start: base, count: 2 * step)
                default:
                    ck_f32_to_f16(values + done, step, base)
                    bytes = UnsafeRawBufferPointer(start: base, count: 2 * step)
                }
                if let bad = firstNonFinite(bytes, of: tensor.dtype) {
                    let value = values[done + bad]
                    return .failure(
                        FileError(
                            path: file.path, .unwritable,
                            "is not written: tensor '\(tensor.name)' holds \(value)"
                                + (value.isFinite
                                    ? ", which \(tensor.dtype.rawValue) has no number for; store it as "
                                        + (tensor.dtype == .bf16 ? "F32" : "BF16 or F32")
                                    : " where a number is expected; its training diverged")))
                }
                let result = writeBytes(bytes, to: file)
                guard case .success = result else { return result }
                done += step
            }
            return .success(())
        }
    }

    /// The index of the first element that is an infinity or NaN.
    private static func firstNonFinite(_ bytes: UnsafeRawBufferPointer, of dtype: SafetensorsType) -> Int? {
        func find<Bits: FixedWidthInteger & BitwiseCopyable>(_ exponent: Bits) -> Int? {
            let elements = bytes.assumingMemoryBound(to: Bits.self)
            // Without an early end the loop is vectorised; nearly always there is nothing to find.
            var found = false
            for element in elements { found = found || element & exponent == exponent }
            return found ? elements.firstIndex { $0 & exponent == exponent } : nil
        }
        return switch dtype {
        case .f32: find(UInt32(0x7F80_0000))
        case .bf16: find(UInt16(0x7F80))
        default: find(UInt16(0x7C00))
        }
    }

    /// Inside the standard library's rethrowing closures a typed error travels as a result.
    private static func writeBytes(_ bytes: UnsafeRawBufferPointer, to file: AtomicFile) -> Result<Void, FileError> {
        do throws(FileError) { return .success(try file.write(bytes)) } catch { return .failure(error) }
    }
}
