internal import Formats

/// A NumPy array as it travels in MessagePack: C order, any of the plain boolean, integer and float types.
///
/// openpi-client writes {b"__ndarray__": true, b"data", b"dtype", b"shape"} with bytes as keys, vla-eval the same with
/// texts as keys; both are read.
package struct NumPyArray: Sendable {
    package let dtype: String
    package let shape: [Int]
    package let data: ArraySlice<UInt8>

    private let kind: Kind
    private let width: Int
    private let isBigEndian: Bool

    private enum Kind: Character {
        case boolean = "b"
        case integer = "i"
        case unsigned = "u"
        case float = "f"
    }

    /// The array that `value` describes; nil when it describes none.
    ///
    /// - Parameter key: for messages.
    /// - Throws: when the description is not sound: a field is missing, the type is unknown, sizes do not agree.
    package init?(_ value: MessagePackValue, key: String) throws(ServingError) {
        guard value["__ndarray__"] != nil else { return nil }
        guard case .binary(let data)? = value["data"] else {
            throw ServingError(
                .malformed, "\(key): a NumPy array needs 'data' in bytes; found \(value["data"]?.kind ?? "nothing")")
        }
        guard let dtype = value["dtype"]?.text, let (kind, width, isBigEndian) = Self.parse(dtype) else {
            let found = value["dtype"].map { $0.text.map { "'\($0.prefix(32))'" } ?? $0.kind } ?? "nothing"
            throw ServingError(
                .malformed,
                "\(key): 'dtype' must be a boolean, integer or float type such as '|u1' or '<f4'; found \(found)")
        }
        guard case .list(let sizes)? = value["shape"], sizes.count <= 8 else {
            throw ServingError(
                .malformed,
                "\(key): 'shape' must be a list of at most 8 sizes; found \(value["shape"]?.kind ?? "nothing")")
        }
        var shape: [Int] = []
        var bytes = width
        for size in sizes {
            guard let size = size.integer.flatMap({ Int(exactly: $0) }), size >= 0 else {
                throw ServingError(.malformed, "\(key): 'shape' holds \(size.description) where a size is expected")
            }
            let (product, overflows) = bytes.multipliedReportingOverflow(by: size)
            guard !overflows else { throw ServingError(.tooLarge, "\(key): the sizes in 'shape' are too large") }
            bytes = product
            shape.append(size)
        }
        guard bytes == data.count else {
            throw ServingError(
                .malformed,
                "\(key): shape \(shape) of '\(dtype)' takes \(bytes) bytes, but 'data' has \(data.count)")
        }
        (self.dtype, self.shape, self.data) = (dtype, shape, data)
        (self.kind, self.width, self.isBigEndian) = (kind, width, isBigEndian)
    }

    private static func parse(_ dtype: String) -> (Kind, Int, Bool)? {
        var rest = dtype[...]
        var isBigEndian = false
        if let order = rest.first, "<>|=".contains(order) {
            isBigEndian = order == ">"
            rest.removeFirst()
        }
        guard let kind = rest.popFirst().flatMap(Kind.init), let width = Int(rest) else { return nil }
        let widths: Set =
            switch kind {
            case .boolean: [1]
            case .integer, .unsigned: [1, 2, 4, 8]
            case .float: [2, 4, 8]
            }
        return widths.contains(width) ? (kind, width, isBigEndian) : nil
    }

    /// Whether elements are 8-bit unsigned integers.
    package var isBytes: Bool { kind == .unsigned && width == 1 }

    /// All elements in order.
    package var doubles: [Double] {
        stride(from: data.startIndex, to: data.endIndex, by: width).map { start in
            let element = data[start..<(start + width)]
            let bits =
                isBigEndian
                ? element.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
                : element.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            switch (kind, width) {
            case (.float, 2): return Double(Self.half(UInt16(bits)))
            case (.float, 4): return Double(Float(bitPattern: UInt32(bits)))
            case (.float, _): return Double(bitPattern: bits)
            case (.integer, _):
                let shift = UInt64(64 - 8 * width)
                return Double(Int64(bitPattern: bits << shift) >> Int64(shift))
            default: return Double(bits)
            }
        }
    }

    /// IEEE 754 binary16. Written out because `Float16` does not exist on every processor Swift runs on.
    private static func half(_ bits: UInt16) -> Float {
        let sign: Float = bits & 0x8000 == 0 ? 1 : -1
        let exponent = Int(bits >> 10 & 0x1f)
        let fraction = Float(bits & 0x3ff) / 1024
        switch exponent {
        case 0: return sign * fraction * Float(sign: .plus, exponent: -14, significand: 1)
        case 31: return fraction == 0 ? sign * .infinity : .nan
        default: return sign * Float(sign: .plus, exponent: exponent - 15, significand: 1 + fraction)
        }
    }

    /// Float32 values as openpi-client or vla-eval reads them.
    package static func encode(_ values: [Float], shape: [Int], bytesAsKeys: Bool) -> MessagePackValue {
        let data = values.withUnsafeBytes { Array($0) }
        func key(_ name: String) -> MessagePackValue { bytesAsKeys ? .binary(Array(name.utf8)[...]) : .text(name) }
        return .map([
            .init(key("__ndarray__"), .boolean(true)), .init(key("data"), .binary(data[...])),
            .init(key("dtype"), .text("<f4")), .init(key("shape"), .list(shape.map { .integer(Int64($0)) })),
        ])
    }
}
