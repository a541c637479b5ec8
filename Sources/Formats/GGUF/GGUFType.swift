internal import Kernels

/// Storage types of GGUF tensors: plain floats, and blocks of small integers with float16 scales (llama.cpp's `ggml`
/// definitions). Rows are whole numbers of blocks.
enum GGUFType: UInt32, Sendable {
    case f32 = 0
    case f16 = 1
    /// Q4_0.
    case fourBits = 2
    /// Q4_1.
    case fourBitsShifted = 3
    /// Q8_0.
    case eightBits = 8
    /// Q6_K.
    case sixBits = 14
    case bf16 = 30

    /// Values and bytes of a block.
    private var block: (values: Int, bytes: Int) {
        switch self {
        case .f32: (1, 4)
        case .f16, .bf16: (1, 2)
        case .fourBits: (32, 18)
        case .fourBitsShifted: (32, 20)
        case .eightBits: (32, 34)
        case .sixBits: (256, 210)
        }
    }

    /// Bytes of a tensor, and whether that is not a whole number of blocks or too large a number.
    func bytes(of shape: [Int]) -> (bytes: Int, overflow: Bool) {
        var count = 1
        for extent in shape {
            let product = count.multipliedReportingOverflow(by: extent)
            if product.overflow { return (0, true) }
            count = product.partialValue
        }
        guard (shape.last ?? 1) % block.values == 0 else { return (0, true) }
        let bytes = (count / block.values).multipliedReportingOverflow(by: block.bytes)
        return (bytes.partialValue, bytes.overflow)
    }

    func dequantise(_ source: UnsafeRawPointer, _ count: Int, into target: UnsafeMutablePointer<Float>) {
        let (values, bytes) = block
        for index in 0..<count / values {
            let (from, to) = (source + index * bytes, target + index * values)
            switch self {
            case .f32: to[0] = Float(bitPattern: from.loadUnaligned(as: UInt32.self))
            case .f16: to[0] = Self.half(from)
            case .bf16: to[0] = Float(bitPattern: UInt32(from.loadUnaligned(as: UInt16.self)) << 16)
            case .fourBits: Self.nibbles(from + 2, scale: Self.half(from), offset: -8 * Self.half(from), into: to)
            case .fourBitsShifted: Self.nibbles(from + 4, scale: Self.half(from), offset: Self.half(from + 2), into: to)
            case .eightBits:
                let scale = Self.half(from)
                for i in 0..<32 { to[i] = scale * Float(from.load(fromByteOffset: 2 + i, as: Int8.self)) }
            case .sixBits: Self.sixBitBlock(from, into: to)
            }
        }
    }

    private static func half(_ pointer: UnsafeRawPointer) -> Float {
        var bits = pointer.loadUnaligned(as: UInt16.self)
        var value: Float = 0
        ck_f16_to_f32(&bits, 1, &value)
        return value
    }

    /// 32 values of 4 bits: low nibbles first, then high ones.
    private static func nibbles(
        _ source: UnsafeRawPointer, scale: Float, offset: Float, into target: UnsafeMutablePointer<Float>
    ) {
        for i in 0..<16 {
            let byte = source.load(fromByteOffset: i, as: UInt8.self)
            target[i] = scale * Float(byte & 15) + offset
            target[i + 16] = scale * Float(byte >> 4) + offset
        }
    }

    /// 256 values of 6 bits: low four in `ql` [128], high two in `qh` [64], 16 scales of 8 bits, one float16 scale.
    private static func sixBitBlock(_ source: UnsafeRawPointer, into target: UnsafeMutablePointer<Float>) {
        let scale = half(source + 208)
        for group in 0..<2 {
            let (ql, qh, scales) = (source + 64 * group, source + 128 + 32 * group, source + 192 + 8 * group)
            for i in 0..<32 {
                let low = (ql.load(fromByteOffset: i, as: UInt8.self), ql.load(fromByteOffset: i + 32, as: UInt8.self))
                let high = qh.load(fromByteOffset: i, as: UInt8.self)
                let quarters = [
                    (low.0 & 15) | (high & 3) << 4, (low.1 & 15) | (high >> 2 & 3) << 4,
                    (low.0 >> 4) | (high >> 4 & 3) << 4, (low.1 >> 4) | (high >> 6 & 3) << 4,
                ]
                for (quarter, bits) in quarters.enumerated() {
                    let factor = Float(scales.load(fromByteOffset: i / 16 + 2 * quarter, as: Int8.self))
                    target[128 * group + 32 * quarter + i] = scale * factor * Float(Int(bits) - 32)
                }
            }
        }
    }
}
