/// The wire format of protocol buffers, as far as event files and offline W&B runs need it.
package struct ProtocolBuffer {
    package private(set) var bytes: [UInt8] = []

    package init() {}

    package mutating func append(field: Int, varint value: UInt64) {
        append(varint: UInt64(field) << 3)
        append(varint: value)
    }

    package mutating func append(field: Int, double value: Double) {
        append(varint: UInt64(field) << 3 | 1)
        withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes.append(contentsOf: $0) }
    }

    package mutating func append(field: Int, float value: Float) {
        append(varint: UInt64(field) << 3 | 5)
        withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes.append(contentsOf: $0) }
    }

    package mutating func append(field: Int, bytes content: [UInt8]) {
        append(varint: UInt64(field) << 3 | 2)
        append(varint: UInt64(content.count))
        bytes += content
    }

    package mutating func append(field: Int, text: String) { append(field: field, bytes: Array(text.utf8)) }

    package mutating func append(field: Int, message: ProtocolBuffer) { append(field: field, bytes: message.bytes) }

    private mutating func append(varint value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}
