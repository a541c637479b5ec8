extension MessagePackValue {
    /// The shortest encoding of the value; numbers are float64.
    package var encoded: [UInt8] {
        var bytes: [UInt8] = []
        append(to: &bytes)
        return bytes
    }

    private func append(to bytes: inout [UInt8]) {
        switch self {
        case .null: bytes.append(0xc0)
        case .boolean(let value): bytes.append(value ? 0xc3 : 0xc2)
        case .integer(let value): Self.append(value, to: &bytes)
        case .unsigned(let value): Self.append(0xcf, value, width: 8, to: &bytes)
        case .number(let value): Self.append(0xcb, value.bitPattern, width: 8, to: &bytes)
        case .text(let text):
            let utf8 = Array(text.utf8)
            if utf8.count < 32 {
                bytes.append(0xa0 | UInt8(utf8.count))
            } else {
                Self.append(length: utf8.count, codes: (0xd9, 0xda, 0xdb), to: &bytes)
            }
            bytes += utf8
        case .binary(let data):
            Self.append(length: data.count, codes: (0xc4, 0xc5, 0xc6), to: &bytes)
            bytes += data
        case .list(let values):
            Self.append(count: values.count, short: 0x90, codes: (0xdc, 0xdd), to: &bytes)
            for value in values { value.append(to: &bytes) }
        case .map(let entries):
            Self.append(count: entries.count, short: 0x80, codes: (0xde, 0xdf), to: &bytes)
            for entry in entries {
                entry.key.append(to: &bytes)
                entry.value.append(to: &bytes)
            }
        }
    }

    private static func append(_ value: Int64, to bytes: inout [UInt8]) {
        switch value {
        case -32...127: bytes.append(UInt8(truncatingIfNeeded: value))
        case 128...0xff: append(0xcc, UInt64(value), width: 1, to: &bytes)
        case 256...0xffff: append(0xcd, UInt64(value), width: 2, to: &bytes)
        case 65_536...0xffff_ffff: append(0xce, UInt64(value), width: 4, to: &bytes)
        case 0x1_0000_0000...: append(0xcf, UInt64(value), width: 8, to: &bytes)
        case Int64(Int8.min)...: append(0xd0, UInt64(bitPattern: value), width: 1, to: &bytes)
        case Int64(Int16.min)...: append(0xd1, UInt64(bitPattern: value), width: 2, to: &bytes)
        case Int64(Int32.min)...: append(0xd2, UInt64(bitPattern: value), width: 4, to: &bytes)
        default: append(0xd3, UInt64(bitPattern: value), width: 8, to: &bytes)
        }
    }

    /// A code and the low `width` bytes of a number, most significant first.
    private static func append(_ code: UInt8, _ value: UInt64, width: Int, to bytes: inout [UInt8]) {
        bytes.append(code)
        for shift in (0..<width).reversed() { bytes.append(UInt8(truncatingIfNeeded: value >> UInt64(8 * shift))) }
    }

    private static func append(length: Int, codes: (UInt8, UInt8, UInt8), to bytes: inout [UInt8]) {
        switch length {
        case ...0xff: append(codes.0, UInt64(length), width: 1, to: &bytes)
        case ...0xffff: append(codes.1, UInt64(length), width: 2, to: &bytes)
        default: append(codes.2, UInt64(length), width: 4, to: &bytes)
        }
    }

    private static func append(count: Int, short: UInt8, codes: (UInt8, UInt8), to bytes: inout [UInt8]) {
        switch count {
        case ..<16: bytes.append(short | UInt8(count))
        case ...0xffff: append(codes.0, UInt64(count), width: 2, to: &bytes)
        default: append(codes.1, UInt64(count), width: 4, to: &bytes)
        }
    }
}
